"""Put the gate before an HTTP door."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware

from services.access.gate import Rule
from services.access.settings import AccessSettings
from services.access.web import Access, Origins, describe_access, operations_of

_PREFLIGHT_S = 600
_TUS = ("Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm")
_UPLOAD = ("Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires")
_EXPOSED = ("Location", "Retry-After", "X-Request-Id", "Content-Disposition", *_TUS, *_UPLOAD)


def guard(app: FastAPI, settings: AccessSettings, *, routers: Sequence[APIRouter], rules: Mapping[str, Rule]) -> None:
    """Let in only what the rules allow; to be called before other middleware is added, which then stands outside.

    Raises:
        KeyError: a route is in no rule.
    """
    app.add_middleware(Access, routes=operations_of(routers, rules))
    if settings.auth == "none":
        app.add_middleware(Origins, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=_EXPOSED,
            max_age=_PREFLIGHT_S,
        )
    describe = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe_access(describe(), rules)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
