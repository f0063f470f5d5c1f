"""Folders that slides are unpacked into: gone with the slide, or with the next slide where the process was killed."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_PREFIX = "intima-slide-"
_ABANDONED_AFTER_S = 600.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give an empty folder, locked while it is in use; remove those whose process was killed."""
    remove_abandoned(older_than_s=_ABANDONED_AFTER_S)
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        lock = _lock(Path(name))
        try:
            yield Path(name)
        finally:
            if lock is not None:
                os.close(lock)


def remove_abandoned(*, older_than_s: float) -> int:
    """Remove folders of this module that no living process holds; return how many."""
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            removed += _remove_if_abandoned(path, older_than_s)
    return removed


def _remove_if_abandoned(path: Path, older_than_s: float) -> bool:
    if time.time() - path.lstat().st_mtime < older_than_s:
        return False
    lock = _lock(path)
    if lock is None:
        return False
    try:
        shutil.rmtree(path)
    finally:
        os.close(lock)
    return True


def _lock(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed or the process dies; None where another holds it."""
    if sys.platform == "win32":
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
