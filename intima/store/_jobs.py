"""Create, cancel and retry jobs."""

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from sqlalchemy import ColumnElement, Connection, insert, update

from intima.arrays import Json
from intima.contracts.benchmark import UnitPlan
from intima.errors import Conflict, Invalid
from intima.store._advance import DEAD, add_event, advance, lock_job, need_in, next_turn, set_job_state, with_need
from intima.store.keys import new_id
from intima.store.tables import database_now, jobs, unit_needs, units

UNIT_ATTEMPTS = 3
"""How often a unit is tried before it counts as failed."""


def create_job(
    conn: Connection,
    *,
    kind: str,
    units: Sequence[UnitPlan],
    payload: Json,
    result_url: str | None,
    job_id: str | None = None,
    unit_attempts: int = UNIT_ATTEMPTS,
    flow: str = "",
    place: int = 0,
    traceparent: str = "",
) -> str:
    """Store a job with its units, make ready those that need nothing, and return its id.

    A job of a batch names it as its ``flow`` and counts those before it in ``place``: see ``next_turn``. Whoever runs
    its units goes on with the trace of ``traceparent`` (W3C Trace Context).

    Raises:
        Invalid: no units, a key twice, a need that is no key, or needs in a circle.
    """
    _check_graph(units)
    new = job_id or new_id("job")
    row = {"id": new, "kind": kind, "payload": payload, "result_url": result_url, "unit_attempts": unit_attempts}
    row |= {"traceparent": traceparent or None}
    _insert_job(conn, row | {"flow": flow, "turn": next_turn(conn, flow=flow, place=place)})
    _insert_units(conn, new, units)
    add_event(conn, new, "state", {"state": "queued"})
    advance(conn, new)
    return new


def cancel_job(conn: Connection, job_id: str) -> None:
    """Cancel a job: what waits is canceled now, what runs is stopped at its next heartbeat.

    Canceling again changes nothing.

    Raises:
        Conflict: the job has already succeeded or failed.
        NotFound: there is no such job.
    """
    job = lock_job(conn, job_id)
    if job.state in {"canceling", "canceled"}:
        return
    if job.state in {"succeeded", "failed"}:
        raise Conflict(f"Job {job_id} has already {job.state}.", code="job_final", hint="Nothing is left to cancel.")
    idle = (units.c.job_id == job_id) & units.c.state.in_(("waiting", "ready"))
    conn.execute(update(units).where(idle).values(state="canceled"))
    set_job_state(conn, job_id, "canceling")
    advance(conn, job_id)


def retry_job(conn: Connection, job_id: str) -> None:
    """Put the failed, skipped and canceled units of a job back, and those that went on without them.

    What is done otherwise stays done. On a job that is queued or running this changes nothing.

    Raises:
        Conflict: the job has succeeded, or is still being canceled.
        NotFound: there is no such job.
    """
    job = lock_job(conn, job_id)
    if job.state in {"queued", "running", "validating"}:
        return
    if job.state in {"succeeded", "canceling"}:
        hint = "Nothing is left to do." if job.state == "succeeded" else "Wait until it is canceled, then retry."
        raise Conflict(f"Job {job_id} is {job.state} and cannot be retried.", code="job_not_retryable", hint=hint)
    _put_back(conn, units.c.job_id == job_id, units.c.state.in_(DEAD))
    outdated = (units.c.job_id == job_id, units.c.state == "done", with_need(need_in("waiting")))
    while _put_back(conn, *outdated):
        pass
    no_error = {"error_code": None, "error_message": None, "error_unit": None}
    again = {"attempt": job.attempt + 1, "queued_at": database_now(), "started_at": None, "finished_at": None}
    set_job_state(conn, job_id, "queued", **again, **no_error, message="")
    advance(conn, job_id)


def _put_back(conn: Connection, *which: ColumnElement[bool]) -> int:
    """Let units wait again and return how many; results stay stored until there are new ones."""
    fresh = {"state": "waiting", "attempt": 0, "error_code": None, "error_message": None, "fraction": 0.0}
    back = update(units).where(*which).values(**fresh, message="", started_at=None, finished_at=None)
    return conn.execute(back).rowcount


def _check_graph(plans: Sequence[UnitPlan]) -> None:
    keys = [p.key for p in plans]
    if not keys:
        raise Invalid("Got a job without units; need at least one.")
    twice = sorted({k for k in keys if keys.count(k) > 1}) if len(set(keys)) != len(keys) else []
    if twice:
        raise Invalid(f"Got two units with the key {twice[0]!r}; keys are unique within a job.")
    missing = sorted({need for p in plans for need in (*p.needs, *p.after)} - set(keys))
    if missing:
        raise Invalid(f"Got a need {missing[0]!r} that is no unit of the job.")
    try:
        TopologicalSorter({p.key: (*p.needs, *p.after) for p in plans}).prepare()
    except CycleError as error:
        raise Invalid(f"Got units that need each other: {' -> '.join(error.args[1])}.") from error


def _insert_job(conn: Connection, row: Json) -> None:
    conn.execute(
        insert(jobs).values(
            **row,
            state="queued",
            attempt=1,
            message="",
            last_event=0,
            created_at=database_now(),
            queued_at=database_now(),
        )
    )


def _insert_units(conn: Connection, job_id: str, plans: Sequence[UnitPlan]) -> None:
    ids = {p.key: new_id("unit") for p in plans}
    zero = {"state": "waiting", "attempt": 0, "fence": 0, "sends": 0, "fraction": 0.0, "message": ""}
    rows = [
        {"id": ids[p.key], "job_id": job_id, "position": position, "key": p.key}
        | {"kind": p.kind, "queue": p.queue, "payload": p.payload}
        | zero
        for position, p in enumerate(plans)
    ]
    conn.execute(insert(units), rows)
    edges = [
        {"unit_id": ids[p.key], "need_id": ids[need], "job_id": job_id, "required": required}
        for p in plans
        for need, required in {**dict.fromkeys(p.after, False), **dict.fromkeys(p.needs, True)}.items()
    ]
    if edges:
        conn.execute(insert(unit_needs), edges)
