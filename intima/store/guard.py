"""Collecting blobs excludes copying them: who copies a set needs every blob of it to the end."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, func, select

from intima.errors import Conflict
from intima.store.locks import COLLECTION
from intima.store.storage import Storage


@contextmanager
def copying(storage: Storage) -> Iterator[None]:
    """Keep blobs from being collected; several may.

    Raises:
        Conflict: they are being collected.
    """
    with _held(storage, shared=True):
        yield


@contextmanager
def collecting(storage: Storage) -> Iterator[None]:
    """Be the only one who collects, while nobody copies.

    Raises:
        Conflict: somebody does.
    """
    with _held(storage, shared=False):
        yield


@contextmanager
def _held(storage: Storage, *, shared: bool) -> Iterator[None]:
    if storage.engine.dialect.name == "postgresql":
        # A lock of a transaction and not of a session: it holds behind a pooler of transactions too.
        with storage.engine.connect() as conn, conn.begin():
            _take_advisory(conn, shared=shared)
            yield
        return
    with (storage.data_dir / "collect.lock").open("ab") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy() from None
        yield


def _take_advisory(conn: Connection, *, shared: bool) -> None:
    take = func.pg_try_advisory_xact_lock_shared if shared else func.pg_try_advisory_xact_lock
    if not conn.execute(select(take(COLLECTION))).scalar_one():
        raise _busy()


def _busy() -> Conflict:
    return Conflict(
        "The store is being backed up or its unused blobs are being collected.",
        code="store_busy",
        hint="Try again when that has ended.",
    )
