"""The decode child, measured: its peak of memory beyond what it started with goes to a file."""

from multiprocessing.connection import Connection
from pathlib import Path

from bench._memory import resident_bytes
from intima.arrays import Json
from intima.confined import Limits
from intima.slides import _child


def work(sender: Connection, arguments: Json, limits: Limits) -> None:
    """Do the task of the decode child; write bytes of resident memory beyond the start to ``arguments["peak"]``."""
    start, peak = resident_bytes("VmRSS"), Path(arguments["peak"])
    try:
        _child.work(sender, arguments, limits)
    finally:
        peak.write_text(str(max(0, resident_bytes("VmHWM") - start)))
