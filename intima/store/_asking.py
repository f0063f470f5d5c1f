"""Who waits for a job: whether only the one who started it, so that it may cancel what nobody else wants."""

from sqlalchemy import Connection, select, update

from intima.store._advance import OPEN, add_event, lock_job, next_turn
from intima.store._jobs import cancel_job
from intima.store.tables import events, jobs

_JOINED = {"message": "somebody else asked for it too"}


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
    if is_alone(conn, job_id):
        add_event(conn, job_id, "log", dict(_JOINED))
    return True


def is_alone(conn: Connection, job_id: str) -> bool:
    """Tell whether nobody joined a job."""
    logs = select(events.c.data).where(events.c.job_id == job_id, events.c.type == "log")
    return _JOINED not in conn.execute(logs).scalars().all()


def cancel_if_alone(conn: Connection, job_id: str) -> bool:
    """Cancel a job that nobody joined; tells whether it did, or had ended already."""
    if lock_job(conn, job_id).state not in OPEN:
        return True
    if not is_alone(conn, job_id):
        return False
    cancel_job(conn, job_id)
    return True
