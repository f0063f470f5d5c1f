"""The local runner with toy handlers: ``toy_runner.py DATA_DIR [SLOTS [DATABASE_URL [DEVICE]]]``; SIGTERM stops it."""

import signal
import sys
import threading
from pathlib import Path

from toy_units_of import HANDLERS

from intima.store.storage import open_storage
from services.runner import Pace, run_local


def main() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    url = sys.argv[3] or None if len(sys.argv) > 3 else None
    device = sys.argv[4] if len(sys.argv) > 4 else "cpu"
    storage = open_storage(Path(sys.argv[1]), url)
    pace = Pace(lease_s=float(3), beat_s=0.5, sweep_s=0.5, poll_s=0.05)
    slots = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    run_local(storage, slots=slots, stop=stop, handlers=HANDLERS, preload=["toy_units"], pace=pace, device=device)
    storage.close()


if __name__ == "__main__":
    main()
