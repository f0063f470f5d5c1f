"""Copy a store while it is in use: first the rows of one moment, then every blob they name.

Blobs never change and a row is committed after its blobs are durable, so what the rows of one moment name is there for
as long as nobody collects it, which waits (``guard``). The other order would miss blobs of rows that come meanwhile.
"""

import hashlib
import importlib.metadata
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from intima.errors import Conflict, NotFound, Unavailable
from intima.store.blobs import BlobCorrupt, Blobs, LocalBlobs
from intima.store.catalog import rfc3339
from intima.store.guard import copying
from intima.store.incoming import full_where
from intima.store.manifest import BLOB_LIST, BLOBS, ROWS, Manifest, write_manifest
from intima.store.migrate import current_revision
from intima.store.references import References
from intima.store.rows import snapshot, write_rows
from intima.store.storage import Storage


@dataclass(slots=True)
class _Copied:
    """What became of the blobs."""

    bytes: int = 0
    names: list[tuple[str, int]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def back_up(storage: Storage, folder: Path, *, base: Path | None = None) -> Manifest:
    """Write a backup into an empty folder; blobs that an earlier backup ``base`` holds on the same volume are linked.

    It is whole once it has a manifest; on any error the folder is empty again. A store that lacks blobs is backed up
    all the same, and the manifest says so.

    Raises:
        Conflict: the folder is not empty, or blobs are being collected.
        Unavailable: the store cannot be read.
        StorageFull: no room for it.
    """
    _refuse_filled(folder)
    with ExitStack() as undo, full_where("No room for the backup."), copying(storage):
        undo.callback(_empty, folder)
        manifest = _write(storage, folder, base)
        undo.pop_all()
    return manifest


def _write(storage: Storage, folder: Path, base: Path | None) -> Manifest:
    started, found = time.time(), References()
    with snapshot(storage) as conn:
        schema = current_revision(conn)
        tables = write_rows(conn, folder / ROWS, found)
    if schema is None:
        raise Unavailable("The database has no schema.", code="no_schema")
    stored = {blob.sha256: blob.bytes for blob in storage.blobs.stored()}
    target = LocalBlobs(folder / BLOBS, floor_bytes=storage.floor_bytes)
    copied = _copy_all(storage.blobs, target, {name: stored[name] for name in sorted(found.seen & stored.keys())}, base)
    copied.missing.extend(sorted(found.blobs - stored.keys()))
    lines = "".join(f"{name} {size}\n" for name, size in copied.names).encode()
    _write_durably(folder / BLOB_LIST, lines)
    manifest = Manifest(
        intima=importlib.metadata.version("intima"),
        schema_version=schema,
        started_at=rfc3339(started),
        finished_at=rfc3339(time.time()),
        tables=tuple(tables),
        blobs=len(copied.names),
        blob_bytes=copied.bytes,
        blob_list_sha256=hashlib.sha256(lines).hexdigest(),
        missing=tuple(copied.missing),
        damaged=tuple(copied.damaged),
    )
    write_manifest(folder, manifest)
    return manifest


def _copy_all(source: Blobs, target: LocalBlobs, sizes: Mapping[str, int], base: Path | None) -> _Copied:
    copied = _Copied()
    for name, expected in sizes.items():
        try:
            size = _link(base, target, name) or copy_blob(source, target, name, expected_bytes=expected)
        except BlobCorrupt:
            copied.damaged.append(name)
        except NotFound:
            copied.missing.append(name)
        else:
            copied.names.append((name, size))
            copied.bytes += size
    return copied


def copy_blob(source: Blobs, target: Blobs, sha256: str, *, expected_bytes: int) -> int:
    """Copy a blob from store to store, checked on the way; return its bytes. Raises NotFound, BlobCorrupt."""
    with target.receiving(expected_bytes=expected_bytes) as incoming:
        for piece in source.pieces(sha256):
            incoming.write([piece])
        if incoming.sha256 != sha256:
            raise BlobCorrupt(f"Blob {sha256} has content with SHA-256 {incoming.sha256}.")
        incoming.keep()
        return incoming.size


def _link(base: Path | None, target: LocalBlobs, sha256: str) -> int | None:
    """Give a sound blob of an earlier backup a second name; null where that is not possible."""
    if base is None:
        return None
    old, new = (root / sha256[:2] / sha256 for root in (base / BLOBS, target.root))
    new.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError), old.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
            new.hardlink_to(old)
            return new.stat().st_size
    return None


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _refuse_filled(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Conflict(f"{folder} is not empty.", code="folder_not_empty", hint="Name a new folder for each backup.")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
