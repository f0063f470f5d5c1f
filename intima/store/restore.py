"""Bring a backup into an empty store, of whatever database and place of blobs."""

import hashlib
from pathlib import Path

from intima.errors import Conflict, Invalid, NotFound
from intima.store.backup import copy_blob
from intima.store.blobs import BlobCorrupt, LocalBlobs
from intima.store.manifest import BLOB_LIST, BLOBS, ROWS, Manifest, read_manifest
from intima.store.migrate import migrate, rewind
from intima.store.rows import check_rows, filled_tables, read_rows
from intima.store.storage import Storage


def restore(storage: Storage, folder: Path) -> Manifest:
    """Restore a backup and migrate it to this version; return what was in it.

    Every hash is checked, and every blob is in the store, before rows are; they come in one transaction. A restore that
    was stopped can be started again.

    Raises:
        Conflict: the store has rows.
        Invalid: the folder is no whole backup, or a part of it is damaged.
        Unavailable: the backup is of a newer version, or the store does not answer.
    """
    manifest = read_manifest(folder)
    check_rows(folder / ROWS, manifest.tables)
    sizes = _read_list(folder, manifest)
    _refuse_filled(storage)
    rewind(storage.engine, manifest.schema_version)
    source = LocalBlobs(folder / BLOBS)
    for name, size in sizes.items():
        try:
            copy_blob(source, storage.blobs, name, expected_bytes=size)
        except (BlobCorrupt, NotFound) as error:
            raise Invalid(f"Blob {name} of the backup is missing or damaged.", code="backup_damaged") from error
    with storage.writing() as conn:
        if filled_tables(conn):
            raise _not_empty()
        read_rows(conn, folder / ROWS, manifest.tables)
    migrate(storage.engine)
    return manifest


def _read_list(folder: Path, manifest: Manifest) -> dict[str, int]:
    try:
        lines = (folder / BLOB_LIST).read_bytes()
    except FileNotFoundError:
        lines = b""
    if hashlib.sha256(lines).hexdigest() != manifest.blob_list_sha256:
        raise Invalid(f"{BLOB_LIST} of the backup is damaged.", code="backup_damaged", hint="Take another.")
    try:
        return {name: int(size) for name, size in map(str.split, lines.decode().splitlines())}
    except ValueError as error:
        raise Invalid(f"{BLOB_LIST} is no list of blobs.", code="bad_backup") from error


def _refuse_filled(storage: Storage) -> None:
    with storage.reading() as conn:
        if filled_tables(conn):
            raise _not_empty()


def _not_empty() -> Conflict:
    return Conflict(
        "The store is not empty.",
        code="store_not_empty",
        hint="Restore into a new data folder and a new database, before any service is started on them.",
    )
