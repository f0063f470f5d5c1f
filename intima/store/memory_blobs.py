"""Blobs in memory, for tests of what uses a store."""

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from intima.errors import NotFound
from intima.store.blobs import BlobCorrupt, StoredBlob
from intima.store.incoming import Incoming
from intima.store.keys import check_sha256


@dataclass(frozen=True, slots=True)
class MemoryBlobs:
    """Blobs of one process, for tests; files are made on demand in a folder that goes with the object."""

    stored_bytes: dict[str, bytes] = field(default_factory=dict)
    folder: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory)

    def put(self, data: bytes) -> str:
        """Store bytes and return their SHA-256."""
        name = hashlib.sha256(data).hexdigest()
        self.stored_bytes[name] = data
        return name

    def put_file(self, path: Path) -> str:
        """Store the content of a file and return its SHA-256."""
        return self.put(path.read_bytes())

    def take_file(self, path: Path, *, sha256: str) -> None:
        """Store the content of a file."""
        assert self.put_file(path) == sha256, "the file changed"

    def put_written(self, write: Callable[[BinaryIO], None]) -> str:
        """Store what is written and return its SHA-256."""
        out = io.BytesIO()
        write(out)
        return self.put(out.getvalue())

    @contextmanager
    def receiving(self, *, expected_bytes: int = 0) -> Iterator[Incoming]:
        """Open a file for what comes in pieces; there is always room."""
        with tempfile.NamedTemporaryFile(dir=self.folder.name, suffix=f"-of-{expected_bytes}") as file:

            def keep(name: str) -> None:
                self.stored_bytes[name] = Path(file.name).read_bytes()

            yield Incoming(Path(file.name), file.file, have_room=lambda _bytes: None, keep_as=keep)

    def read(self, sha256: str) -> bytes:
        """Return the bytes, checked against their name. Raises NotFound, BlobCorrupt."""
        data = self._get(sha256)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BlobCorrupt(f"Blob {sha256} does not have the content of its name.")
        return data

    def path(self, sha256: str) -> Path:
        """Return a file with the content. Raises NotFound."""
        path = Path(self.folder.name) / sha256
        path.write_bytes(self._get(sha256))
        return path

    def exists(self, sha256: str) -> bool:
        """Tell whether the blob is stored."""
        return check_sha256(sha256) in self.stored_bytes

    def size(self, sha256: str) -> int:
        """Return the number of bytes. Raises NotFound."""
        return len(self._get(sha256))

    def remove_leftovers(self) -> int:
        """Return 0: nothing is ever half written."""
        return 0

    def renew(self, sha256: str) -> bool:
        """Tell whether the blob is stored."""
        return self.exists(sha256)

    def pieces(self, sha256: str) -> Iterator[bytes]:
        """Yield the stored bytes as they are. Raises NotFound."""
        yield self._get(sha256)

    def stored(self) -> Iterator[StoredBlob]:
        """Yield what is stored; all of it counts as written in 1970."""
        yield from [StoredBlob(name, len(data), written_at=0.0) for name, data in self.stored_bytes.items()]

    def remove(self, sha256: str, *, before: float) -> bool:
        """Remove a blob; tell whether it went."""
        return before > 0 and self.stored_bytes.pop(check_sha256(sha256), None) is not None

    def quarantine(self, sha256: str) -> None:
        """Take a blob out. Raises NotFound."""
        self._get(sha256)
        del self.stored_bytes[sha256]

    def _get(self, sha256: str) -> bytes:
        if not self.exists(sha256):
            raise NotFound(f"There is no blob {sha256}.", code="blob_missing")
        return self.stored_bytes[sha256]
