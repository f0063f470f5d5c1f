"""Look at every blob: is it of its name, and is all there that rows name?"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from intima.errors import NotFound
from intima.store.blobs import Blobs
from intima.store.references import find_references
from intima.store.rows import snapshot
from intima.store.storage import Storage


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with a store, and what is not."""

    sound: int
    sound_bytes: int
    unreferenced: int
    """Sound blobs that no row names: what ``collect`` removes when they are a day old."""
    unreferenced_bytes: int
    missing: tuple[str, ...]
    """Blobs that rows name and that are not there."""
    damaged: tuple[str, ...]
    """Blobs that are not of their hash."""
    quarantined: int

    @property
    def good(self) -> bool:
        """Whether nothing is missing or damaged."""
        return not self.missing and not self.damaged


def check_store(storage: Storage, *, quarantine: bool = False) -> Findings:
    """Read all blobs; move damaged ones away where asked, so that they are missing instead of wrong.

    Blobs that come while this runs are not looked at. Raises Unavailable.
    """
    stored = {blob.sha256: blob.bytes for blob in storage.blobs.stored()}
    with snapshot(storage) as conn:
        found = find_references(conn)
    states = {name: _is_sound(storage.blobs, name) for name in sorted(stored)}
    sound = [name for name, state in states.items() if state]
    damaged = [name for name, state in states.items() if state is False]
    moved = _move_away(storage.blobs, damaged) if quarantine else 0
    spare = [name for name in sound if name not in found.seen]
    return Findings(
        sound=len(sound),
        sound_bytes=sum(stored[name] for name in sound),
        unreferenced=len(spare),
        unreferenced_bytes=sum(stored[name] for name in spare),
        missing=tuple(
            sorted(name for name in found.blobs - set(sound) - set(damaged) if _is_gone(storage.blobs, name))
        ),
        damaged=tuple(damaged),
        quarantined=moved,
    )


def _is_sound(blobs: Blobs, sha256: str) -> bool | None:
    """Tell whether a blob is of its name; null where it was removed meanwhile."""
    digest = hashlib.sha256()
    try:
        for piece in blobs.pieces(sha256):
            digest.update(piece)
    except NotFound:
        return None
    return digest.hexdigest() == sha256


def _move_away(blobs: Blobs, damaged: Sequence[str]) -> int:
    """Move damaged blobs into quarantine and return how many; one that was stored again meanwhile stays."""
    moved = 0
    for name in damaged:
        if _is_sound(blobs, name) is False:
            blobs.quarantine(name)
            moved += 1
    return moved


def _is_gone(blobs: Blobs, sha256: str) -> bool:
    return not blobs.exists(sha256)
