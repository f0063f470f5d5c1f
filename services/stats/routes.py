"""The REST door of the stats service."""

from typing import Annotated

from fastapi import APIRouter, Query, status
from pydantic import BaseModel

from intima.comparison.estimation import estimate_interval, plan_power
from intima.comparison.ranking import rank_models
from intima.comparison.verdict import decide_equivalence
from intima.contracts.comparison import ComparisonRequest, Verdict
from intima.contracts.plan import Plan, PlanRequest
from intima.contracts.statistics import (
    IntervalAnswer,
    IntervalRequest,
    PowerAnswer,
    PowerRequest,
    Ranking,
    RankingRequest,
)
from services.stats.dependencies import StateDep

health = APIRouter(tags=["health"])
router = APIRouter(prefix="/v1", tags=["stats"])


@health.get("/livez", operation_id="get_liveness")
def get_liveness() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@health.get("/readyz", operation_id="get_readiness")
def get_readiness(state: StateDep) -> dict[str, str]:
    """Say that the database answers."""
    state.ping()
    return {"status": "ok"}


@router.post("/comparisons", operation_id="compare_models")
def compare_models(request: ComparisonRequest, state: StateDep) -> Verdict:
    """Say whether two models differ, are equivalent, or cannot be told apart."""
    return decide_equivalence(request, fetch=state.fetch, plans=state.plans)


class PlanList(BaseModel):
    """One page of plans, newest first."""

    plans: list[Plan]
    next_page_token: str


@router.post("/plans", operation_id="lock_plan", status_code=status.HTTP_201_CREATED)
def lock_plan(request: PlanRequest, state: StateDep) -> Plan:
    """Lock an analysis plan before scores are opened; the same plan again is the one that is locked already."""
    return state.lock_plan(request)


@router.get("/plans", operation_id="list_plans")
def list_plans(
    state: StateDep,
    page_size: Annotated[int, Query()] = 50,
    page_token: Annotated[str, Query()] = "",
) -> PlanList:
    """List locked plans with their trails, newest first."""
    page = state.list_plans(page_size=page_size, page_token=page_token)
    return PlanList(plans=list(page.items), next_page_token=page.next_page_token)


@router.get("/plans/{plan_id}", operation_id="get_plan")
def get_plan(plan_id: str, state: StateDep) -> Plan:
    """Return a plan by id or hash, with the trail of its uses."""
    return state.plans.find(plan_id)


@router.post("/rankings", operation_id="rank_models")
def rank(request: RankingRequest, state: StateDep) -> Ranking:
    """Rank several models, with the stability of that ranking beside what no difference would show."""
    return rank_models(request, fetch_table=state.fetch_table)


@router.post("/intervals", operation_id="compute_intervals")
def interval(request: IntervalRequest) -> IntervalAnswer:
    """Return an interval of a mean over subjects, with its simulated coverage at this number of subjects."""
    return estimate_interval(request)


@router.post("/power", operation_id="compute_power")
def power(request: PowerRequest) -> PowerAnswer:
    """Return what n subjects can show, and how many are needed."""
    return plan_power(request)
