"""tus 1.0 on the wire: what its headers say, and the headers of its answers (https://tus.io/protocols/resumable-upload)."""

import base64
import binascii
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intima.contracts.upload import SlideChoices
from intima.errors import ErrorPlace, IntimaError, Invalid
from intima.store.resumable import StoredUpload
from services.api.uploads import plain_name
from services.http import as_problem, request_id_of

ROOT = "/v1/uploads"
VERSION = "1.0.0"
EXTENSIONS = "creation,checksum,expiration,termination"
ALGORITHMS = ("sha1", "sha256")
"""Of checksums of a piece; the protocol wants the first."""
PIECE = "application/offset+octet-stream"
_MOST_METADATA = 8192
_MOST_DIGITS = 15
_CHOICES = frozenset({"mpp", "subject", "deidentify", "sha256"})
_SIZES = {"sha1": 20, "sha256": 32}


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a client says is the hash of a piece."""

    algorithm: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Described:
    """What Upload-Metadata says."""

    name: str
    choices: SlideChoices


class TusRoute(APIRoute):
    """A route of the protocol: asks for its version first; nobody keeps its answers."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request of this route."""
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                _refuse_other_version(request)
                response = await answer(request)
            except IntimaError as error:
                response = as_problem(error, request_id_of(request))
            response.headers["Cache-Control"] = "no-store"
            return response

        return handle


class TusAnswers:
    """ASGI middleware: say the version in every answer of the protocol's paths, whoever refused."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not (scope["path"] == ROOT or scope["path"].startswith(f"{ROOT}/")):
            await self.app(scope, receive, send)
            return

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"tus-resumable", VERSION.encode())]
            await send(message)

        await self.app(scope, receive, send_with_version)


def _refuse_other_version(request: Request) -> None:
    asked = request.headers.get("tus-resumable")
    if request.method != "OPTIONS" and asked != VERSION:
        raise Invalid(
            f"Got Tus-Resumable {asked!r}; this speaks {VERSION}.",
            code="precondition_failed",
            hint=f'Send "Tus-Resumable: {VERSION}".',
        )


def capabilities(most_bytes: int) -> dict[str, str]:
    """Return the headers that say what this server can do."""
    return {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(most_bytes),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def state_of(upload: StoredUpload) -> dict[str, str]:
    """Return the headers that say how far an upload is."""
    return {"Upload-Offset": str(upload.offset), "Upload-Expires": formatdate(upload.expires_at_s, usegmt=True)}


def whole_of(upload: StoredUpload) -> dict[str, str]:
    """Return all headers of an upload."""
    described = {"Upload-Metadata": upload.record.metadata} if upload.record.metadata else {}
    return state_of(upload) | described | {"Upload-Length": str(upload.record.length)}


def read_length(text: str | None, *, most_bytes: int) -> int:
    """Return the announced length of a file. Raises Invalid."""
    length = _number(text, name="Upload-Length")
    if length == 0:
        raise Invalid("The file is empty.", code="empty_file", pointer="/upload-length")
    if length > most_bytes:
        raise Invalid(
            f"Got a file of {length} bytes; the limit is {most_bytes}.",
            code="too_large",
            pointer="/upload-length",
            hint="Whoever runs this installation can raise INTIMA_MAX_RESUMABLE_BYTES.",
        )
    return length


def read_offset(text: str | None) -> int:
    """Return where a piece belongs. Raises Invalid."""
    return _number(text, name="Upload-Offset")


def read_checksum(text: str | None) -> Checksum | None:
    """Return what is said of the content of a piece. Raises Invalid."""
    if text is None:
        return None
    algorithm, _, encoded = text.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise _malformed("Upload-Checksum", f"an algorithm of {', '.join(ALGORITHMS)}")
    value = _decoded(encoded, name="Upload-Checksum")
    if len(value) != _SIZES[algorithm]:
        raise _malformed("Upload-Checksum", f"{_SIZES[algorithm]} bytes in base64 behind {algorithm}")
    return Checksum(algorithm, value)


def check_content_type(found: str | None) -> None:
    """Raise Invalid where a body is no piece of a file."""
    if found != PIECE:
        raise Invalid(
            f"Got a body of type {str(found)[:100]!r}; need {PIECE}.", code="unsupported_media_type", pointer=""
        )


def read_metadata(header: str) -> Described:
    """Return what is said of a file: filename, mpp, subject, deidentify, sha256; other keys are kept and not read.

    Raises:
        Invalid: this is not what the protocol allows, or one of these cannot be.
    """
    if len(header) > _MOST_METADATA or not header.isascii():
        raise _malformed("Upload-Metadata", f"at most {_MOST_METADATA} characters of ASCII")
    pairs = _pairs(header)
    given = {key: value for key, value in pairs.items() if key in _CHOICES and value}
    return Described(plain_name(pairs.get("filename", "")), _choices(given))


def _choices(given: Mapping[str, str]) -> SlideChoices:
    try:
        return SlideChoices.model_validate(given)
    except ValidationError as error:
        places = [ErrorPlace("/" + "/".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]
        raise Invalid(f"Upload-Metadata cannot be used: {places[0].message}", places=places) from error


def _pairs(header: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for pair in filter(None, (p.strip() for p in header.split(","))):
        key, _, encoded = pair.partition(" ")
        if key in found:
            raise _malformed("Upload-Metadata", f"the key {key[:80]!r} once")
        try:
            found[key] = _decoded(encoded, name="Upload-Metadata").decode()
        except UnicodeDecodeError as error:
            raise _malformed("Upload-Metadata", "UTF-8 inside base64") from error
    return found


def _decoded(text: str, *, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(name, "base64") from error


def _number(text: str | None, *, name: str) -> int:
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise _malformed(name, "a number of bytes")
    return int(text)


def _malformed(name: str, need: str) -> Invalid:
    return Invalid(f"The header {name} needs {need}.", code="bad_upload", pointer=f"/{name.lower()}")
