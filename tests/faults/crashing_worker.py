"""A worker that kills itself with kill -9 at any point: ``crashing_worker.py DATA_DIR P SEED [DATABASE_URL]``.

Points: before and after each claim, the work, each sync and rename of a blob, each commit.
"""

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event

from intima.store import ledger
from intima.store.storage import open_storage


def main() -> None:
    folder, p, seed = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    url = sys.argv[4] if len(sys.argv) > 4 else None
    dice = random.Random(seed)

    def maybe_die(*_: Any) -> None:
        if dice.random() < p:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            maybe_die()
            result = function(*arguments, **options)
            maybe_die()
            return result

        return call

    storage = open_storage(folder, url, floor_bytes=0)
    event.listen(storage.engine, "commit", maybe_die)
    os.fsync = dying(os.fsync)
    os.replace = dying(os.replace)
    while True:
        with storage.writing() as conn:
            ledger.sweep(conn)
            claim = ledger.claim_next(conn, owner=f"pid {os.getpid()}", queues=["training"], lease_s=1.0)
        maybe_die()
        if claim is None:
            with storage.reading() as conn:
                if all(job.finished_at for job in ledger.list_jobs(conn).items):
                    return
            continue
        with storage.reading() as conn:
            results = ledger.results_of(conn, claim.job_id, claim.needs)
        total = int(claim.payload["n"]) + sum(int(r["total"]) for r in results.values())
        blob = storage.blobs.put(f"{claim.key}={total}".encode())
        maybe_die()
        with storage.writing() as conn:
            ledger.publish(conn, claim, result={"total": total, "blob": blob})
        maybe_die()


if __name__ == "__main__":
    main()
