"""The REST door of the stats service."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request, Response, status
from fastapi.concurrency import contextmanager_in_threadpool
from pydantic import BaseModel

from intima.comparison.estimation import estimate_interval, plan_power
from intima.comparison.figures import (
    COMPARISON_FIGURES,
    FORMATS,
    POWER_FIGURES,
    RANKING_FIGURES,
    STABILITY_FIGURES,
    Drawing,
    render,
)
from intima.comparison.margins import derive_margin
from intima.comparison.ranking import rank_models
from intima.comparison.reporting import report_benchmark, report_comparison, report_ranking
from intima.comparison.stability import study_stability
from intima.comparison.verdict import decide_equivalence
from intima.contracts.comparison import ComparisonRequest, Verdict
from intima.contracts.margin import MarginAnswer, MarginRequest
from intima.contracts.plan import Plan, PlanRequest
from intima.contracts.report import BenchmarkReportQuery
from intima.contracts.statistics import (
    IntervalAnswer,
    IntervalRequest,
    PowerAnswer,
    PowerRequest,
    Ranking,
    RankingRequest,
    StabilityAnswer,
    StabilityRequest,
    StabilityStudy,
)
from intima.errors import Conflict, NotFound
from intima.reports import FORMATS as REPORT_FORMATS
from intima.reports import Document, write_report
from services.access.web import admit_as
from services.stats.dependencies import State, StateDep
from services.stats.rules import ENTERS_TRAIL

F = TypeVar("F")
T = TypeVar("T", bound=str)


async def _keyed(
    request: Request, state: StateDep, idempotency_key: Annotated[str | None, Header()] = None
) -> AsyncIterator[None]:
    """Hold a POST to its Idempotency-Key."""
    if request.method != "POST" or idempotency_key is None:
        yield
        return
    async with contextmanager_in_threadpool(state.keyed(idempotency_key, request.url.path[:200], await request.body())):
        yield


health = APIRouter(tags=["health"])
router = APIRouter(prefix="/v1", tags=["stats"], dependencies=[Depends(_keyed)])


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
def compare_models(request: ComparisonRequest, state: StateDep, web: Request) -> Verdict:
    """Say whether two models differ, are equivalent, or cannot be told apart; under a plan this takes more scopes."""
    return _decided(request, state, web)


@router.post("/comparisons/figures/{figure}.{form}", operation_id="draw_comparison", response_class=Response)
def draw_comparison(figure: str, form: str, request: ComparisonRequest, state: StateDep, web: Request) -> Response:
    """Draw a comparison: forest or slopes, as svg, pdf, or csv with the numbers behind it."""
    draw = _chosen(COMPARISON_FIGURES, figure)
    return _drawn(form, lambda: draw(_decided(request, state, web)))


@router.post("/rankings/figures/{figure}.{form}", operation_id="draw_ranking", response_class=Response)
def draw_ranking(figure: str, form: str, request: RankingRequest, state: StateDep) -> Response:
    """Draw a ranking: cd_diagram, rank_blobs or forest, as svg, pdf or csv."""
    draw = _chosen(RANKING_FIGURES, figure)
    return _drawn(form, lambda: draw(rank_models(request, fetch_table=state.fetch_table)))


@router.post("/power/figures/{figure}.{form}", operation_id="draw_power", response_class=Response)
def draw_power(figure: str, form: str, request: PowerRequest) -> Response:
    """Draw power_curves over the number of subjects, as svg, pdf or csv."""
    draw = _chosen(POWER_FIGURES, figure)
    return _drawn(form, lambda: draw(request))


@router.post("/comparisons/report.{form}", operation_id="report_comparison", response_class=Response)
def comparison_report(form: str, request: ComparisonRequest, state: StateDep, web: Request) -> Response:
    """Report a comparison as html (one file) or pdf."""
    return _reported(form, lambda: report_comparison(_decided(request, state, web)))


@router.post("/rankings/report.{form}", operation_id="report_ranking", response_class=Response)
def ranking_report(form: str, request: RankingRequest, state: StateDep) -> Response:
    """Report a ranking as html (one file) or pdf."""
    return _reported(form, lambda: report_ranking(rank_models(request, fetch_table=state.fetch_table)))


@router.get("/benchmarks/{benchmark_id}/report.{form}", operation_id="report_benchmark", response_class=Response)
def benchmark_report(
    benchmark_id: str,
    form: str,
    state: StateDep,
    query: Annotated[BenchmarkReportQuery, Query()],
) -> Response:
    """Report a benchmark under each of its protocols as html (one file) or pdf."""
    return _reported(form, lambda: report_benchmark(benchmark_id, query, fetch_table=state.fetch_table))


def _decided(request: ComparisonRequest, state: State, web: Request) -> Verdict:
    """Decide; what is entered into the trail of a plan takes the scope of who may lock one."""
    if request.plan is not None:
        admit_as(web, ENTERS_TRAIL)
    return decide_equivalence(request, fetch=state.fetch, plans=state.plans)


def _reported(form: str, make: Callable[[], Document]) -> Response:
    known = _format(REPORT_FORMATS, form)
    return Response(write_report(make(), known), media_type=REPORT_FORMATS[known])


def _chosen(figures: Mapping[str, F], figure: str) -> F:
    if figure not in figures:
        raise NotFound(f"There is no figure {figure[:80]!r}.", hint=f"There are: {', '.join(figures)}.")
    return figures[figure]


def _format(formats: Mapping[T, str], form: str) -> T:
    known = next((f for f in formats if f == form), None)
    if known is None:
        raise NotFound(f"There is no format {form[:80]!r}.", hint=f"There are: {', '.join(formats)}.")
    return known


def _drawn(form: str, make: Callable[[], Drawing]) -> Response:
    known = _format(FORMATS, form)
    return Response(render(make(), known), media_type=FORMATS[known])


@router.post("/stability", operation_id="study_stability")
def stability(request: StabilityRequest) -> StabilityAnswer:
    """Simulate at how many subjects a ranking settles, for given gaps and spread or those of a pilot."""
    return study_stability(request)


@router.post("/stability/figures/{figure}.{form}", operation_id="draw_stability", response_class=Response)
def draw_stability(figure: str, form: str, request: StabilityRequest) -> Response:
    """Draw stability_curves over the number of subjects, as svg, pdf or csv."""
    draw = _chosen(STABILITY_FIGURES, figure)
    return _drawn(form, lambda: draw(study_stability(request)))


@router.get("/stability/studies/{study_id}", operation_id="get_stability_study")
def get_stability_study(study_id: str, state: StateDep) -> StabilityStudy:
    """Return a study that runs as a job: its points so far, and the answer once all are there."""
    return state.stability_study(study_id)


@router.get(
    "/stability/studies/{study_id}/figures/{figure}.{form}",
    operation_id="draw_stability_study",
    response_class=Response,
)
def draw_stability_study(study_id: str, figure: str, form: str, state: StateDep) -> Response:
    """Draw a finished study: stability_curves, as svg, pdf or csv."""
    draw = _chosen(STABILITY_FIGURES, figure)
    answer = state.stability_study(study_id).answer
    if answer is None:
        raise Conflict("This study has no answer yet.", code="not_ready", hint=f"Watch /v1/jobs/{study_id}.")
    return _drawn(form, lambda: draw(answer))


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


@router.post("/margins", operation_id="derive_margin")
def margin(request: MarginRequest, state: StateDep) -> MarginAnswer:
    """Derive the largest difference that does not matter from observers or from an endpoint."""
    return derive_margin(request, fetch_table=state.fetch_table)


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
