"""Remove what nobody needs any more: blobs no row names, leftovers, old idempotency keys, old events."""

import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from intima.store import tables as t
from intima.store.guard import collecting
from intima.store.references import find_references
from intima.store.rows import snapshot
from intima.store.storage import Storage

DAY_S = 86_400.0
KEYS_S = 30 * DAY_S


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed."""

    blobs: int
    bytes: int
    leftovers: int
    keys: int
    events: int


def collect(
    storage: Storage,
    *,
    unused_s: float = DAY_S,
    keys_s: float | None = KEYS_S,
    events_s: float | None = None,
    dry_run: bool = False,
) -> Collected:
    """Remove what is older than its time, safely while others write; null keeps.

    A writer makes a blob durable, or renews it, and commits the row that names it after that. So a blob that was old
    when the rows were read a second time, and still is when it goes, is named by none: ``unused_s`` must be longer than
    any unit of work runs.

    Raises:
        Conflict: somebody else collects, or a backup is being made.
        Unavailable: the store does not answer.
    """
    before = time.time() - unused_s
    with collecting(storage):
        keys, events = _forget(storage, keys_s=keys_s, events_s=events_s, dry_run=dry_run)
        first = _unnamed(storage, {b.sha256: b.bytes for b in storage.blobs.stored() if b.written_at < before})
        second = _unnamed(storage, first)
        gone = second if dry_run else {n: s for n, s in second.items() if storage.blobs.remove(n, before=before)}
        leftovers = 0 if dry_run else storage.blobs.remove_leftovers() + storage.uploads.sweep()
    return Collected(len(gone), sum(gone.values()), leftovers, keys, events)


def _unnamed(storage: Storage, blobs: dict[str, int]) -> dict[str, int]:
    if not blobs:
        return {}
    with snapshot(storage) as conn:
        seen = find_references(conn).seen
    return {name: size for name, size in blobs.items() if name not in seen}


def _forget(storage: Storage, *, keys_s: float | None, events_s: float | None, dry_run: bool) -> tuple[int, int]:
    with storage.engine.connect() as conn, conn.begin() as transaction:
        counts = (
            0 if keys_s is None else forget_keys(conn, keys_s),
            0 if events_s is None else forget_events(conn, events_s),
        )
        if dry_run:
            transaction.rollback()
    return counts


def forget_keys(conn: Connection, older_s: float) -> int:
    """Let idempotency keys older than this stand for nothing; return how many."""
    old = t.requests.c.created_at < t.database_now() - older_s
    return conn.execute(delete(t.requests).where(old)).rowcount


def forget_events(conn: Connection, older_s: float) -> int:
    """Remove the events of jobs that ended longer ago than this, but the last of each, which ends streams."""
    ended = select(t.jobs.c.id).where(t.jobs.c.finished_at < t.database_now() - older_s)
    last = select(t.jobs.c.last_event).where(t.jobs.c.id == t.events.c.job_id).scalar_subquery()
    return conn.execute(delete(t.events).where(t.events.c.job_id.in_(ended), t.events.c.id < last)).rowcount
