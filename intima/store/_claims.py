"""Claim a unit, keep the claim alive, and end it: every write holds only where the fence still matches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, Select, exists, select, update

from intima.arrays import Json
from intima.contracts.benchmark import keys_read
from intima.contracts.job import UnitState
from intima.store._advance import NO_TURN, PATIENT, add_event, advance, lock_job, set_job_state
from intima.store.reviewing import rank_result
from intima.store.tables import database_now, jobs, unit_needs, units

ROUNDS = 50
"""Times that one claim asks again where others were first."""
TOLD_EVERY_S = 30.0
"""Progress of one unit becomes an event at most this often; what is newest stands in the unit and its job."""
MESSAGE_CHARS = 2000
TOLD_JOBS = 500

Answer: TypeAlias = Literal["go_on", "cancel", "lost"]
After: TypeAlias = Literal["ready", "failed", "canceled"]
"""State of a unit after an attempt without a result."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one unit until the lease ends. ``fence`` grows with every claim of the unit."""

    unit_id: str
    job_id: str
    key: str
    kind: str
    queue: str
    attempt: int
    """1 on the first try."""
    fence: int
    owner: str
    payload: Json
    needs: tuple[str, ...]
    """Keys of the units whose results this one reads, where they have one: those it needs or comes after, and what its
    payload reads of those behind them."""
    queued_s: float = 0.0
    """How long it was ready before."""
    traceparent: str = ""
    """W3C Trace Context of the request that made the job, where it had one."""


def claim_next(conn: Connection, *, owner: str, queues: Sequence[str], lease_s: float) -> Claim | None:
    """Claim the next ready unit of these queues; null where there is none.

    A benchmark is hours of units and gives way to jobs that someone waits for; else the job with the lowest turn goes
    first, of several the oldest. Jobs that another transaction holds are passed over while there are others: a thousand
    claims at once would wait for each other at the first job. Only where all are held is the first waited for, and
    nothing is held meanwhile.
    """
    order = (jobs.c.kind == PATIENT, jobs.c.turn, jobs.c.created_at, jobs.c.id, units.c.position)
    ready = units.c.state == "ready", units.c.queue.in_(queues)
    first = select(jobs.c.id).join(units, jobs.c.id == units.c.job_id).where(*ready).order_by(*order).limit(1)
    unit = select(units.c.id).join(jobs, jobs.c.id == units.c.job_id).where(*ready).order_by(*order).limit(1)
    claim = _take_free(conn, unit, owner=owner, lease_s=lease_s)
    for _ in range(ROUNDS):
        job_id = None if claim is not None else conn.execute(first).scalar()
        if job_id is None:
            break
        claim = _take_free(conn, unit, owner=owner, lease_s=lease_s, wait_for=job_id)
    return claim


def _take_free(
    conn: Connection, unit: Select[str], *, owner: str, lease_s: float, wait_for: str | None = None
) -> Claim | None:
    """Claim the first ready unit whose job nobody else holds, and hold nothing where there is none."""
    free = unit.with_for_update(of=jobs, skip_locked=True)
    with conn.begin_nested() as attempt:
        if wait_for is not None:
            lock_job(conn, wait_for)
        for _ in range(ROUNDS):
            unit_id = conn.execute(free).scalar()
            if unit_id is None:
                break
            # It may have been taken between the question and the lock: then ask again.
            claim = _take(conn, unit_id, owner=owner, lease_s=lease_s, in_turn=True)
            if claim is not None:
                return claim
        attempt.rollback()
    return None


def claim_in_turn(conn: Connection, unit_id: str, *, owner: str, lease_s: float) -> Claim | None:
    """Claim whatever unit is next in the queue of this one; null where none is ready there.

    Messages come in the order they were sent, turns do not: a message says that there is work, and not which.
    """
    queue = conn.execute(select(units.c.queue).where(units.c.id == unit_id)).scalar()
    return None if queue is None else claim_next(conn, owner=owner, queues=[queue], lease_s=lease_s)


