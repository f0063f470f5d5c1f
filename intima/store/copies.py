"""Local copies of blobs that lie elsewhere: whole or not there; those that were not used for longest go first."""

import fcntl
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from intima.store.blobs import LocalBlobs, StoredBlob
from intima.store.keys import check_sha256

_MOST_PINS = 64
_CHECKS = 64


@dataclass(slots=True)
class _Pins:
    """The copies one process was given last, locked: nobody takes them away while they are likely to be read."""

    most_bytes: int
    _held: OrderedDict[str, tuple[int, int]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, sha256: str, descriptor: int) -> None:
        """Keep a lock, and let the oldest go where there are too many or they are too big together."""
        with self._lock:
            self._drop(sha256)
            self._held[sha256] = (descriptor, os.fstat(descriptor).st_size)
            while len(self._held) > 1 and (len(self._held) > _MOST_PINS or self._bytes() > self.most_bytes):
                self._drop(next(iter(self._held)))

    def drop(self, sha256: str) -> None:
        """Let one go."""
        with self._lock:
            self._drop(sha256)

    def _drop(self, sha256: str) -> None:
        held = self._held.pop(sha256, None)
        if held is not None:
            os.close(held[0])

    def _bytes(self) -> int:
        return sum(size for _, size in self._held.values())

    def __del__(self) -> None:
        for descriptor, _ in self._held.values():
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Copies:
    """A folder of copies that several processes use."""

    files: LocalBlobs
    """What makes them: written aside, hashed, renamed."""
    budget_bytes: int
    _pins: _Pins = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pins", _Pins(most_bytes=self.budget_bytes // 2))

    def find(self, sha256: str) -> Path | None:
        """Return the copy, locked against removal and counted as used now; null where there is none."""
        path = self._path(sha256)
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)
            if _lock(descriptor, fcntl.LOCK_SH) and _is_at(path, descriptor):
                self.files.renew(sha256)
                self._pins.add(sha256, descriptor)
                return path
            os.close(descriptor)
        return None

    @contextmanager
    def filling(self, sha256: str) -> Iterator[None]:
        """Let one thread of one process at a time make this copy."""
        folder = self.files.root / "aside"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{check_sha256(sha256)}.lock"
        with path.open("wb") as file:
            with suppress(OSError):  # a volume without locks: two make the copy, and the last one stays
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def drop(self, sha256: str) -> None:
        """Forget a copy."""
        self._pins.drop(sha256)
        self._path(sha256).unlink(missing_ok=True)

    def added(self, size: int) -> None:
        """Look after the budget when a 64th of it was written since the last look, by whatever processes."""
        if self._count(size) > self.budget_bytes // _CHECKS:
            self.trim()

    def _count(self, size: int) -> int:
        """Return how much was written since the last look, which begins anew where that is too much."""
        path = self.files.root.with_suffix(".unchecked_bytes")
        with path.open("a+b") as file:
            with suppress(OSError):  # a volume without locks: some bytes are not counted
                fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            total = int(file.read() or b"0") + size
            file.truncate(0)
            file.write(b"%d" % (0 if total > self.budget_bytes // _CHECKS else total))
        return total

    def trim(self) -> int:
        """Remove the copies that were not used for longest until the rest fits the budget; return how many."""
        copies = self._oldest_first()
        return self._remove(copies, sum(c.bytes for c in copies) - self.budget_bytes)

    def give(self, wanted_bytes: int) -> int:
        """Remove copies nobody reads to free so many bytes for others; return how many."""
        return self._remove(self._oldest_first(), wanted_bytes)

    def _oldest_first(self) -> list[StoredBlob]:
        return sorted(self.files.stored(), key=lambda copy: copy.written_at)

    def _remove(self, copies: list[StoredBlob], wanted_bytes: int) -> int:
        freed, removed = 0, 0
        for copy in copies:
            if freed >= wanted_bytes:
                break
            if _remove_unused(self._path(copy.sha256)):
                freed, removed = freed + copy.bytes, removed + 1
        return removed

    def _path(self, sha256: str) -> Path:
        return self.files.root / check_sha256(sha256)[:2] / sha256


def open_copies(root: Path, *, budget_bytes: int, floor_bytes: int, make_room: Callable[[int], int]) -> Copies:
    """Return the copies in a folder; a full volume gets room by ``make_room``, then by copies nobody reads."""
    root.mkdir(exist_ok=True)
    spare = Copies(LocalBlobs(root, floor_bytes=floor_bytes), budget_bytes)

    def give(wanted_bytes: int) -> int:
        return make_room(wanted_bytes) or spare.give(wanted_bytes)

    return Copies(LocalBlobs(root, floor_bytes=floor_bytes, make_room=give), budget_bytes)


def _remove_unused(path: Path) -> bool:
    """Remove a file unless somebody has it locked."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        if not _lock(descriptor, fcntl.LOCK_EX):
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Tell whether an open file still has its name; it has none once it was removed."""
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
