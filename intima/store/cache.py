"""Results that can be made again, kept so that they need not be: a folder that may be deleted at any time.

Unlike a blob, an entry is named by what it was made from. An entry that is damaged, half written or gone is simply
not there, so a reader always gets the right bytes or none.
"""

import errno
import hashlib
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from intima.store.keys import check_sha256

BUDGET_BYTES = 20 * 2**30
_BUDGET_SHARE, _FLOOR_SHARE, _FLOORS = 5, 10, 16
_CHECKS = 64
_DIGEST_BYTES = 32
_NOT_KEPT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOENT}
"""What says that an entry was not kept; ENOENT: the folder was deleted, or a trim took the half-written file."""

_Entry: TypeAlias = tuple[float, int, Path]
"""(time of writing, bytes, file)."""


@dataclass(slots=True)
class _Allowance:
    """What one process may still write before it looks after the budget again."""

    left_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Cache:
    """Entries as files ``root/ab/<key>``: the SHA-256 of the content, then the content.

    Several processes use one folder. Each knows what it wrote itself since it last looked, so the budget may be
    exceeded by a 64th for each.
    """

    root: Path
    floor_bytes: int
    """Nothing is added when less than this would stay free on the volume."""
    budget_bytes: int = BUDGET_BYTES
    """The oldest entries go when all take more."""
    _allowance: _Allowance = field(default_factory=_Allowance, init=False, repr=False, compare=False)

    @classmethod
    def beside_store(cls, root: Path, *, store_floor_bytes: int) -> "Cache":
        """Return a cache that leaves a volume to the store: it takes a fifth, and stops while a tenth is free.

        At least 16 floors of the store stay free; a store without a floor has a cache without one.
        """
        total = shutil.disk_usage(root.parent).total
        floor = max(_FLOORS * store_floor_bytes, total // _FLOOR_SHARE) if store_floor_bytes else 0
        return cls(root, floor, budget_bytes=total // _BUDGET_SHARE)

    def read(self, key: str) -> bytes | None:
        """Return the content of an entry; null where it is not there or not whole."""
        try:
            stored = self._target(key).read_bytes()
        except FileNotFoundError:
            return None
        digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return content if hashlib.sha256(content).digest() == digest else None

    def holds(self, key: str) -> bool:
        """Tell whether there is an entry, whole or not."""
        return self._target(key).is_file()

    def write(self, key: str, content: bytes) -> bool:
        """Keep an entry; False where there is no room for it, which costs time later and nothing else."""
        target = self._target(key)
        aside = target.with_name(f"{key}.{secrets.token_hex(8)}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not self._make_room(_DIGEST_BYTES + len(content)):
                return False
            aside.write_bytes(hashlib.sha256(content).digest() + content)
            aside.replace(target)
        except OSError as error:
            aside.unlink(missing_ok=True)
            if error.errno in _NOT_KEPT:
                return False
            raise
        return True

    def trim(self, spare_bytes: int = 0) -> int:
        """Remove the oldest entries until so much more fits the budget and leaves the floor free; return how many."""
        entries = self._entries()
        if not entries:
            return 0
        short = max(0, self.floor_bytes + spare_bytes - shutil.disk_usage(self.root).free)
        return _keep_newest(entries, min(self.budget_bytes - spare_bytes, _bytes_of(entries) - short))

    def give(self, wanted_bytes: int) -> int:
        """Remove the oldest entries to free at least so many bytes for others, if all take as much; return how many."""
        entries = self._entries()
        return _keep_newest(entries, _bytes_of(entries) - wanted_bytes - self._step_bytes)

    @property
    def _step_bytes(self) -> int:
        return self.budget_bytes // _CHECKS

    def _make_room(self, size: int) -> bool:
        """Tell whether an entry may be written, after a trim where it is time for one."""
        if size + self._step_bytes > self.budget_bytes:
            return False
        if self._allowance.left_bytes < size or not self._fits(size):
            self._allowance.left_bytes = size + self._step_bytes
            self.trim(self._allowance.left_bytes)
        self._allowance.left_bytes -= size
        return self._fits(size)

    def _fits(self, size: int) -> bool:
        return shutil.disk_usage(self.root).free - size >= self.floor_bytes

    def _entries(self) -> list[_Entry]:
        found: list[_Entry] = []
        for path in self.root.glob("*/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return found

    def _target(self, key: str) -> Path:
        return self.root / check_sha256(key)[:2] / key


def _bytes_of(entries: Sequence[_Entry]) -> int:
    return sum(size for _, size, _ in entries)


def _keep_newest(entries: Sequence[_Entry], limit_bytes: int) -> int:
    """Remove the oldest entries until the rest fits the limit; return how many went."""
    kept, removed = 0, 0
    for _, size, path in sorted(entries, key=lambda entry: entry[0], reverse=True):
        kept += size
        if kept > limit_bytes:
            path.unlink(missing_ok=True)
            removed += 1
    return removed
