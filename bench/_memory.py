"""Memory of processes, as Linux counts it."""

import re
from pathlib import Path


def resident_bytes(field: str, pid: int | str = "self") -> int:
    """Return VmRSS (now) or VmHWM (the peak since the process was started) of a process; 0 where it is not said.

    getrusage's peak counts that of the parent before the start.
    """
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    return 1024 * int(found.group(1)) if found else 0
