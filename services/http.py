"""What the HTTP doors share: problems by RFC 9457, time limits on bodies."""

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intima.errors import Conflict, ErrorPlace, IntimaError, Invalid, NotFound, Unavailable
from services.telemetry.context import current
from services.telemetry.doors import count_problem

PROBLEM = "application/problem+json"
STATUS: dict[type[IntimaError], int] = {NotFound: 404, Invalid: 422, Conflict: 409, Unavailable: 503}
STATUS_OF_CODE = {
    "storage_full": 507,
    "too_large": 413,
    "unsupported_media_type": 415,
    "precondition_failed": 412,
    "unauthenticated": 401,
    "forbidden": 403,
    "unknown_host": 403,
    "cross_origin": 403,
    "length_required": 411,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "bad_upload": 400,
    "upload_expired": 410,
    "checksum_mismatch": 460,
}
CODE_OF_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
}

_HEADERS_OF_STATUS = {
    401: {"WWW-Authenticate": "Bearer"},
    429: {"Retry-After": "5"},
    503: {"Retry-After": "5"},
}

_log = logging.getLogger("intima.http")


def problem(
    status: int, *, code: str, title: str, detail: str, request_id: str, errors: Sequence[Mapping[str, object]] = ()
) -> JSONResponse:
    """Return one RFC 9457 problem."""
    body = {
        "type": f"urn:intima:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        "trace_id": current().trace_id,
        "errors": list(errors),
    }
    count_problem("http", code)
    return JSONResponse(body, status_code=status, media_type=PROBLEM, headers=_HEADERS_OF_STATUS.get(status))


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem+json, and of a request that the end of the process cuts off."""
    app.add_middleware(CutOff)
    app.add_exception_handler(IntimaError, _on_intima_error)
    app.add_exception_handler(RequestValidationError, _on_request_validation)
    app.add_exception_handler(ValidationError, _on_contract_validation)
    app.add_exception_handler(UnicodeEncodeError, _on_bad_text)
    app.add_exception_handler(PydanticSerializationError, _on_bad_text)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_defect)


def request_id_of(request: Request) -> str:
    """Return the id of a request."""
    return request_id_in(request.scope)


def request_id_in(scope: Scope) -> str:
    """Return the id of the request of an ASGI scope."""
    return str(scope.get("state", {}).get("request_id", "req_unknown"))


def _on_intima_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, IntimaError)
    return as_problem(exc, request_id_of(request))


def as_problem(exc: IntimaError, request_id: str) -> Response:
    """Return what a client is told of an error."""
    family = next((s for t, s in STATUS.items() if isinstance(exc, t)), 500)
    status = STATUS_OF_CODE.get(exc.code, family)
    whole = (ErrorPlace(exc.pointer, exc.message, exc.hint),) if exc.pointer or exc.hint else ()
    errors = [{"pointer": p.pointer, "message": p.message, "hint": p.hint, **p.about} for p in exc.places or whole]
    detail = f"{exc.message} {exc.hint}".strip()
    title = type(exc).__name__
    answer = problem(status, code=exc.code, title=title, detail=detail, request_id=request_id, errors=errors)
    if exc.retry_after_s is not None:
        answer.headers["Retry-After"] = str(math.ceil(exc.retry_after_s))
    return answer


def _on_request_validation(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    return _invalid(request, exc.errors())


def _on_contract_validation(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ValidationError)
    return _invalid(request, exc.errors(include_url=False, include_context=False))


def _on_bad_text(request: Request, _exc: Exception) -> Response:
    """A text of the request holds half of a surrogate pair, which no file and no database can keep."""
    detail = "A text in the request is not valid Unicode (a lone surrogate)."
    return problem(422, code="bad_text", title="Invalid", detail=detail, request_id=request_id_of(request))


def _invalid(request: Request, found: Sequence[Any]) -> Response:
    errors = [{"pointer": _pointer(e["loc"]), "message": str(e["msg"]), "hint": ""} for e in found]
    detail = "; ".join(f"{e['pointer'] or 'body'}: {e['message']}" for e in errors[:5])
    return problem(
        422, code="invalid", title="Invalid", detail=detail, request_id=request_id_of(request), errors=errors
    )


_PLACES = {"body", "query", "path", "header"}


def _pointer(location: Sequence[str | int]) -> str:
    """Return a JSON pointer (RFC 6901) without the place FastAPI puts in front."""
    parts = [str(p) for p in location]
    if parts and parts[0] in _PLACES:
        parts = parts[1:]
    return "".join("/" + p.replace("~", "~0").replace("/", "~1") for p in parts)


def _on_http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    code = CODE_OF_STATUS.get(exc.status_code, f"http_{exc.status_code}")
    response = problem(
        exc.status_code, code=code, title=str(exc.detail), detail=str(exc.detail), request_id=request_id_of(request)
    )
    response.headers.update(exc.headers or {})
    return response


def _on_defect(request: Request, exc: Exception) -> Response:
    request_id = request_id_of(request)
    _log.error("defect in %s %s %s", request.method, request.url.path, request_id, exc_info=exc)
    return problem(
        500,
        code="defect",
        title="This is a defect of Intima",
        detail="The request met an error nobody foresaw. Please report it with the request id.",
        request_id=request_id,
    )


LEAST_BYTES_PER_S = 1024
"""A body that kept its reader waiting for longer than the silence allowed and came slower than this is ended too."""


class CutOff:
    """ASGI middleware: answer a request with 503 when the service stops before it is done; it would be a bare 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except asyncio.CancelledError:
            if begun or scope["type"] != "http":
                raise
            detail = "This server is stopping. What was begun as a job goes on; ask again for the rest."
            answer = problem(503, code="stopping", title="Unavailable", detail=detail, request_id=request_id_in(scope))
            await answer(scope, receive, send)


class BodyLimits:
    """ASGI middleware: refuse bodies that are too large (413), stop arriving or only drip (408).

    ``larger`` has limits of their own by path, or by method and folder: ``PATCH /v1/uploads/*``.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, silence_s: float, larger: Mapping[str, int] | None = None
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.larger = dict(larger or {})
        self.silence_s = silence_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within the limits."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit(scope)
        declared = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > limit:
            response = self._refusal(413, "too_large", f"Got {int(declared)} bytes; the limit is {limit}.")
            await response(scope, receive, send)
            return
        await self.app(scope, self._limited(receive, limit), send)

    def _limit(self, scope: Scope) -> int:
        path = scope["path"]
        inside = f"{scope['method']} {path.rpartition('/')[0]}/*"
        return self.larger.get(path, self.larger.get(inside, self.max_bytes))

    def _limited(self, receive: Receive, limit: int) -> Receive:
        received = 0
        waited_s = 0.0
        complete = False

        async def limited() -> Message:
            nonlocal received, waited_s, complete
            if complete:
                return await receive()
            started = time.monotonic()
            try:
                async with asyncio.timeout(self.silence_s):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, f"No data for {self.silence_s:.0f} s.") from error
            waited_s += time.monotonic() - started
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if not complete and waited_s > self.silence_s and received < waited_s * LEAST_BYTES_PER_S:
                raise HTTPException(408, f"Only {received} bytes in {waited_s:.0f} s.")
            if received > limit:
                raise HTTPException(413, f"The body is larger than {limit} bytes.")
            return message

        return limited

    @staticmethod
    def _refusal(status: int, code: str, detail: str) -> JSONResponse:
        return problem(status, code=code, title=detail, detail=detail, request_id=current().request_id)
