"""What a backup is: a folder with ``rows/<table>.jsonl``, ``blobs/ab/<sha256>``, ``blobs.txt``, ``manifest.json``.

The manifest is written last: a folder without one is no backup.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from intima.contracts._base import Contract
from intima.errors import Invalid

FORMAT: Literal["intima-backup/1"] = "intima-backup/1"
MANIFEST, ROWS, BLOBS, BLOB_LIST = "manifest.json", "rows", "blobs", "blobs.txt"


class TableFile(Contract):
    """One table."""

    name: Annotated[str, Field(pattern=r"^[a-z_]{1,63}$")]
    rows: int
    sha256: str
    """Of its file."""


class Manifest(Contract):
    """What is in a backup, and the hash of every part."""

    format: Literal["intima-backup/1"] = FORMAT
    intima: str
    """Version that wrote it."""
    schema_version: str
    """Of the database."""
    started_at: str
    """RFC 3339: every row that was committed before is here."""
    finished_at: str
    tables: tuple[TableFile, ...]
    """In order of dependence."""
    blobs: int
    blob_bytes: int
    blob_list_sha256: str
    """Of ``blobs.txt``: a line of hash and length for each."""
    missing: tuple[str, ...] = ()
    """Blobs that rows name and the store had not."""
    damaged: tuple[str, ...] = ()
    """Blobs that rows name and that were not of their hash in the store."""

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(table.rows for table in self.tables)

    @property
    def whole(self) -> bool:
        """Whether the store had all its rows name."""
        return not self.missing and not self.damaged


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a folder a backup, durably."""
    aside = folder / f"{MANIFEST}.part"
    with aside.open("x") as file:
        file.write(manifest.model_dump_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.rename(folder / MANIFEST)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(folder: Path) -> Manifest:
    """Return what is in a backup.

    Raises:
        Invalid: the folder is no whole backup, or one of a form this version does not know.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise Invalid(f"{folder} has no {MANIFEST}: it is no backup, or half of one.", code="no_backup") from None
    except ValidationError as error:
        raise Invalid(
            f"{folder / MANIFEST} is none of the form {FORMAT}.",
            code="bad_backup",
            hint="Restore it with the version of Intima that wrote it.",
        ) from error
