"""One writer of an upload at a time: a lock on its bytes, which goes with the process that holds it."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from intima.errors import Conflict, NotFound, Unavailable

_BUSY_RETRY_S = 1.0


class UploadBusy(Conflict):
    """Somebody else writes to the upload now."""

    code = "upload_busy"
    retry_after_s = _BUSY_RETRY_S


def upload_missing(upload_id: str) -> NotFound:
    """Return what is said where a caller has no such upload."""
    return NotFound(
        f"There is no upload {upload_id[:80]!r} of yours.",
        code="upload_not_found",
        hint="Send the file again from its start.",
    )


@contextmanager
def locked_alone(path: Path, upload_id: str) -> Iterator[int]:
    """Hold the one writer's place of an upload. Raises UploadBusy, NotFound."""
    try:
        file = _open(path)
    except FileNotFoundError as error:
        raise upload_missing(upload_id) from error
    with file:
        try:
            _lock(file.fileno())
        except BlockingIOError as error:
            raise UploadBusy(
                "Another request writes to this upload.", hint="Ask for its offset again in a moment."
            ) from error
        except OSError as error:
            raise Unavailable(
                "The volume of the uploads has no locks.", code="no_locks", hint="Put INTIMA_DATA on one that has."
            ) from error
        yield file.fileno()


def is_idle(path: Path) -> bool:
    """Tell whether nobody writes to the bytes of an upload."""
    try:
        with _open(path) as file:
            _lock(file.fileno())
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _open(path: Path) -> BinaryIO:
    try:
        return cast(BinaryIO, path.open("r+b", buffering=0))
    except PermissionError:  # its bytes are a blob already, and who stored them was killed before that was noted
        return cast(BinaryIO, path.open("rb", buffering=0))


def _lock(descriptor: int) -> None:
    """Lock alone; where NFS refuses that because nobody can write to the file, together with other readers."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
