"""The viewer's files at ``/``: what ``web/`` was built into, and its page for every path that a browser asks for."""

from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from intima.errors import NotFound
from services.http import as_problem, request_id_in

STATIC = Path(__file__).parent / "static"
"""Where ``make web`` builds the viewer."""
_PAGE = "index.html"
_DOCS = "docs.html"
"""FastAPI's own page of the docs loads its scripts from another host."""
_NAMED_BY_CONTENT = "assets/"
_RESERVED = ("v1", "v2", "docs", "redoc", "openapi.json", "livez", "readyz", "metrics")
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Site:
    """Serve the viewer where no route of the api matches; what is neither goes on to ``otherwise``.

    The files are listed once, so that no path of a request is ever looked up on the disk.
    """

    def __init__(self, folder: Path, *, otherwise: ASGIApp) -> None:
        self._files = _files_in(folder)
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._otherwise(scope, receive, send)
            return
        path = scope["path"].lstrip("/")
        if path in self._files:
            await self._file(path)(scope, receive, send)
        elif path == "docs":
            await self._page(_DOCS, scope)(scope, receive, send)
        elif _is_page(path, Headers(scope=scope)):
            await self._page(_PAGE, scope)(scope, receive, send)
        else:
            await self._otherwise(scope, receive, send)

    def _page(self, name: str, scope: Scope) -> ASGIApp:
        if name in self._files:
            return self._file(name)
        missing = NotFound(
            "The viewer was not built.",
            code="viewer_not_built",
            hint="Run make web, and start the api again. The api itself works: /openapi.json says how.",
        )
        return as_problem(missing, request_id_in(scope))

    def _file(self, path: str) -> FileResponse:
        kept = "public, max-age=31536000, immutable" if path.startswith(_NAMED_BY_CONTENT) else "no-cache"
        return FileResponse(self._files[path], headers=_HEADERS | {"Cache-Control": kept})


def _files_in(folder: Path) -> Mapping[str, Path]:
    return {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}


def _is_page(path: str, headers: Headers) -> bool:
    """Tell whether a browser asks for a page of the viewer, which draws all of them itself."""
    return path.split("/", 1)[0] not in _RESERVED and "text/html" in headers.get("accept", "")
