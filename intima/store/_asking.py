"""Who waits for a job: one who leaves cancels it where nobody else does."""

from sqlalchemy import Connection, select, update

from intima.contracts.job import OPEN
from intima.store._advance import add_event, lock_job, next_turn
from intima.store._jobs import cancel_job
from intima.store.tables import events, jobs

_JOINED = "somebody else asked for it too"
_LEFT = "one who asked for it does so no more"
_STARTER = "starter"
_SOMEBODY = "somebody"
"""Stands for all who ask by themselves after the first; they do not leave again."""


def join_job(conn: Connection, job_id: str, *, flow: str = "", place: int = 0) -> bool:
    """Note that somebody else waits for a job, by itself or as the nth of a flow; it comes no later for that.

    False where it is being canceled or has ended.
    """
    job = lock_job(conn, job_id)
    if job.state not in OPEN:
        return False
    turn = next_turn(conn, flow=flow, place=place)
    if turn < job.turn:
        conn.execute(update(jobs).where(jobs.c.id == job_id).values(turn=turn))
    who = flow or _SOMEBODY
    if who not in _waiters(conn, job_id, job.flow):
        add_event(conn, job_id, "log", {"message": _JOINED, "who": who})
    return True


def is_alone(conn: Connection, job_id: str) -> bool:
    """Tell whether nobody joined a job."""
    flow = conn.execute(select(jobs.c.flow).where(jobs.c.id == job_id)).scalar() or ""
    return _waiters(conn, job_id, flow) <= {flow or _STARTER}


def cancel_if_alone(conn: Connection, job_id: str, *, flow: str = "") -> bool:
    """Leave a job, as the one who started it or as a flow, and cancel it where nobody else waits for it.

    Tells whether it was canceled, or had ended already.
    """
    job = lock_job(conn, job_id)
    if job.state not in OPEN:
        return True
    who, waiters = flow or _STARTER, _waiters(conn, job_id, job.flow)
    if waiters <= {who}:
        cancel_job(conn, job_id)
        return True
    if who in waiters:
        add_event(conn, job_id, "log", {"message": _LEFT, "who": who})
    return False


def _waiters(conn: Connection, job_id: str, flow: str) -> set[str]:
    """Return who waits for a job of a flow, by its log."""
    logs = select(events.c.data).where(events.c.job_id == job_id, events.c.type == "log").order_by(events.c.id)
    found = {flow or _STARTER}
    for said in conn.execute(logs).scalars():
        if said.get("message") == _JOINED:
            found.add(said.get("who", _SOMEBODY))
        elif said.get("message") == _LEFT:
            found.discard(said.get("who", ""))
    return found
