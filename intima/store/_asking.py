"""Who waits for a job: whether only the one who started it, so that it may cancel what nobody else wants."""

from sqlalchemy import Connection, select

from intima.store._advance import add_event, lock_job
from intima.store._jobs import cancel_job
from intima.store.tables import events

_JOINED = {"message": "somebody else asked for it too"}
_OPEN = {"queued", "validating", "running"}


def join_job(conn: Connection, job_id: str) -> bool:
    """Note that somebody else waits for a job; False where it is being canceled or has ended."""
    if lock_job(conn, job_id).state not in _OPEN:
        return False
    if is_alone(conn, job_id):
        add_event(conn, job_id, "log", dict(_JOINED))
    return True


def is_alone(conn: Connection, job_id: str) -> bool:
    """Tell whether nobody joined a job."""
    logs = select(events.c.data).where(events.c.job_id == job_id, events.c.type == "log")
    return _JOINED not in conn.execute(logs).scalars().all()


def cancel_if_alone(conn: Connection, job_id: str) -> bool:
    """Cancel a job that nobody joined; tells whether it did, or had ended already."""
    if lock_job(conn, job_id).state not in _OPEN:
        return True
    if not is_alone(conn, job_id):
        return False
    cancel_job(conn, job_id)
    return True
