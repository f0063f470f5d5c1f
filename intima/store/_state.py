"""How much there is to do, for whoever watches: counts that indexes answer."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from intima.store._advance import ACTIVE
from intima.store.tables import database_now, jobs, units


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Jobs and units of one moment."""

    jobs: dict[tuple[str, str], int]
    """Number by kind and state."""
    units: dict[tuple[str, str], int]
    """Number of those that have not ended, by queue and state."""
    oldest_ready_s: dict[str, float]
    """By queue that has a ready unit: for how long the one has been ready that became so first."""


def read_state(conn: Connection) -> LedgerState:
    """Count jobs and units."""
    count = func.count()
    of_jobs = select(jobs.c.kind, jobs.c.state, count).group_by(jobs.c.state, jobs.c.kind)
    of_units = select(units.c.queue, units.c.state, count).where(units.c.state.in_(ACTIVE))
    of_units = of_units.group_by(units.c.state, units.c.queue)
    age = select(units.c.queue, database_now() - func.min(units.c.ready_at)).where(units.c.state == "ready")
    oldest = conn.execute(age.group_by(units.c.queue)).all()
    return LedgerState(
        jobs={(kind, state): number for kind, state, number in conn.execute(of_jobs)},
        units={(queue, state): number for queue, state, number in conn.execute(of_units)},
        oldest_ready_s={queue: max(0.0, seconds) for queue, seconds in oldest if seconds is not None},
    )
