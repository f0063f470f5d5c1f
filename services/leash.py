"""Run a service that ends with the process that started it: ``python -m services.leash services.api.__main__ 0``.

The local stack starts its services this way, so that a ``kill -9`` of it leaves nothing behind that holds a port. The
number is by how much the service gives way to others of this machine (nice), itself and all it starts.
"""

import importlib
import os
import signal
import sys
import threading
import time

_LOOK_S = 0.5


def follow_parent(parent: int) -> None:
    """Send this process SIGTERM once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Watch the parent and run ``main()`` of the module named on the command line."""
    module, niceness = sys.argv.pop(1), int(sys.argv.pop(1))
    if sys.platform != "win32":
        os.nice(niceness)
    threading.Thread(target=follow_parent, args=(os.getppid(),), daemon=True).start()
    importlib.import_module(module).main()


if __name__ == "__main__":
    main()
