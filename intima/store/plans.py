"""Locked plans and the trail of their uses. Nothing here changes or removes a row."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select

from intima.arrays import Json
from intima.contracts.plan import Plan, PlanRequest, PlanUse
from intima.errors import NotFound
from intima.store import tables as t
from intima.store.catalog import rfc3339
from intima.store.keys import contract_sha256, json_sha256
from intima.store.paging import Page, page_of

_ID_DIGITS = 32


def locked(content: PlanRequest, *, at: str) -> Plan:
    """Return the plan that a content becomes when it is locked at a time (RFC 3339 in UTC)."""
    sha256 = contract_sha256(content)
    return Plan(id=f"plan_{sha256[:_ID_DIGITS]}", sha256=sha256, locked_at=at, content=content, uses=())


def chained(plan: Plan, body: Json) -> PlanUse:
    """Return a use with its number and hashes, as the next of a plan's trail."""
    start = json_sha256({"plan": plan.sha256, "locked_at": plan.locked_at})
    previous = plan.uses[-1].sha256 if plan.uses else start
    whole = {"number": len(plan.uses) + 1, **body, "previous_sha256": previous}
    return PlanUse.model_validate(whole | {"sha256": json_sha256(whole)})


def no_such_plan(ref: str) -> NotFound:
    """Return the error for a plan that does not exist."""
    return NotFound(f"There is no plan {ref[:80]!r}.", code="plan_not_found", hint="POST /v1/plans locks one.")


def lock_plan(conn: Connection, content: PlanRequest) -> Plan:
    """Lock a plan, or return the one of the same content with the time it was locked at."""
    at = float(conn.execute(select(t.database_now())).scalar_one())
    plan = locked(content, at=rfc3339(at))
    if conn.execute(select(t.plans.c.id).where(t.plans.c.id == plan.id)).scalar() is None:
        body = content.model_dump(mode="json", by_alias=True)
        conn.execute(insert(t.plans).values(id=plan.id, sha256=plan.sha256, body=body, created_at=at))
    return get_plan(conn, plan.id)


def get_plan(conn: Connection, ref: str) -> Plan:
    """Return a plan by id or SHA-256, with its trail. Raises NotFound."""
    return _plan(conn, _row(conn, ref))


def list_plans(conn: Connection, *, page_size: int = 50, page_token: str = "") -> Page[Plan]:
    """Return plans, newest first. Raises Invalid for a bad page."""
    return page_of(conn, t.plans, page_size=page_size, page_token=page_token).map(lambda row: _plan(conn, row))


def add_use(
    conn: Connection,
    plan_id: str,
    score_sha256s: Sequence[str],
    enter: Callable[[Plan, str, Sequence[PlanUse]], PlanUse],
) -> PlanUse:
    """Add what ``enter`` makes of a plan's trail, the time, and the uses of the same scores under other plans.

    A use that the trail has already is not added again. The plan's row is locked meanwhile, so that of two
    comparisons at once one sees the other.

    Raises:
        NotFound: no such plan.
    """
    plan = _plan(conn, _row(conn, plan_id, lock=True))
    at = rfc3339(float(conn.execute(select(t.database_now())).scalar_one()))
    use = enter(plan, at, _uses_elsewhere(conn, plan.id, score_sha256s))
    if use not in plan.uses:
        a, b = use.score_sha256s
        row = {"plan_id": plan.id, "number": use.number, "a_sha256": a, "b_sha256": b}
        conn.execute(insert(t.plan_uses).values(**row, body=use.model_dump(mode="json")))
    return use


def _uses_elsewhere(conn: Connection, plan_id: str, score_sha256s: Sequence[str]) -> list[PlanUse]:
    uses = t.plan_uses.c
    same = or_(uses.a_sha256.in_(score_sha256s), uses.b_sha256.in_(score_sha256s))
    bodies = conn.execute(select(uses.body).where(uses.plan_id != plan_id, same)).scalars()
    return [PlanUse.model_validate(body) for body in bodies]


def _row(conn: Connection, ref: str, *, lock: bool = False) -> Row[Any]:
    query = select(t.plans).where((t.plans.c.id == ref) | (t.plans.c.sha256 == ref))
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise no_such_plan(ref)
    return row


def _plan(conn: Connection, row: Row[Any]) -> Plan:
    uses = select(t.plan_uses.c.body).where(t.plan_uses.c.plan_id == row.id).order_by(t.plan_uses.c.number)
    return Plan(
        id=row.id,
        sha256=row.sha256,
        locked_at=rfc3339(row.created_at),
        content=PlanRequest.model_validate(row.body),
        uses=tuple(PlanUse.model_validate(body) for body in conn.execute(uses).scalars()),
    )