def claim_unit(conn: Connection, unit_id: str, *, owner: str, lease_s: float) -> Claim | None:
    """Claim one unit, out of turn; null where it is not ready (done, canceled, or another's). Counts the attempt."""
    return _take(conn, unit_id, owner=owner, lease_s=lease_s, in_turn=False)


def _take(conn: Connection, unit_id: str, *, owner: str, lease_s: float, in_turn: bool) -> Claim | None:
    job_id = conn.execute(select(units.c.job_id).where(units.c.id == unit_id)).scalar()
    if job_id is None:
        return None
    job = lock_job(conn, job_id)
    now = database_now()
    take = update(units).where(units.c.id == unit_id, units.c.state == "ready")
    take = take.values(
        state="running",
        attempt=units.c.attempt + 1,
        fence=units.c.fence + 1,
        owner=owner,
        lease_until=now + lease_s,
        started_at=now,
        finished_at=None,
        fraction=0.0,
        message="",
        told_at=None,
        beat_at=now,
        live=None,
    )
    row = conn.execute(take.returning(units)).one_or_none()
    if row is None:
        return None
    if job.kind != PATIENT:
        turn = {"served_turn": job.turn} if in_turn else {"turn": NO_TURN}
        conn.execute(update(jobs).where(jobs.c.id == job_id).values(**turn))
    if job.state == "queued":
        set_job_state(conn, job_id, "running", started_at=database_now())
    add_event(conn, job_id, "unit", {"unit": row.key, "state": "running", "attempt": row.attempt})
    return _claim_of(conn, row, traceparent=job.traceparent or "")


def heartbeat(
    conn: Connection, claim: Claim, *, lease_s: float, fraction: float, message: str, live: Json | None = None
) -> Answer:
    """Extend the lease and show progress; the answer says whether to go on.

    ``live`` is what there is of a training's curves, where there is news of them.

    Never waits for the job: a thousand units of one job would be late for their leases. While another holds it, the
    unit alone is written, and what that other decides is heard at the next beat.
    """
    its_job = select(jobs.c.state).where(jobs.c.id == claim.job_id)
    free = conn.execute(its_job.with_for_update(skip_locked=True)).scalar()
    unit = _held(conn, claim)
    text = _clean(message)
    shown = {"fraction": min(max(fraction, 0.0), 1.0), "message": text}
    seen = {"lease_until": database_now() + lease_s, "beat_at": database_now()}
    curves = {} if live is None else {"live": live}
    beat = update(units).where(_is_held(claim)).values(**seen, **shown, **curves)
    if unit is None or not conn.execute(beat).rowcount:
        return "lost"
    if free is not None and (unit.fraction, unit.message) != (shown["fraction"], text):
        conn.execute(update(jobs).where(jobs.c.id == claim.job_id).values(message=f"{claim.key}: {text}"))
        _tell(conn, claim, {"unit": claim.key} | shown)
    return "cancel" if (free or conn.execute(its_job).scalar()) == "canceling" else "go_on"


def tell_waiting(conn: Connection, *, queue: str, message: str) -> int:
    """Show why the ready units of a queue do not start, in the jobs of which nothing runs; return how many.

    A job that another transaction holds is passed over: waiting for several could deadlock with a claim.
    """
    here = units.c.job_id == jobs.c.id
    stuck = exists().where(here, units.c.queue == queue, units.c.state == "ready")
    idle = select(jobs.c.id).where(stuck, ~exists().where(here, units.c.state == "running")).limit(TOLD_JOBS)
    ids = conn.execute(idle.with_for_update(of=jobs, skip_locked=True)).scalars().all()
    conn.execute(update(jobs).where(jobs.c.id.in_(ids)).values(message=_clean(message)))
    return len(ids)


def publish(conn: Connection, claim: Claim, *, result: Json) -> bool:
    """Store a unit's result and move the job on, in one transaction; False where the claim holds no more.

    A job that is being canceled takes no results. Blobs named in the result must be durable already.
    """
    job = lock_job(conn, claim.job_id)
    if _held(conn, claim) is None:
        return False
    if job.state == "canceling":
        _end(conn, claim, "canceled")
        return False
    _end(conn, claim, "done", result=result, fraction=1.0, live=None, error_code=None, error_message=None)
    if claim.kind == "segment" and "segmentation" in claim.payload:
        rank_result(conn, str(claim.payload["segmentation"]), result)
    return True


