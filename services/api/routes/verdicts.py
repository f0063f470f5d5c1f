"""The stats service, reachable through the api under the same paths."""

from typing import Annotated

import httpx
from fastapi import APIRouter, Body, Request
from fastapi.responses import Response

from intima.errors import Unavailable

router = APIRouter(prefix="/v1", tags=["stats"])


async def _forward(request: Request, path: str, body: dict[str, object]) -> Response:
    stats: httpx.AsyncClient = request.app.state.stats
    try:
        answer = await stats.post(path, json=body)
    except httpx.TransportError as error:
        raise Unavailable(
            "The stats service does not answer.",
            code="stats_unavailable",
            hint="Start it (make serve starts api and stats together) or set INTIMA_STATS_URL.",
        ) from error
    return Response(answer.content, status_code=answer.status_code, media_type=answer.headers.get("content-type"))


Request_ = Annotated[dict[str, object], Body()]


@router.post("/comparisons", operation_id="compare_models")
async def compare_models(request: Request, body: Request_) -> Response:
    """Say whether two models differ, are equivalent, or cannot be told apart (see the stats service)."""
    return await _forward(request, "/v1/comparisons", body)


@router.post("/rankings", operation_id="rank_models")
async def rank_models(request: Request, body: Request_) -> Response:
    """Rank several models with the stability of that ranking (see the stats service)."""
    return await _forward(request, "/v1/rankings", body)


@router.post("/intervals", operation_id="compute_intervals")
async def compute_intervals(request: Request, body: Request_) -> Response:
    """Return intervals of a mean (see the stats service)."""
    return await _forward(request, "/v1/intervals", body)


@router.post("/power", operation_id="compute_power")
async def compute_power(request: Request, body: Request_) -> Response:
    """Return power, subjects needed or the smallest margin (see the stats service)."""
    return await _forward(request, "/v1/power", body)
