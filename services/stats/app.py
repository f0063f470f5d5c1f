"""Build the stats service: one FastAPI app from one settings object."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from intima import __version__
from services.access.doors import guard
from services.access.settings import refuse_open_bind
from services.http import BodyLimits, install_problem_handlers
from services.stats.dependencies import open_state
from services.stats.routes import health, router
from services.stats.rules import RULES
from services.stats.settings import Settings
from services.telemetry.requests import TRACES, Observed

_DESCRIPTION = (
    "Scores in, verdict out: whether two models differ, are equivalent, or cannot be told apart on a handful of "
    "subjects. Errors are RFC 9457 problems."
)


def create_app(settings: Settings) -> FastAPI:
    """Return the app.

    Raises:
        Conflict: asked to listen on an address other machines reach, without authentication in front.
    """
    refuse_open_bind(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.intima = open_state(settings)
        app.state.gate = app.state.intima.gate
        yield
        app.state.intima.close()

    app = FastAPI(
        title="Intima stats",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        responses={422: {"description": "Problem (RFC 9457)"}},
        telemetry=TRACES,
        docs_url=None,
        redoc_url=None,
    )
    guard(app, settings, routers=[health, router], rules=RULES)
    install_problem_handlers(app)
    app.include_router(health)
    app.include_router(router)
    app.add_middleware(BodyLimits, max_bytes=settings.max_body_bytes, silence_s=settings.silence_s)
    app.add_middleware(Observed)
    return app
