"""The gate before an HTTP door: an ASGI middleware that asks before a body is read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from intima.contracts.access import Caller
from intima.contracts.access import Scope as AccessScope
from intima.errors import IntimaError
from services.access.gate import LENGTH, MOST_TARGET, Asked, Gate, Operation, Rule, announced_bytes, require
from services.access.refusals import Refused
from services.access.settings import AccessSettings
from services.addresses import is_address
from services.http import as_problem, request_id_in

_SCHEME = "token"
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token of POST /v1/tokens or of the OpenID Connect issuer, where INTIMA_AUTH=tokens.",
}
_REFUSALS = {
    "401": {"description": "No valid token (problem, RFC 9457)"},
    "403": {"description": "Not a scope of this token (problem)"},
    "429": {"description": "Too many requests, or the day's share is used; Retry-After says how long (problem)"},
}
_THREADS = 16
"""Requests that look up tokens at once, apart from the threads that answer them."""


class Access:
    """Let a request in by the operation its route stands for; what no route knows is left to be not found.

    The gate is ``app.state.gate``, as it needs the storage that is opened when the app starts.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[tuple[BaseRoute, Operation]]) -> None:
        self.app = app
        self._routes = routes
        self._threads: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or say why not."""
        route, operation = self._meaning_of(scope) if scope["type"] == "http" else (None, None)
        if operation is None or not operation.rule.scopes:
            await self.app(scope, receive, send)
            return
        scope["route"] = route  # so that a refusal is counted under its route, as an answer is
        try:
            asked = _asked(scope, operation)
            scope["state"]["asked"] = asked
            scope["state"]["caller"] = await self._admit(scope["app"].state.gate, asked)
        except IntimaError as error:
            await as_problem(error, request_id_in(scope))(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _admit(self, gate: Gate, asked: Asked) -> Caller:
        known = gate.admit_at_once(asked)
        if known is not None:
            return known
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(_THREADS)
        return await anyio.to_thread.run_sync(gate.admit, asked, limiter=self._threads)

    def _meaning_of(self, scope: Scope) -> tuple[BaseRoute | None, Operation | None]:
        for route, operation in self._routes:
            if route.matches(scope)[0] is Match.FULL:
                return route, operation
        return None, None


class Origins:
    """Refuse what a web page of somebody else makes a browser ask a service that asks nobody for tokens.

    Without this, any page a user looks at could post to 127.0.0.1, or read it under a name of its own that it lets
    point there (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, settings: AccessSettings) -> None:
        self.app = app
        self._names = frozenset(name.lower() for name in settings.host_names)
        self._origins = frozenset(settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or say why not."""
        if scope["type"] == "http":
            try:
                self._check(Headers(scope=scope))
            except Refused as error:
                await as_problem(error, request_id_in(scope))(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, headers: Headers) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        name = _hostname(f"//{host}")
        if name is None or ("." in name and not is_address(name) and name not in self._names):
            raise Refused(
                f"This service is not reached as {host[:100]}.",
                code="unknown_host",
                hint="Ask at 127.0.0.1 or localhost, or name it in INTIMA_HOST_NAMES.",
            )
        own = origin is None or (_hostname(origin) is not None and urlsplit(origin).netloc == host)
        if not own and origin not in self._origins:
            raise Refused(
                f"Pages of {str(origin)[:100]} may not ask here.",
                code="cross_origin",
                hint="Name that origin in INTIMA_CORS_ORIGINS.",
            )


def _hostname(url: str) -> str | None:
    """Return the name in a URL in small letters, "" where it has none; null where it is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return None


def caller_of(request: Request) -> Caller:
    """Return who asks."""
    caller: Caller = request.state.caller
    return caller


def demand(request: Request, scope: AccessScope) -> None:
    """Raise Refused where the caller may not do what takes this scope."""
    require(caller_of(request), scope)


def admit_as(request: Request, rule: Rule) -> None:
    """Ask the gate once more, where the body wants what takes more than its route. Raises Refused, Unavailable."""
    asked: Asked = request.state.asked
    gate: Gate = request.app.state.gate
    gate.admit(replace(asked, operation=Operation(asked.operation.name, rule)))


def _asked(scope: Scope, operation: Operation) -> Asked:
    headers = Headers(scope=scope)
    name = operation.rule.announces
    length = headers.get(name, "0" if name == LENGTH and "transfer-encoding" not in headers else "")
    return Asked(
        operation=operation,
        authorization=headers.get("authorization"),
        target=quote(scope["path"])[:MOST_TARGET],
        request_id=request_id_in(scope),
        bytes=announced_bytes(length),
    )


def operations_of(routers: Iterable[APIRouter], rules: Mapping[str, Rule]) -> list[tuple[BaseRoute, Operation]]:
    """Return what each route stands for, by operation id, else by name.

    Raises:
        KeyError: a route is in no rule: what nobody thought about is not served.
    """
    found: list[tuple[BaseRoute, Operation]] = []
    for router in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute), f"a route of another kind: {route}"
            name = route.operation_id or route.name
            found.append((route, Operation(name, rules[name])))
    return found


def describe_access(document: dict[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Add to an OpenAPI document which scopes an operation takes, and how it says no."""
    document.setdefault("components", {})["securitySchemes"] = {_SCHEME: _BEARER}
    for path in document["paths"].values():
        for operation in path.values():
            rule = rules[operation["operationId"]]
            if rule.scopes:
                operation["security"] = [{_SCHEME: [scope]} for scope in rule.scopes]
                operation["responses"] = _REFUSALS | operation["responses"]
    return document
