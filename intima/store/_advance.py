"""What moves a job on: its lock, its events, and the one function that makes ready what comes next."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, exists, func, insert, select, update

from intima.arrays import Json
from intima.contracts.job import JobState, UnitState
from intima.errors import NotFound
from intima.store import tables as t
from intima.store.tables import database_now, jobs, unit_needs, units

ACTIVE: tuple[UnitState, ...] = ("waiting", "ready", "running")
FINAL: tuple[JobState, ...] = ("succeeded", "failed", "canceled")
DEAD: tuple[UnitState, ...] = ("failed", "skipped", "canceled")
PATIENT = "benchmark"
"""Kind of job whose units may wait: it takes no turn."""
NO_TURN = -1


def lock_job(conn: Connection, job_id: str) -> Row[Any]:
    """Return a job's row, locked to the end of the transaction, so that two last units see each other.

    Everything that changes a unit takes this lock first. SQLite has one writer at a time and needs none.

    Raises:
        NotFound: there is no such job.
    """
    row = conn.execute(select(jobs).where(jobs.c.id == job_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id[:80]!r}.", code="job_not_found")
    return row


def next_turn(conn: Connection, *, flow: str, place: int) -> int:
    """Return the turn of a job that is asked for now: jobs with a lower turn go first.

    The nth of a batch, a flow of its own, comes n turns after the one served last; a job by itself one turn after the
    last such job, or now. So two batches have every second turn each, a single slide comes between those of a batch of
    hundreds, and no number of single slides holds a batch up: start-time fair queueing (Goyal, Vin and Cheng 1997)
    with all jobs of one size. Who takes no turn (a benchmark, a small image in its request, what was canceled while it
    waited) moves none.
    """
    served = int(conn.execute(select(func.max(jobs.c.served_turn))).scalar() or 0)
    if flow:
        return served + place
    counts = jobs.c.served_turn.is_not(None) | (jobs.c.state == "queued")
    single = select(func.max(jobs.c.turn)).where(jobs.c.flow == "", jobs.c.kind != PATIENT, counts)
    last = conn.execute(single).scalar()
    return served if last is None else max(served, int(last) + 1)


def add_event(conn: Connection, job_id: str, kind: str, data: Json) -> None:
    """Append an event to a locked job; ids grow by one."""
    following = update(jobs).where(jobs.c.id == job_id).values(last_event=jobs.c.last_event + 1)
    number = conn.execute(following.returning(jobs.c.last_event)).scalar_one()
    conn.execute(insert(t.events).values(job_id=job_id, id=number, at=database_now(), type=kind, data=data))


def advance(conn: Connection, job_id: str) -> None:
    """Bring a job to where its units allow; doing it again changes nothing.

    Waiting units behind one they need that has failed are skipped; those all of whose needs have ended become ready;
    when none is left to run the job is final, once.
    """
    job = lock_job(conn, job_id)
    if job.state in FINAL:
        return
    _skip_unreachable(conn, job_id)
    _make_ready(conn, job_id)
    count = _count_by_state(conn, job_id)
    if not any(count.get(state) for state in ACTIVE):
        _finish(conn, job, count)


def set_job_state(conn: Connection, job_id: str, state: JobState, **columns: Any) -> None:
    """Write the state of a locked job and say so in its events."""
    conn.execute(update(jobs).where(jobs.c.id == job_id).values(state=state, **columns))
    add_event(conn, job_id, "state", {"state": state})


_need = units.alias("need")
_edges = unit_needs.join(_need, _need.c.id == unit_needs.c.need_id)


def with_need(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition: the unit has a need ("need") or an edge to it for which these hold."""
    return exists().select_from(_edges).where(unit_needs.c.unit_id == units.c.id, *conditions).correlate(units)


def need_in(*states: UnitState) -> ColumnElement[bool]:
    """Return the condition on a need: it is in one of these states."""
    return _need.c.state.in_(states)


def _skip_unreachable(conn: Connection, job_id: str) -> None:
    """Skip what needs a result that will not come, and say which failure it is owed to."""
    waiting = (units.c.job_id == job_id) & (units.c.state == "waiting")
    lost = (unit_needs.c.required, need_in(*DEAD))
    own = _need.c.key + ": " + _need.c.error_code + ": " + _need.c.error_message
    why = select(case((_need.c.state == "failed", own), else_=_need.c.error_message)).select_from(_edges)
    why = why.where(unit_needs.c.unit_id == units.c.id, *lost).order_by(_need.c.position).limit(1)
    first = why.correlate(units).scalar_subquery()
    skip = update(units).where(waiting, with_need(*lost))
    skip = skip.values(state="skipped", error_code="need_failed", error_message=first).returning(units.c.key)
    while keys := conn.execute(skip).scalars().all():
        for key in sorted(keys):
            add_event(conn, job_id, "unit", {"unit": key, "state": "skipped"})


def _make_ready(conn: Connection, job_id: str) -> None:
    """Make ready what waits for nothing more; all that cannot have its results was skipped before."""
    waiting = (units.c.job_id == job_id) & (units.c.state == "waiting")
    met = ~with_need(need_in(*ACTIVE))
    conn.execute(
        update(units).where(waiting, met).values(state="ready", ready_at=database_now(), sent_at=None, sends=0)
    )


def _count_by_state(conn: Connection, job_id: str) -> dict[str, int]:
    query = select(units.c.state, func.count()).where(units.c.job_id == job_id).group_by(units.c.state)
    return dict(conn.execute(query).all())


def _finish(conn: Connection, job: Row[Any], count: dict[str, int]) -> None:
    if job.state == "canceling":
        set_job_state(conn, job.id, "canceled", finished_at=database_now())
    elif any(count.get(state) for state in DEAD):
        set_job_state(conn, job.id, "failed", finished_at=database_now(), **_reason(conn, job.id, count))
    else:
        set_job_state(conn, job.id, "succeeded", finished_at=database_now())


def _reason(conn: Connection, job_id: str, count: dict[str, int]) -> dict[str, str]:
    """Return why a job failed: a lone unit's own error, else "incomplete" with the first failed unit's."""
    failed = select(units).where(units.c.job_id == job_id, units.c.state == "failed").order_by(units.c.position)
    first = conn.execute(failed.limit(1)).one()
    total = sum(count.values())
    if total == 1:
        return {"error_code": first.error_code, "error_message": first.error_message, "error_unit": first.key}
    undone = total - count.get("done", 0)
    message = f"{undone} of {total} units have no result. First failure, {first.key}: {first.error_message}"
    return {"error_code": "incomplete", "error_message": message, "error_unit": first.key}
