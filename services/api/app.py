"""Build the api: one FastAPI app from one settings object."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from intima import __version__
from services.access.doors import guard
from services.access.settings import refuse_open_bind
from services.api.dependencies import State, open_state
from services.api.protocol_errors import ProtocolErrors
from services.api.routes import (
    architectures,
    batches,
    benchmarks,
    cases,
    corrections,
    datasets,
    deepzoom,
    differences,
    evidence,
    experiments,
    explanations,
    health,
    inference,
    jobs,
    measures,
    models,
    received,
    segmentations,
    slides,
    splits,
    stability,
    studies,
    tokens,
    uploads,
    verdicts,
    workers,
)
from services.api.rules import RULES
from services.api.settings import Settings
from services.api.site import STATIC, Site
from services.api.tus import TusAnswers
from services.http import BodyLimits, install_problem_handlers
from services.telemetry.requests import TRACES, Observed, pass_trace_on

_DESCRIPTION = (
    "Slides in; 4-class masks, uncertainty and arterial measures out. Benchmarks of segmentation models on a handful "
    "of annotated sections, and verdicts on any two of them. Errors are RFC 9457 problems."
)

_ROUTES = (
    health,
    architectures,
    datasets,
    cases,
    splits,
    benchmarks,
    experiments,
    studies,
    explanations,
    jobs,
    workers,
    measures,
    models,
    evidence,
    slides,
    uploads,
    received,
    segmentations,
    corrections,
    batches,
    deepzoom,
    differences,
    stability,
    verdicts,
    tokens,
    inference,
)


STATS_TIMEOUT_S = 300.0
"""A report of a hundred models takes a minute."""


def create_app(settings: Settings, *, state: State | None = None) -> FastAPI:
    """Return the app. Opens storage, imports the default model, and starts no worker.

    A state that is given is shared with another door, which closes it.

    Raises:
        Conflict: asked to listen on an address other machines reach, without authentication in front.
    """
    refuse_open_bind(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        shown = open_state(settings) if state is None else state
        app.state.intima = shown
        app.state.gate = shown.gate
        hooks = {"request": [pass_trace_on]}
        async with httpx.AsyncClient(
            base_url=settings.stats_address, timeout=STATS_TIMEOUT_S, event_hooks=hooks
        ) as stats:
            app.state.stats = stats
            yield
        if state is None:
            shown.close()

    app = FastAPI(
        title="Intima api",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        responses={422: {"description": "Problem (RFC 9457)"}},
        telemetry=TRACES,
        docs_url=None,
        redoc_url=None,
    )
    guard(app, settings, routers=[module.router for module in _ROUTES], rules=RULES)
    install_problem_handlers(app)
    for module in _ROUTES:
        app.include_router(module.router)
    app.router.default = Site(STATIC, otherwise=app.router.default)
    limits = {
        "/v1/datasets": settings.max_dataset_bytes,
        "/v1/models": settings.max_dataset_bytes,
        "PATCH /v1/uploads/*": settings.max_resumable_bytes,
    }
    app.add_middleware(BodyLimits, max_bytes=settings.max_upload_bytes, larger=limits, silence_s=settings.silence_s)
    app.add_middleware(ProtocolErrors)
    app.add_middleware(TusAnswers)
    app.add_middleware(Observed)
    return app
