"""Uploads: what a route is given of a file that a client sends, over either door."""

import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from fastapi import Request, Response, UploadFile
from fastapi.routing import APIRoute
from starlette.datastructures import FormData

from intima.errors import Invalid
from intima.store.incoming import Incoming
from services.api.dependencies import State, get_state
from services.api.forms import ReceivedFile, is_multipart, receive_form

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Spooled:
    """An upload on disk."""

    path: Path
    name: str
    """What the user calls it; never a path."""
    keep: Callable[[], str]
    """Stores it as a blob and returns its SHA-256; ``path`` may be gone then."""


def plain_name(name: str) -> str:
    """Return what a client calls a file, without folders. Raises Invalid for one with control characters."""
    if _CONTROL.search(name):
        raise Invalid("The name of the file has a control character.", code="bad_name", pointer="/filename")
    return name.replace("\\", "/").rsplit("/", 1)[-1][:200] or "upload"


def check_sha256_of(found: str, *, stated: str | None) -> None:
    """Raise Invalid where a file is not the one that was stated."""
    if stated is not None and found != stated:
        raise Invalid(
            f"The file arrived with SHA-256 {found}; it was stated as {stated}.",
            code="sha256_mismatch",
            hint="It changed on the way or while it was read. Send it again from its start.",
            pointer="/sha256",
        )


def spooled(upload: UploadFile, *, stated: str | None = None) -> Spooled:
    """Return the file of a form that an ``UploadRoute`` has received.

    Raises:
        Invalid: it is empty, or has another SHA-256 than was stated.
    """
    assert isinstance(upload, ReceivedFile), "this route is no UploadRoute"
    check_sha256_of(upload.incoming.sha256, stated=stated)
    return as_spooled(upload.incoming, upload.filename or "", pointer="/file")


def as_spooled(incoming: Incoming, name: str, *, pointer: str) -> Spooled:
    """Return what has come in as a file to look at and to keep. Raises Invalid for an empty one."""
    if incoming.size == 0:
        raise Invalid("The uploaded file is empty.", code="empty_file", pointer=pointer)
    return Spooled(incoming.path, plain_name(name), incoming.keep)


class UploadRoute(APIRoute):
    """A route whose file, where it takes one, comes straight into the store; everything else is as FastAPI does it.

    What can be refused without the body is refused before it is read; FastAPI's own dependencies come after it.
    """

    def refuse_early(self, state: State) -> None:
        """Raise what needs no body to be said."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request of this route."""
        answer = super().get_route_handler()
        return self._receiving(answer) if UploadFile in get_type_hints(self.endpoint).values() else answer

    def _receiving(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            state = get_state(request)
            self.refuse_early(state)
            if not is_multipart(request.headers.get("content-type", "")):
                return await answer(request)
            async with receive_form(request, state.storage.blobs) as form:
                return await answer(_Read(request, form))

        return handle


class _Read(Request):
    """A request whose form has been read."""

    def __init__(self, request: Request, form: FormData) -> None:
        super().__init__(request.scope, request.receive)
        self._form = form
