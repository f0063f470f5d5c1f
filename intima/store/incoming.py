"""A file that comes in pieces: hashed while it is written, so that keeping it is no second pass."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

from intima.errors import Unavailable

MAKE_ROOM = "Free space on the volume of the data folder and try again; stored results are untouched."
MOST_PIECES = 512
"""Pieces that go to the volume in one call; Linux takes 1,024."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system calls a volume, a quota or a limit of one file that is used up."""

Piece: TypeAlias = bytes | memoryview
"""Bytes; a view must be of single bytes."""


class StorageFull(Unavailable):
    """The volume of the store has no room; nothing was changed."""

    code = "storage_full"


@contextmanager
def full_where(message: str) -> Iterator[None]:
    """Say plainly when the volume is full. Raises StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull(message, hint=MAKE_ROOM) from error
        raise


class Incoming:
    """A file that is written from its start to its end; one thread at a time."""

    def __init__(
        self,
        path: Path,
        file: IO[bytes],
        *,
        have_room: Callable[[int], None],
        keep_as: Callable[[str], None],
    ) -> None:
        self.path = path
        """Where it lies until it is kept; to be read only."""
        self.size = 0
        """Bytes written."""
        self._descriptor = file.fileno()
        self._digest = hashlib.sha256()
        self._have_room = have_room
        self._keep_as = keep_as

    @property
    def sha256(self) -> str:
        """SHA-256 of what was written so far."""
        return self._digest.hexdigest()

    def then(self, more: Callable[[str], object]) -> None:
        """Have more done with the name of what is kept, once it is stored."""
        keep = self._keep_as

        def keep_as(name: str) -> None:
            keep(name)
            more(name)

        self._keep_as = keep_as

    def write(self, pieces: Sequence[Piece]) -> None:
        """Append pieces, in order. Raises StorageFull; what was written is then good for nothing."""
        wanted = sum(map(len, pieces))
        self._have_room(wanted)
        with full_where(f"No room for {wanted} more bytes of a file of {self.size} so far."):
            for first in range(0, len(pieces), MOST_PIECES):
                _write_all(self._descriptor, pieces[first : first + MOST_PIECES])
        for piece in pieces:
            self._digest.update(piece)
        self.size += wanted

    def keep(self) -> str:
        """Store what was written as a blob and return its SHA-256; ``path`` is gone then. Raises StorageFull."""
        name = self.sha256
        self._keep_as(name)
        return name


def _write_all(descriptor: int, pieces: Sequence[Piece]) -> None:
    left = list(pieces)
    while left:
        written = os.writev(descriptor, left)
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = memoryview(left[0])[written:]
