"""Read jobs, units, events and results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, case, func, select

from intima.arrays import Json
from intima.contracts.job import JobError, JobEvent, JobView, Progress, UnitState, UnitView
from intima.errors import Invalid, NotFound
from intima.store._advance import ACTIVE
from intima.store.catalog import rfc3339
from intima.store.paging import MAX_PAGE_SIZE, Page, check_page_size, page_of
from intima.store.tables import database_now, events, jobs, units

_SHOWN = ("key", "kind", "state", "attempt", "started_at", "finished_at", "message", "error_code", "error_message")
"""Columns that a unit shows; its payload and result may be large."""


def read_job(conn: Connection, job_id: str) -> JobView:
    """Return a job as clients see it. Raises NotFound."""
    row = conn.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id[:80]!r}.", code="job_not_found")
    return _job_view(conn, row)


def list_jobs(conn: Connection, *, page_size: int = 50, page_token: str = "") -> Page[JobView]:
    """Return jobs, newest first. Raises Invalid for a bad page."""
    page = page_of(conn, jobs, page_size=page_size, page_token=page_token)
    return page.map(lambda row: _job_view(conn, row))


def read_units(conn: Connection, job_id: str) -> tuple[UnitView, ...]:
    """Return the units of a job in the order of its plan, without what they were given and what came of them."""
    columns = [units.c[name] for name in _SHOWN]
    rows = conn.execute(select(*columns).where(units.c.job_id == job_id).order_by(units.c.position)).all()
    return tuple(_unit_view(row) for row in rows)


def unit_keys(
    conn: Connection, job_id: str, *, kinds: Sequence[str], states: Sequence[UnitState] = ()
) -> tuple[str, ...]:
    """Return the keys of the units of some kinds, in any or in these states, in the order of the plan."""
    found = select(units.c.key).where(units.c.job_id == job_id, units.c.kind.in_(kinds)).order_by(units.c.position)
    if states:
        found = found.where(units.c.state.in_(states))
    return tuple(conn.execute(found).scalars())


def count_trials(conn: Connection, job_id: str) -> dict[str, tuple[int, int]]:
    """Return how many trials each study of a job has and how many are done, by study in the order of the plan."""
    series = func.rtrim(units.c.key, "0123456789").label("series")
    done = func.sum(case((units.c.state == "done", 1), else_=0)).label("done")
    counts = select(series, func.count().label("n"), done).where(units.c.job_id == job_id, units.c.kind == "trial")
    rows = conn.execute(counts.group_by(series).order_by(func.min(units.c.position))).all()
    return {row.series.rpartition("/")[0]: (row.n, row.done) for row in rows}


def best_trials(conn: Connection, job_id: str) -> dict[str, float]:
    """Return the highest inner score of each study of a job that has one; looks into the result of every trial."""
    series = func.rtrim(units.c.key, "0123456789").label("series")
    best = func.max(units.c.result["value"].as_float()).label("best")
    done = select(series, best).where(units.c.job_id == job_id, units.c.kind == "trial", units.c.state == "done")
    rows = conn.execute(done.group_by(series)).all()
    return {row.series.rpartition("/")[0]: row.best for row in rows if row.best is not None}


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """A unit with what it was given and what came of it."""

    key: str
    kind: str
    state: str
    payload: Json
    result: Json | None
    """Null until it is done."""
    started_at: str | None
    finished_at: str | None
    error: str | None
    live: Json | None
    """What an attempt that gave no result has shown of its curves."""


def page_units(
    conn: Connection,
    job_id: str,
    *,
    kinds: Sequence[str],
    states: Sequence[UnitState] = (),
    page_size: int,
    page_token: str,
) -> Page[StoredUnit]:
    """Return one page of the units of some kinds of a job, in any or in these states, in the order of its plan.

    Raises Invalid for a bad page.
    """
    check_page_size(page_size)
    if page_token and not (page_token.isascii() and page_token.isdigit() and len(page_token) < 10):
        raise Invalid("Got a page_token that is not one of ours; start again without it.", pointer="/page_token")
    wanted = [units.c.job_id == job_id, units.c.kind.in_(kinds), units.c.position > int(page_token or -1)]
    if states:
        wanted.append(units.c.state.in_(states))
    rows = conn.execute(select(units).where(*wanted).order_by(units.c.position).limit(page_size + 1)).all()
    items = rows[:page_size]
    return Page(tuple(_stored_unit(r) for r in items), str(items[-1].position) if len(rows) > page_size else "")


def read_events(conn: Connection, job_id: str, after: int, *, limit: int = MAX_PAGE_SIZE) -> list[JobEvent]:
    """Return the next events of a job behind ``after``, oldest first; fewer than ``limit`` where these are all."""
    later = select(events).where(events.c.job_id == job_id, events.c.id > after).order_by(events.c.id).limit(limit)
    return [JobEvent(id=r.id, at=rfc3339(r.at), type=r.type, data=r.data) for r in conn.execute(later).all()]


def results_of(conn: Connection, job_id: str, keys: Sequence[str]) -> dict[str, Json]:
    """Return the results of those of these units that are done, by key."""
    done = select(units.c.key, units.c.result).where(units.c.job_id == job_id, units.c.state == "done")
    rows = conn.execute(done.where(units.c.key.in_(keys)).order_by(units.c.position)).all()
    return {row.key: row.result for row in rows}


def last_result(conn: Connection, job_id: str, key: str) -> Json | None:
    """Return the newest result of a unit, also while it runs again; null where it never had one."""
    found: Json | None = conn.execute(
        select(units.c.result).where(units.c.job_id == job_id, units.c.key == key)
    ).scalar()
    return found


def first_finished_at(conn: Connection, job_id: str, *, kinds: Sequence[str]) -> float | None:
    """Return when the first unit of these kinds was done, in seconds since 1970; null where none is."""
    done = select(func.min(units.c.finished_at)).where(units.c.job_id == job_id, units.c.kind.in_(kinds))
    found: float | None = conn.execute(done.where(units.c.state == "done")).scalar()
    return found


def failures_of(conn: Connection, job_id: str, keys: Sequence[str]) -> dict[str, str]:
    """Return why those of these units that failed or were skipped have no result, by key in the order of the plan."""
    dead = select(units.c.key, units.c.error_code, units.c.error_message).where(units.c.job_id == job_id)
    dead = dead.where(units.c.key.in_(keys), units.c.state.in_(("failed", "skipped"))).order_by(units.c.position)
    return {row.key: f"{row.error_code}: {row.error_message}" for row in conn.execute(dead).all()}


def payloads_of(conn: Connection, job_id: str, keys: Sequence[str]) -> dict[str, Json]:
    """Return what these units were planned with, by key."""
    found = select(units.c.key, units.c.payload).where(units.c.job_id == job_id, units.c.key.in_(keys))
    return {row.key: row.payload for row in conn.execute(found.order_by(units.c.position)).all()}


def job_payload(conn: Connection, job_id: str) -> Json:
    """Return what a job was created with. Raises NotFound."""
    row = conn.execute(select(jobs.c.payload).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id[:80]!r}.", code="job_not_found")
    payload: Json = row.payload
    return payload


def last_success(conn: Connection, result_url: str) -> str | None:
    """Return the newest succeeded job with this result, or null: what a job that runs again still has to show."""
    done = select(jobs.c.id).where(jobs.c.result_url == result_url, jobs.c.state == "succeeded")
    return conn.execute(done.order_by(jobs.c.finished_at.desc()).limit(1)).scalar()


def queue_depth(conn: Connection) -> dict[str, int]:
    """Return the number of ready units by queue."""
    ready = select(units.c.queue, func.count()).where(units.c.state == "ready").group_by(units.c.queue)
    return dict(conn.execute(ready).all())


def _job_view(conn: Connection, row: Row[Any]) -> JobView:
    now = conn.execute(select(database_now())).scalar_one()
    end = row.finished_at or now
    error = None
    if row.error_code is not None:
        error = JobError(code=row.error_code, message=row.error_message, unit=row.error_unit)
    return JobView(
        id=row.id,
        kind=row.kind,
        state=row.state,
        attempt=row.attempt,
        progress=_progress(conn, row),
        queued_s=max(0.0, (row.started_at or end) - row.queued_at),
        running_s=max(0.0, end - row.started_at) if row.started_at else 0.0,
        created_at=rfc3339(row.created_at),
        finished_at=rfc3339(row.finished_at) if row.finished_at else None,
        error=error,
        result=row.result_url if row.state == "succeeded" else None,
    )


def _progress(conn: Connection, job: Row[Any]) -> Progress:
    took = func.avg(units.c.finished_at - units.c.started_at).label("took_s")
    query = select(units.c.kind, units.c.state, func.count().label("n"), took, func.avg(units.c.fraction).label("at"))
    rows = conn.execute(query.where(units.c.job_id == job.id).group_by(units.c.kind, units.c.state)).all()
    done = sum(row.n for row in rows if row.state == "done")
    return Progress(done=done, total=sum(row.n for row in rows), message=job.message, eta_s=_eta_s(rows))


def _eta_s(rows: Sequence[Row[Any]]) -> float | None:
    """Return the rough time left of a job from the counts and mean times of its units by kind and state."""
    finished = {str(row.kind): (int(row.n), float(row.took_s)) for row in rows if row.state == "done"}
    running = sum(int(row.n) for row in rows if row.state == "running")
    if not finished or not running:
        return None
    overall = sum(n * took for n, took in finished.values()) / sum(n for n, _ in finished.values())
    left_s: float = 0.0
    for row in rows:
        if row.state in ACTIVE:
            undone = int(row.n) * (1.0 - float(row.at) if row.state == "running" else 1.0)
            left_s += undone * finished.get(row.kind, (0, overall))[1]
    return left_s / running


def _stored_unit(row: Row[Any]) -> StoredUnit:
    return StoredUnit(
        key=row.key,
        kind=row.kind,
        state=row.state,
        payload=row.payload,
        result=row.result if row.state == "done" else None,
        started_at=rfc3339(row.started_at) if row.started_at else None,
        finished_at=rfc3339(row.finished_at) if row.finished_at else None,
        error=f"{row.error_code}: {row.error_message}" if row.error_code else None,
        live=None if row.state == "done" else row.live,
    )


def _unit_view(row: Row[Any]) -> UnitView:
    took = row.finished_at - row.started_at if row.finished_at and row.started_at else None
    error = f"{row.error_code}: {row.error_message}" if row.error_code else None
    return UnitView(
        key=row.key,
        kind=row.kind,
        state=row.state,
        attempt=row.attempt,
        seconds=took,
        message=row.message,
        error=error,
    )