def fail_attempt(conn: Connection, claim: Claim, *, code: str, message: str, retryable: bool) -> After | None:
    """Record that an attempt failed; the unit is tried again while attempts are left and it may help.

    Returns the unit's new state, or null where the claim holds no more.
    """
    job = lock_job(conn, claim.job_id)
    unit = _held(conn, claim)
    if unit is None:
        return None
    state: After = "failed"
    if job.state == "canceling":
        state = "canceled"
    elif retryable and unit.attempt < job.unit_attempts:
        state = "ready"
    again = {"ready_at": database_now(), "sent_at": None, "sends": 0}
    _end(conn, claim, state, error_code=code[:80], error_message=_clean(message), **again)
    return state


def is_silent(conn: Connection, claim: Claim) -> bool:
    """Tell whether the lease of a claim has run out, and let no heartbeat renew it until this transaction ends."""
    late = _is_held(claim) & (units.c.lease_until < database_now())
    return conn.execute(select(units.c.id).where(late).with_for_update()).one_or_none() is not None


def release(conn: Connection, claim: Claim) -> After | None:
    """Give a unit back untried: its worker was asked to stop. The attempt does not count."""
    job = lock_job(conn, claim.job_id)
    unit = _held(conn, claim)
    if unit is None:
        return None
    state: After = "canceled" if job.state == "canceling" else "ready"
    _end(conn, claim, state, attempt=unit.attempt - 1, ready_at=database_now(), sent_at=None, sends=0)
    return state


def _tell(conn: Connection, claim: Claim, data: Json) -> None:
    """Append a progress event, unless the unit told one a moment ago: hours of heartbeats would fill the table."""
    quiet = units.c.told_at.is_(None) | (units.c.told_at <= database_now() - TOLD_EVERY_S)
    told = update(units).where(_is_held(claim), quiet).values(told_at=database_now())
    if conn.execute(told).rowcount:
        add_event(conn, claim.job_id, "progress", data)


def _clean(message: str) -> str:
    """Return a message that every database stores: short, valid UTF-8, no NUL."""
    return message[:MESSAGE_CHARS].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _is_held(claim: Claim) -> ColumnElement[bool]:
    return (units.c.id == claim.unit_id) & (units.c.fence == claim.fence) & (units.c.state == "running")


def _held(conn: Connection, claim: Claim) -> Row[Any] | None:
    return conn.execute(select(units).where(_is_held(claim))).one_or_none()


def _end(conn: Connection, claim: Claim, state: UnitState, **columns: Any) -> None:
    """End a claim that is held under the job's lock, tell it, and move the job on."""
    ended = update(units).where(_is_held(claim))
    conn.execute(ended.values(state=state, owner=None, lease_until=None, finished_at=database_now(), **columns))
    data: Json = {"unit": claim.key, "state": state, "attempt": claim.attempt}
    if columns.get("error_message"):
        data |= {"code": columns["error_code"], "message": columns["error_message"]}
    add_event(conn, claim.job_id, "unit", data)
    advance(conn, claim.job_id)


def _claim_of(conn: Connection, row: Row[Any], *, traceparent: str) -> Claim:
    need = units.alias("need")
    edge = unit_needs.join(need, need.c.id == unit_needs.c.need_id)
    keys = select(need.c.key).select_from(edge).where(unit_needs.c.unit_id == row.id).order_by(need.c.position)
    needs = tuple(dict.fromkeys((*conn.execute(keys).scalars(), *keys_read(row.payload))))
    return Claim(
        unit_id=row.id,
        job_id=row.job_id,
        key=row.key,
        kind=row.kind,
        queue=row.queue,
        attempt=row.attempt,
        fence=row.fence,
        owner=row.owner,
        payload=row.payload,
        needs=needs,
        queued_s=max(0.0, row.started_at - row.ready_at) if row.ready_at else 0.0,
        traceparent=traceparent,
    )
