"""Bring back what was lost: units of workers that fell silent, and messages that never arrived.

Nothing here waits for a job that another transaction holds: such a job is left for the next sweep. A sweep takes
the locks of many jobs in one transaction, and waiting would let it deadlock with a claim.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from intima.store._claims import Claim, fail_attempt, is_silent
from intima.store.tables import database_now, jobs, units

RESEND_AFTER_S = 30.0
SWEEP_LIMIT = 500


@dataclass(frozen=True, slots=True)
class UnitRef:
    """What a message carries: which unit, for which queue."""

    unit_id: str
    queue: str


def sweep(
    conn: Connection, *, queued: Mapping[str, int] | None = None, resend_after_s: float = RESEND_AFTER_S
) -> tuple[UnitRef, ...]:
    """Take back expired leases, and return the units whose message should be sent (again).

    Never-sent units are returned at once. A sent unit is returned again after ``resend_after_s``, and only as
    many per queue as exceed ``queued``, the number of messages that queue still holds: without that, a long
    queue would fill with copies.
    """
    expire_leases(conn)
    return take_unsent(conn) + _take_overdue(conn, queued or {}, resend_after_s)


def expire_leases(conn: Connection) -> int:
    """End every claim whose lease has run out, as a failed attempt; return how many."""
    silent = select(units).join(jobs, jobs.c.id == units.c.job_id)
    silent = silent.where(units.c.state == "running", units.c.lease_until < database_now())
    silent = silent.order_by(units.c.job_id, units.c.position).limit(SWEEP_LIMIT)
    ended = 0
    for row in conn.execute(_locking_idle_jobs(silent)).all():
        claim = Claim(row.id, row.job_id, row.key, row.kind, row.queue, row.attempt, row.fence, row.owner, {}, ())
        message = f"The worker fell silent in attempt {row.attempt} ({row.message or 'no progress told'})."
        if is_silent(conn, claim):
            fail_attempt(conn, claim, code="worker_lost", message=message, retryable=True)
            ended += 1
    return ended


def take_unsent(conn: Connection, job_id: str | None = None) -> tuple[UnitRef, ...]:
    """Mark ready units that no message was sent for as sent, and return them; send after the commit."""
    condition = (units.c.state == "ready") & units.c.sent_at.is_(None)
    if job_id is not None:
        condition &= units.c.job_id == job_id
    oldest = select(units.c.id, units.c.queue).join(jobs, jobs.c.id == units.c.job_id).where(condition)
    oldest = oldest.order_by(units.c.job_id, units.c.position).limit(SWEEP_LIMIT)
    rows = conn.execute(_locking_idle_jobs(oldest)).all()
    return _mark_sent(conn, [UnitRef(row.id, row.queue) for row in rows])


def running_owners(conn: Connection) -> frozenset[str]:
    """Return the owners of all running units."""
    return frozenset(conn.execute(select(units.c.owner).where(units.c.state == "running").distinct()).scalars())


def expire_owner(conn: Connection, owner: str) -> int:
    """End the leases of an owner that is known to be gone, so that they expire; return how many."""
    held = (units.c.state == "running") & (units.c.owner == owner)
    idle = select(jobs.c.id).where(jobs.c.id.in_(select(units.c.job_id).where(held)))
    locked = conn.execute(_locking_idle_jobs(idle)).scalars().all()
    return conn.execute(update(units).where(held, units.c.job_id.in_(locked)).values(lease_until=0.0)).rowcount


def _take_overdue(conn: Connection, queued: Mapping[str, int], resend_after_s: float) -> tuple[UnitRef, ...]:
    """Return the oldest overdue units, of each queue as many as are missing there. Counting holds no job."""
    sent = (units.c.state == "ready") & units.c.sent_at.is_not(None)
    counted = conn.execute(select(units.c.queue, func.count().label("ready")).where(sent).group_by(units.c.queue)).all()
    overdue: list[UnitRef] = []
    for queue, count in sorted((row.queue, int(row.ready)) for row in counted):
        missing = min(count - queued.get(queue, 0), SWEEP_LIMIT - len(overdue))
        if missing > 0:
            late = (units.c.queue == queue) & (units.c.sent_at < database_now() - resend_after_s)
            oldest = select(units.c.id).join(jobs, jobs.c.id == units.c.job_id).where(sent, late)
            oldest = oldest.order_by(units.c.sent_at).limit(missing)
            overdue += [UnitRef(row.id, queue) for row in conn.execute(_locking_idle_jobs(oldest))]
    return _mark_sent(conn, overdue)


def _locking_idle_jobs(query: Select[Any]) -> Select[Any]:
    """Lock the jobs of the rows and pass over those another transaction holds."""
    return query.with_for_update(of=jobs, skip_locked=True)


def _mark_sent(conn: Connection, refs: list[UnitRef]) -> tuple[UnitRef, ...]:
    if refs:
        these = units.c.id.in_([r.unit_id for r in refs])
        conn.execute(update(units).where(these).values(sent_at=database_now(), sends=units.c.sends + 1))
    return tuple(refs)
