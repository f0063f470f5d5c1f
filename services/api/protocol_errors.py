"""Errors of /v2 in the form of the Open Inference Protocol: {"error": "..."}; everywhere else they are problems."""

import json

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.http import PROBLEM

ROOT = "/v2"
STATUS = {422: 400}
"""The protocol knows one status for bad requests."""


class ProtocolErrors:
    """ASGI middleware: say problems of paths below /v2 as the protocol does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the body of a problem is rewritten, everything else goes through."""
        if scope["type"] != "http" or not (scope["path"] == ROOT or scope["path"].startswith(f"{ROOT}/")):
            await self.app(scope, receive, send)
            return
        await self.app(scope, receive, _Rewriter(send))


class _Rewriter:
    """A ``send`` that holds back the start of a problem until its body is whole."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_problem(message):
            self._start = message
            return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        body = json.dumps({"error": json.loads(self._body)["detail"]}).encode()
        headers = MutableHeaders(raw=list(self._start["headers"]))
        headers["content-type"] = "application/json"
        headers["content-length"] = str(len(body))
        status = STATUS.get(self._start["status"], self._start["status"])
        await self._send({**self._start, "status": status, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})


def _is_problem(message: Message) -> bool:
    return any(k == b"content-type" and v.startswith(PROBLEM.encode()) for k, v in message["headers"])
