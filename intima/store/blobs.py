"""Immutable bytes under the SHA-256 of their content."""

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from intima.errors import NotFound, Unavailable
from intima.store.incoming import MAKE_ROOM, Incoming, StorageFull, full_where
from intima.store.keys import check_sha256, is_sha256

CHUNK_BYTES = 1 << 20
_UNKNOWN_BYTES = 1 << 28
"""Asked for where a full volume stopped a write whose size nobody knows."""
_NAMELESS_S = 3600.0
"""A file that has not even got its first lock after this time has no writer."""
FLOOR_BYTES = 64 << 20
"""Free space a write must leave on the volume, so that the database can still commit."""


class BlobCorrupt(Unavailable):
    """A stored blob no longer has the content of its name."""

    code = "blob_corrupt"


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """What a store says of a blob without reading it."""

    sha256: str
    bytes: int
    written_at: float
    """Seconds since 1970 by the clock of the store; a blob that is put again counts as written again."""


class Blobs(Protocol):
    """A content-addressed store of bytes."""

    def put(self, data: bytes) -> str:
        """Store bytes durably and return their SHA-256 (hex). Raises StorageFull."""
        ...

    def put_file(self, path: Path) -> str:
        """Store a copy of a file durably and return its SHA-256 (hex). Raises StorageFull."""
        ...

    def take_file(self, path: Path, *, sha256: str) -> None:
        """Store a file of this content that nobody writes to any more, without a copy where that can be.

        The file keeps its name too, and can only be read from then on. Raises StorageFull.
        """
        ...

    def put_written(self, write: Callable[[BinaryIO], None]) -> str:
        """Store what is written into an empty file and return its SHA-256 (hex); nothing where writing raises.

        ``write`` may read and seek, and is called again where a full volume was given room. Raises StorageFull.
        """
        ...

    def receiving(self, *, expected_bytes: int = 0) -> AbstractContextManager[Incoming]:
        """Open a file for what comes in pieces; gone at the end unless it is kept. Raises StorageFull."""
        ...

    def read(self, sha256: str) -> bytes:
        """Return the bytes, checked against their name. Raises NotFound, BlobCorrupt."""
        ...

    def path(self, sha256: str) -> Path:
        """Return a file with the content, to be read only. Raises NotFound."""
        ...

    def exists(self, sha256: str) -> bool:
        """Tell whether the blob is stored."""
        ...

    def size(self, sha256: str) -> int:
        """Return the number of bytes. Raises NotFound."""
        ...

    def remove_leftovers(self) -> int:
        """Remove what writers that were killed left half written; return how many."""
        ...

    def renew(self, sha256: str) -> bool:
        """Let a stored blob count as written now, so that nobody collects it; False where it must be put again."""
        ...

    def pieces(self, sha256: str) -> Iterator[bytes]:
        """Yield the stored bytes as they are, damaged or not. Raises NotFound."""
        ...

    def stored(self) -> Iterator[StoredBlob]:
        """Yield everything that is stored, in any order."""
        ...

    def remove(self, sha256: str, *, before: float) -> bool:
        """Remove a blob that was last written before a time (seconds since 1970); tell whether it went."""
        ...

    def quarantine(self, sha256: str) -> None:
        """Move a blob to where nobody reads it, under ``quarantine/``. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class LocalBlobs:
    """Blobs as read-only files ``root/ab/<sha256>``; written aside, synced, renamed, folder synced."""

    root: Path
    floor_bytes: int = FLOOR_BYTES
    make_room: Callable[[int], int] = lambda _wanted_bytes: 0
    """Asked once to free bytes on a full volume before a write fails; returns 0 where it could free none."""

    def put(self, data: bytes) -> str:
        """Store bytes durably and return their SHA-256. Raises StorageFull."""
        name = hashlib.sha256(data).hexdigest()
        if self._holds(name):
            return name

        def write() -> str:
            with self._writing(len(data)) as (temporary, file):
                file.write(data)
                self._settle(temporary, file, name=name)
            return name

        return self._with_room(len(data), write)

    def put_file(self, path: Path) -> str:
        """Store a copy of a file durably and return its SHA-256. Raises StorageFull."""
        size = path.stat().st_size

        def write() -> str:
            digest = hashlib.sha256()
            with path.open("rb") as source, self._writing(size) as (temporary, file):
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
                name = digest.hexdigest()
                if not self._holds(name):
                    self._settle(temporary, file, name=name)
            return name

        return self._with_room(size, write)

    def take_file(self, path: Path, *, sha256: str) -> None:
        """Give a file of this content the name of a blob, or store a copy where it is on another volume."""
        if self._holds(sha256):
            return
        self._aside.mkdir(parents=True, exist_ok=True)
        second = self._aside / f"{secrets.token_hex(16)}.part"
        try:
            os.link(path, second)
        except OSError:
            self.put_file(path)
            return
        try:
            os.utime(second)
            with second.open("rb") as file:
                self._name(second, file, name=sha256)
        finally:
            second.unlink(missing_ok=True)

    def put_written(self, write: Callable[[BinaryIO], None]) -> str:
        """Store what is written into an empty file and return its SHA-256. Raises StorageFull."""

        def attempt() -> str:
            with self._writing(0) as (temporary, file):
                write(file)
                file.flush()
                self._check_room(0)
                name = _sha256_of(temporary)
                if not self._holds(name):
                    self._settle(temporary, file, name=name)
            return name

        return self._with_room(_UNKNOWN_BYTES, attempt)

    @contextmanager
    def receiving(self, *, expected_bytes: int = 0) -> Iterator[Incoming]:
        """Open a file for what comes in pieces; keeping it is a rename. Raises StorageFull."""
        self._have_room(expected_bytes)
        with self._writing(expected_bytes) as (temporary, file):

            def keep(name: str) -> None:
                if not self._holds(name):
                    self._settle(temporary, file, name=name)

            yield Incoming(temporary, file, have_room=self._have_room, keep_as=keep)

    def read(self, sha256: str) -> bytes:
        """Return the bytes, checked against their name. Raises NotFound, BlobCorrupt."""
        data = self.path(sha256).read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise BlobCorrupt(f"Blob {sha256} has content with SHA-256 {found}; restore it from a backup.")
        return data

    def path(self, sha256: str) -> Path:
        """Return the file of a blob. Raises NotFound."""
        path = self._target(check_sha256(sha256))
        if not path.is_file():
            raise NotFound(f"There is no blob {sha256}.", code="blob_missing")
        return path

    def exists(self, sha256: str) -> bool:
        """Tell whether the blob is stored."""
        return self._target(check_sha256(sha256)).is_file()

    def size(self, sha256: str) -> int:
        """Return the number of bytes. Raises NotFound."""
        return self.path(sha256).stat().st_size

    def remove_leftovers(self) -> int:
        """Remove half-written files whose writers are gone; return how many there were."""
        leftovers = [p for p in self._aside.glob("*.part") if _is_abandoned(p)]
        leftovers += [p for p in self._aside.glob("*.new") if _is_older(p, _NAMELESS_S) and _is_abandoned(p)]
        for path in leftovers:
            path.unlink(missing_ok=True)
        for path in self._aside.glob("*.gone"):  # its collector was killed; the next one looks at it again
            self._put_back(path)
        return len(leftovers)

    def renew(self, sha256: str) -> bool:
        """Let a blob count as written now; False where it is not there or another user's file."""
        return self._renew(self._target(check_sha256(sha256)))

    def pieces(self, sha256: str) -> Iterator[bytes]:
        """Yield the stored bytes as they are, damaged or not. Raises NotFound."""
        with self.path(sha256).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def stored(self) -> Iterator[StoredBlob]:
        """Yield everything that is stored."""
        for path in self.root.glob("??/*"):
            if is_sha256(path.name) and path.parent.name == path.name[:2]:
                with suppress(FileNotFoundError):
                    status = path.stat()
                    yield StoredBlob(path.name, status.st_size, status.st_mtime)

    def remove(self, sha256: str, *, before: float) -> bool:
        """Remove a blob that was last written before a time; one that is put again meanwhile stays."""
        target = self._target(check_sha256(sha256))
        self._aside.mkdir(parents=True, exist_ok=True)
        gone = self._aside / f"{sha256}.gone"
        try:
            if target.stat().st_mtime >= before:
                return False
            target.rename(gone)
            if gone.stat().st_mtime >= before:  # renewed between the look and the move; from here on nobody can
                self._put_back(gone)
                return False
            gone.unlink()
        except FileNotFoundError:
            return False
        return True

    def quarantine(self, sha256: str) -> None:
        """Move a blob to ``quarantine/``. Raises NotFound."""
        folder = self.root / "quarantine"
        folder.mkdir(exist_ok=True)
        self.path(sha256).rename(folder / sha256)

    def _put_back(self, gone: Path) -> None:
        with suppress(FileExistsError, FileNotFoundError):
            os.link(gone, self._target(gone.stem))
        gone.unlink(missing_ok=True)

    @property
    def _aside(self) -> Path:
        return self.root / "aside"

    def _target(self, name: str) -> Path:
        return self.root / name[:2] / name

    def _holds(self, name: str) -> bool:
        """Tell whether a sound copy is stored, and renew it; a damaged one is written anew."""
        target = self._target(name)
        try:
            return self._renew(target) and _sha256_of(target) == name
        except FileNotFoundError:  # collected in this very moment
            return False

    @staticmethod
    def _renew(target: Path) -> bool:
        try:
            os.utime(target)
        except (FileNotFoundError, PermissionError):
            return False
        return True

    def _have_room(self, expected_bytes: int) -> None:
        """Make sure of the floor beyond what is about to come, making room once. Raises StorageFull."""
        try:
            self._check_room(expected_bytes)
        except StorageFull:
            if not self.make_room(max(expected_bytes, _UNKNOWN_BYTES) + self.floor_bytes):
                raise
            self._check_room(expected_bytes)

    def _with_room(self, size: int, write: Callable[[], str]) -> str:
        try:
            return write()
        except StorageFull:
            if not self.make_room(size + self.floor_bytes):
                raise
            return write()

    @contextmanager
    def _writing(self, expected_bytes: int) -> Iterator[tuple[Path, BinaryIO]]:
        """Open a file aside; remove it whatever happens; say plainly when the volume is full."""
        self._check_room(expected_bytes)
        temporary = self._aside / f"{secrets.token_hex(16)}.part"
        try:
            with full_where(f"No room for {expected_bytes} bytes in the store."), _held(temporary) as file:
                yield temporary, file
        finally:
            temporary.unlink(missing_ok=True)

    def _check_room(self, expected_bytes: int) -> None:
        self._aside.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._aside).free
        if free - expected_bytes < self.floor_bytes:
            raise StorageFull(
                f"Got {expected_bytes} bytes to store; {free} bytes are free and {self.floor_bytes} must stay free.",
                hint=MAKE_ROOM,
            )

    def _settle(self, temporary: Path, file: BinaryIO, *, name: str) -> None:
        """Name what was written; others may read it from then on, and none remove it."""
        file.flush()
        self._name(temporary, file, name=name)
        with suppress(OSError):  # a volume without locks
            fcntl.flock(file.fileno(), fcntl.LOCK_SH)

    def _name(self, whole: Path, file: BinaryIO, *, name: str) -> None:
        """Make the content durable first and the name after it."""
        os.fchmod(file.fileno(), 0o444)
        os.fsync(file.fileno())
        target = self._target(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        whole.replace(target)
        sync_folder(target.parent)
        sync_folder(self.root)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make a rename durable: without this a power cut may undo it (minio/minio#18304)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _held(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that is locked until it is closed or its writer dies, on whatever host or in what container.

    It gets its name once it is locked: whoever finds it without a lock knows that nobody writes it.
    """
    nameless = path.with_suffix(".new")
    with nameless.open("x+b") as file:
        with suppress(OSError):  # a volume without locks: nothing on it is ever taken for abandoned
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        nameless.rename(path)
        yield file


def _is_older(path: Path, age_s: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime > age_s
    except FileNotFoundError:
        return False


def _is_abandoned(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
