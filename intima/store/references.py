"""Which blobs the rows name."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from intima.store.keys import is_sha256
from intima.store.tables import METADATA

BLOB_NAMES = frozenset(
    {
        "image_sha256",
        "mask_sha256",
        "fingerprints_sha256",
        "onnx_sha256",
        "slide_sha256",
        "base_mask_sha256",
        "correction_sha256",
        "weights_sha256",
        "scores_sha256",
    }
)
"""Names of fields that hold the hash of a blob; so do ``sha256`` beside ``bytes``, and that of a slide."""
_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_ROWS = 500


@dataclass(frozen=True, slots=True)
class References:
    """Hashes in rows."""

    blobs: set[str] = field(default_factory=set)
    """Those that are of blobs, which must be there."""
    seen: set[str] = field(default_factory=set)
    """All there are, in whatever text; a blob among them is kept."""

    def add(self, table: str, row: Mapping[str, Any]) -> None:
        """Take in a row."""
        if table == "slides":
            self.blobs.add(str(row["sha256"]))
        for value in row.values():
            self._add(value)

    def _add(self, value: object) -> None:
        if isinstance(value, str):
            self.seen.update(_HASH.findall(value))
        elif isinstance(value, Mapping):
            self.blobs.update(_blobs_of(value))
            for key, inner in value.items():
                self._add(key)
                self._add(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                self._add(inner)


def _blobs_of(value: Mapping[str, Any]) -> Iterator[str]:
    names = BLOB_NAMES | ({"sha256"} if "bytes" in value else set())
    for name in names & value.keys():
        found = value[name]
        if isinstance(found, str) and is_sha256(found):
            yield found


def find_references(conn: Connection) -> References:
    """Return the hashes in all rows of the state that a connection reads."""
    found = References()
    for table in METADATA.sorted_tables:
        rows = conn.execution_options(yield_per=_ROWS).execute(select(table)).mappings()
        for row in rows:
            found.add(table.name, dict(row))
    return found
