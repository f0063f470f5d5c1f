"""Results that can be made again, kept so that they need not be: a folder that may be deleted at any time.

Unlike a blob, an entry is named by what it was made from. An entry that is damaged, half written or gone is simply
not there, so a reader always gets the right bytes or none.
"""

import errno
import hashlib
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from intima.store.keys import check_sha256

LIMIT_BYTES = 20 * 2**30
"""What a cache is trimmed to when a store is opened."""
_DIGEST_BYTES = 32
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Cache:
    """Entries as files ``root/ab/<key>``: the SHA-256 of the content, then the content."""

    root: Path
    floor_bytes: int
    """Nothing is added when less than this would stay free on the volume."""

    def read(self, key: str) -> bytes | None:
        """Return the content of an entry; null where it is not there or not whole."""
        try:
            stored = self._target(key).read_bytes()
        except FileNotFoundError:
            return None
        digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return content if hashlib.sha256(content).digest() == digest else None

    def write(self, key: str, content: bytes) -> bool:
        """Keep an entry; False where the volume has no room for it, which costs time later and nothing else."""
        target = self._target(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(target.parent).free - len(content) < self.floor_bytes:
            return False
        aside = target.with_name(f"{key}.{secrets.token_hex(8)}.part")
        try:
            aside.write_bytes(hashlib.sha256(content).digest() + content)
            aside.replace(target)
        except OSError as error:
            aside.unlink(missing_ok=True)
            if error.errno in _NO_ROOM:
                return False
            raise
        return True

    def trim(self, limit_bytes: int = LIMIT_BYTES) -> int:
        """Remove the oldest entries until the rest fits the limit; return how many went."""
        entries = sorted(self._entries(), key=lambda entry: entry[0], reverse=True)
        kept, removed = 0, 0
        for _, size, path in entries:
            kept += size
            if kept > limit_bytes:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _entries(self) -> list[tuple[float, int, Path]]:
        found: list[tuple[float, int, Path]] = []
        for path in self.root.glob("*/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return found

    def _target(self, key: str) -> Path:
        return self.root / check_sha256(key)[:2] / key
