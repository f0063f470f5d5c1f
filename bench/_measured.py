"""The decode child, measured: its peak of memory beyond what it started with goes to a file."""

import re
from multiprocessing.connection import Connection
from pathlib import Path

from intima.arrays import Json
from intima.confined import Limits
from intima.slides import _child


def work(sender: Connection, arguments: Json, limits: Limits) -> None:
    """Do the task of the decode child; write bytes of resident memory beyond the start to ``arguments["peak"]``."""
    start, peak = _resident("VmRSS"), Path(arguments["peak"])
    try:
        _child.work(sender, arguments, limits)
    finally:
        peak.write_text(str(max(0, _resident("VmHWM") - start)))


def _resident(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found.group(1)) if found else 0
