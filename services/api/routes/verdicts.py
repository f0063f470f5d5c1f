"""The stats service, reachable through the api under the same paths."""

from urllib.parse import quote

import httpx
from fastapi import APIRouter, Request, status
from fastapi.responses import Response

from intima.errors import Unavailable

router = APIRouter(prefix="/v1", tags=["stats"])
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}
"""The body goes on as it came: the stats service reads and refuses it."""

_ASKED_WITH = {b"idempotency-key", b"authorization"}
_ANSWERED_WITH = ("content-type", "retry-after", "www-authenticate")


async def _forward(request: Request, path: str) -> Response:
    stats: httpx.AsyncClient = request.app.state.stats
    headers = [(b"content-type", b"application/json")]
    headers += [(name, value) for name, value in request.headers.raw if name in _ASKED_WITH]
    try:
        answer = await stats.request(
            request.method, path, params=request.query_params, content=await request.body(), headers=headers
        )
    except httpx.TransportError as error:
        raise Unavailable(
            "The stats service does not answer.",
            code="stats_unavailable",
            hint="Start it (make serve starts api and stats together) or set INTIMA_STATS_URL.",
        ) from error
    told = {name: answer.headers[name] for name in _ANSWERED_WITH if name in answer.headers}
    return Response(answer.content, status_code=answer.status_code, headers=told)


@router.post("/comparisons", operation_id="compare_models", openapi_extra=_BODY)
async def compare_models(request: Request) -> Response:
    """Say whether two models differ, are equivalent, or cannot be told apart (see the stats service)."""
    return await _forward(request, "/v1/comparisons")


@router.post("/rankings", operation_id="rank_models", openapi_extra=_BODY)
async def rank_models(request: Request) -> Response:
    """Rank several models with the stability of that ranking (see the stats service)."""
    return await _forward(request, "/v1/rankings")


@router.post("/margins", operation_id="derive_margin", openapi_extra=_BODY)
async def derive_margin(request: Request) -> Response:
    """Derive the largest difference that does not matter (see the stats service)."""
    return await _forward(request, "/v1/margins")


@router.post("/intervals", operation_id="compute_intervals", openapi_extra=_BODY)
async def compute_intervals(request: Request) -> Response:
    """Return intervals of a mean (see the stats service)."""
    return await _forward(request, "/v1/intervals")


@router.post("/power", operation_id="compute_power", openapi_extra=_BODY)
async def compute_power(request: Request) -> Response:
    """Return power, subjects needed or the smallest margin (see the stats service)."""
    return await _forward(request, "/v1/power")


@router.post("/comparisons/figures/{name}", operation_id="draw_comparison", openapi_extra=_BODY)
async def draw_comparison(name: str, request: Request) -> Response:
    """Draw a comparison, e.g. forest.svg, slopes.pdf, forest.csv (see the stats service)."""
    return await _forward(request, f"/v1/comparisons/figures/{quote(name, safe='')}")


@router.post("/rankings/figures/{name}", operation_id="draw_ranking", openapi_extra=_BODY)
async def draw_ranking(name: str, request: Request) -> Response:
    """Draw a ranking, e.g. cd_diagram.svg, rank_blobs.pdf, forest.csv (see the stats service)."""
    return await _forward(request, f"/v1/rankings/figures/{quote(name, safe='')}")


@router.post("/comparisons/report.{form}", operation_id="report_comparison", openapi_extra=_BODY)
async def report_comparison(form: str, request: Request) -> Response:
    """Report a comparison as html (one file) or pdf (see the stats service)."""
    return await _forward(request, f"/v1/comparisons/report.{quote(form, safe='')}")


@router.post("/rankings/report.{form}", operation_id="report_ranking", openapi_extra=_BODY)
async def report_ranking(form: str, request: Request) -> Response:
    """Report a ranking as html (one file) or pdf (see the stats service)."""
    return await _forward(request, f"/v1/rankings/report.{quote(form, safe='')}")


@router.get("/benchmarks/{benchmark_id}/report.{form}", operation_id="report_benchmark")
async def report_benchmark(benchmark_id: str, form: str, request: Request) -> Response:
    """Report a benchmark under each of its protocols as html (one file) or pdf (see the stats service)."""
    path = f"/v1/benchmarks/{quote(benchmark_id, safe='')}/report.{quote(form, safe='')}"
    return await _forward(request, path)


@router.post("/power/figures/{name}", operation_id="draw_power", openapi_extra=_BODY)
async def draw_power(name: str, request: Request) -> Response:
    """Draw power_curves.svg, .pdf or .csv (see the stats service)."""
    return await _forward(request, f"/v1/power/figures/{quote(name, safe='')}")


@router.post("/stability", operation_id="study_stability", openapi_extra=_BODY)
async def study_stability(request: Request) -> Response:
    """Simulate at how many subjects a ranking settles (see the stats service)."""
    return await _forward(request, "/v1/stability")


@router.post("/stability/figures/{name}", operation_id="draw_stability", openapi_extra=_BODY)
async def draw_stability(name: str, request: Request) -> Response:
    """Draw stability_curves.svg, .pdf or .csv (see the stats service)."""
    return await _forward(request, f"/v1/stability/figures/{quote(name, safe='')}")


@router.get("/stability/studies/{study_id}", operation_id="get_stability_study")
async def get_stability_study(study_id: str, request: Request) -> Response:
    """Return a study that runs as a job: its points so far, and the answer once all are there."""
    return await _forward(request, f"/v1/stability/studies/{quote(study_id, safe='')}")


@router.get("/stability/studies/{study_id}/figures/{name}", operation_id="draw_stability_study")
async def draw_stability_study(study_id: str, name: str, request: Request) -> Response:
    """Draw a finished study: stability_curves.svg, .pdf or .csv (see the stats service)."""
    return await _forward(request, f"/v1/stability/studies/{quote(study_id, safe='')}/figures/{quote(name, safe='')}")


@router.post("/plans", operation_id="lock_plan", status_code=status.HTTP_201_CREATED, openapi_extra=_BODY)
async def lock_plan(request: Request) -> Response:
    """Lock an analysis plan before scores are opened (see the stats service)."""
    return await _forward(request, "/v1/plans")


@router.get("/plans", operation_id="list_plans")
async def list_plans(request: Request) -> Response:
    """List locked plans with their trails (see the stats service)."""
    return await _forward(request, "/v1/plans")


@router.get("/plans/{plan_id}", operation_id="get_plan")
async def get_plan(plan_id: str, request: Request) -> Response:
    """Return a locked plan with its trail (see the stats service)."""
    return await _forward(request, f"/v1/plans/{quote(plan_id, safe='')}")
