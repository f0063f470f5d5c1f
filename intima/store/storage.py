"""Open the store of one deployment: a folder or a bucket of blobs and a database, migrated to this version."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from intima.errors import Conflict, Invalid, Unavailable
from intima.store.addresses import S3Address
from intima.store.blobs import FLOOR_BYTES, Blobs, LocalBlobs
from intima.store.cache import Cache
from intima.store.copies import open_copies
from intima.store.incoming import StorageFull
from intima.store.migrate import migrate
from intima.store.object_blobs import ObjectBlobs, open_bucket
from intima.store.resumable import Uploads
from intima.store.scratch import Scratch, open_scratch

BUSY_TIMEOUT_S = 30.0
_COPIES_SHARE = 5
_READ_ONLY = "intima_read_only"


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a deployment keeps everything; open one per process."""

    data_dir: Path
    blobs: Blobs
    engine: Engine
    cache: Cache
    """What can be made again: decoded training images, embeddings of frozen encoders."""
    uploads: Uploads
    """What is on its way in, over several requests."""
    floor_bytes: int = FLOOR_BYTES
    """Free space that is left on the volume."""
    blobs_at: S3Address | None = None
    """Where the blobs lie; null: in the data folder."""

    @property
    def weights_folder(self) -> Path:
        """Where the owner of this deployment puts pretrained weights, each under its published file name."""
        return self.data_dir / "weights"

    @contextmanager
    def scratch(self) -> Iterator[Scratch]:
        """Open a place for images of one piece of work; it is gone at the end, and when the process is killed."""
        with open_scratch(self.data_dir / "scratch", floor_bytes=self.floor_bytes) as opened:
            yield opened

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that may write; commits at the end, rolls back on any error."""
        with _in_turn(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that reads one state and never waits for writers."""
        options = {_READ_ONLY: True}
        with _in_turn(), self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Give the database connections back."""
        self.engine.dispose()


def open_storage(
    data_dir: Path,
    database_url: str | None = None,
    *,
    floor_bytes: int = FLOOR_BYTES,
    blobs_at: S3Address | None = None,
) -> Storage:
    """Open the store in a folder, make what is missing, and migrate the database to this version.

    Safe when several processes start at once. ``database_url`` is an SQLAlchemy URL; null takes SQLite at
    ``data_dir/intima.db``. ``blobs_at`` is a bucket, which is not asked yet; null takes ``data_dir/blobs``.

    Raises:
        Unavailable: the database cannot be reached, or a newer Intima has written it.
    """
    storage = attach_storage(data_dir, database_url, floor_bytes=floor_bytes, blobs_at=blobs_at)
    migrate(storage.engine)
    storage.blobs.remove_leftovers()
    storage.uploads.sweep()
    storage.cache.trim()
    return storage


def attach_storage(
    data_dir: Path,
    database_url: str | None = None,
    *,
    floor_bytes: int = FLOOR_BYTES,
    blobs_at: S3Address | None = None,
) -> Storage:
    """Open a store that ``open_storage`` has migrated already: what the child process of a unit does."""
    folder = data_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    cache = Cache.beside_store(folder / "cache", store_floor_bytes=floor_bytes)
    blobs = _open_blobs(folder, cache, floor_bytes=floor_bytes, blobs_at=blobs_at)
    engine = _open_engine(database_url or f"sqlite:///{folder / 'intima.db'}")
    uploads = Uploads(folder / "uploads", floor_bytes, make_room=cache.give)
    return Storage(folder, blobs, engine, cache, uploads, floor_bytes, blobs_at)


def _open_blobs(folder: Path, cache: Cache, *, floor_bytes: int, blobs_at: S3Address | None) -> Blobs:
    if blobs_at is None:
        (folder / "blobs").mkdir(exist_ok=True)
        return LocalBlobs(folder / "blobs", floor_bytes=floor_bytes, make_room=cache.give)
    budget = blobs_at.copies_bytes or shutil.disk_usage(folder).total // _COPIES_SHARE
    copies = open_copies(folder / "copies", budget_bytes=budget, floor_bytes=floor_bytes, make_room=cache.give)
    return ObjectBlobs(blobs_at, open_bucket(blobs_at), copies)


def _open_engine(url: str) -> Engine:
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"), json_serializer=_dump_json)
    event.listen(engine, "handle_error", _translate_error)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _dump_json(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _prepare_sqlite(connection: DBAPIConnection, _record: Any) -> None:
    """Set what keeps SQLite safe under several writers; the driver's own transactions lose updates silently."""
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(BUSY_TIMEOUT_S * 1000)}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(value: str | bytes | float | None) -> str | bytes | float | None:
    """Return a text in lower case: SQLite's own knows ASCII only."""
    return value.lower() if isinstance(value, str) else value


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at the start, so that what was read is still true when it is written."""
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _translate_error(context: ExceptionContext) -> None:
    """Turn a full disk, an unreachable database or a value it cannot hold into the error family that says so."""
    error = context.sqlalchemy_exception
    if isinstance(error, IntegrityError):
        raise Conflict(
            "Two requests stored the same thing at the same moment.", code="concurrent_request", hint="Try again."
        ) from error
    if isinstance(error, DataError):
        raise Invalid(
            "A text or a number in the request is none that the database can keep.", code="bad_text"
        ) from error
    if isinstance(error, OperationalError | InternalError | InterfaceError):
        _raise_unavailable(str(context.original_exception), error)


@contextmanager
def _in_turn() -> Iterator[None]:
    """Say plainly that all connections of this process were in use for too long. Raises Unavailable."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable(
            "All connections to the database are in use.", code="database_busy", hint="Try again in a moment."
        ) from error


def _raise_unavailable(reason: str, error: DBAPIError) -> NoReturn:
    if "disk is full" in reason or "No space left" in reason:
        raise StorageFull("The database has no room to write.", hint="Free space and try again.") from error
    raise Unavailable("The database does not answer.", code="database_unavailable", hint="Try again later.") from error
