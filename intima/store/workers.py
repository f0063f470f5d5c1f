"""Who runs what now: the claims that are held, by owner, and how long the queues are."""

from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, select

from intima.contracts.worker import QueueDepth, RunningUnit, WorkerReport, WorkerView
from intima.store._state import read_state
from intima.store.catalog import rfc3339
from intima.store.tables import database_now, jobs, units

MOST_CLAIMS = 1000
"""Claims that one report names."""


def read_workers(conn: Connection) -> WorkerReport:
    """Return the owners of running units and the depths of the queues.

    A unit is late by the rule that takes it back: its lease has run out. A worker that holds nothing is in no row.
    """
    now = float(conn.execute(select(database_now())).scalar_one())
    held = select(units, jobs.c.kind.label("job_kind")).join(jobs, jobs.c.id == units.c.job_id)
    held = held.where(units.c.state == "running").order_by(units.c.owner, units.c.started_at, units.c.id)
    rows = conn.execute(held.limit(MOST_CLAIMS + 1)).all()
    owners = groupby(rows[:MOST_CLAIMS], key=lambda row: row.owner)
    workers = tuple(_worker(owner, [_running(row, now) for row in claims]) for owner, claims in owners)
    return WorkerReport(workers=workers, queues=_queues(conn), complete=len(rows) <= MOST_CLAIMS)


def _worker(owner: str | None, running: list[RunningUnit]) -> WorkerView:
    ages = [unit.silent_s for unit in running if unit.silent_s is not None]
    late = any(unit.late for unit in running)
    return WorkerView(owner=owner or "", late=late, silent_s=min(ages) if ages else None, running=tuple(running))


def _running(row: Row[Any], now: float) -> RunningUnit:
    return RunningUnit(
        job=row.job_id,
        job_kind=row.job_kind,
        key=row.key,
        kind=row.kind,
        queue=row.queue,
        attempt=row.attempt,
        since=rfc3339(row.started_at),
        seconds=max(0.0, now - row.started_at),
        silent_s=None if row.beat_at is None else max(0.0, now - row.beat_at),
        late=row.lease_until < now,
        fraction=row.fraction,
        message=row.message,
    )


def _queues(conn: Connection) -> tuple[QueueDepth, ...]:
    state = read_state(conn)
    names = sorted({queue for queue, _ in state.units} | {"inference", "training"})
    return tuple(
        QueueDepth(
            queue=name,
            ready=state.units.get((name, "ready"), 0),
            running=state.units.get((name, "running"), 0),
            waiting=state.units.get((name, "waiting"), 0),
            oldest_ready_s=state.oldest_ready_s.get(name),
        )
        for name in names
    )
