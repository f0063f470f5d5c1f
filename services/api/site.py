"""The viewer's files at ``/``: what ``web/`` was built into, and its page for every path that a browser asks for."""

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from intima.errors import NotFound
from services.http import as_problem, request_id_in

STATIC = Path(__file__).parent / "static"
"""Where ``make web`` builds the viewer."""
_PAGE = "index.html"
_DOCS = "docs.html"
"""FastAPI's own page of the docs loads its scripts from another host."""
_NAMED_BY_CONTENT = "assets/"
_RESERVED = ("assets", "v1", "v2", "docs", "redoc", "openapi.json", "livez", "readyz", "metrics")
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept",
}


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    media_type: str
    etag: str
    kept: str

    def answer(self, given: Headers) -> Response:
        """Return the file, or that a browser has it (RFC 9110, 13.1.2)."""
        headers = _HEADERS | {"ETag": self.etag, "Cache-Control": self.kept}
        if self.etag in [part.strip().removeprefix("W/") for part in given.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(self.data, media_type=self.media_type, headers=headers)


class Site:
    """Serve the viewer where no route of the api matches; what is neither goes on to ``otherwise``.

    The files (some 3 MB) are read once: no path of a request is ever looked up on the disk, and a viewer that is built
    anew meanwhile does not mix with the one that is served.
    """

    def __init__(self, folder: Path, *, otherwise: ASGIApp) -> None:
        self._files = _files_in(folder)
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        asked = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        answer = self._answer(scope) if asked else None
        await (answer or self._otherwise)(scope, receive, send)

    def _answer(self, scope: Scope) -> ASGIApp | None:
        path, headers = scope["path"].lstrip("/"), Headers(scope=scope)
        name = path if path in self._files else _page_for(path, headers)
        found = self._files.get(name)
        if found is not None:
            return found.answer(headers)
        return as_problem(_not_built(), request_id_in(scope)) if name in (_PAGE, _DOCS) else None


def _page_for(path: str, headers: Headers) -> str:
    """Return the page that a path stands for: the viewer draws all that browsers ask for; "" for what is none."""
    if path == "docs":
        return _DOCS
    is_page = path.split("/", 1)[0] not in _RESERVED and "text/html" in headers.get("accept", "")
    return _PAGE if is_page else ""


def _files_in(folder: Path) -> Mapping[str, _File]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {name: _read(file, name) for file, name in ((f, f.relative_to(folder).as_posix()) for f in files)}


def _read(file: Path, name: str) -> _File:
    data = file.read_bytes()
    kept = "public, max-age=31536000, immutable" if name.startswith(_NAMED_BY_CONTENT) else "no-cache"
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return _File(data, media_type, f'"{hashlib.sha256(data).hexdigest()[:32]}"', kept)


def _not_built() -> NotFound:
    return NotFound(
        "The viewer was not built.",
        code="viewer_not_built",
        hint="Run make web, and start the api again. The api itself works: /openapi.json says how.",
    )
