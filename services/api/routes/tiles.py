"""What the routes of tiles share: names of places, caching by browsers, turns."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import anyio.to_thread
from fastapi import Header

from intima.errors import NotFound
from services.api.dependencies import State

FOREVER = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"
XML: dict[int | str, dict[str, Any]] = {200: {"content": {"application/xml": {}}}}
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
SHA256 = "^[0-9a-f]{64}$"
_LONGEST_NUMBER = 9

IfNoneMatch = Annotated[str | None, Header(max_length=1000)]
T = TypeVar("T")


async def in_turn(state: State, read: Callable[[], T]) -> T:
    """Read a few tiles at a time; the others wait without holding a thread that other requests need."""
    return await anyio.to_thread.run_sync(read, limiter=state.tile_turns)


def place_of(level: str, tile: str) -> tuple[int, int, int]:
    """Return level, column and row. Raises NotFound for what is no number."""
    parts = (level, *tile.split("_"))
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() and len(p) <= _LONGEST_NUMBER for p in parts):
        raise NotFound("There is no such tile.", code="tile_not_found", hint="Tiles are {level}/{column}_{row}.")
    at, column, row = map(int, parts)
    return at, column, row


def caching(etag: str, *, pinned: bool) -> dict[str, str]:
    """Return headers that let a browser keep an answer: for good where its URL says which bytes it means."""
    return {
        "ETag": f'"{etag}"',
        "Cache-Control": FOREVER if pinned else ASK_AGAIN,
        "X-Content-Type-Options": "nosniff",
    }


def has_it(if_none_match: str | None, etag: str) -> bool:
    """Tell whether a client has the present bytes (RFC 9110, 13.1.2)."""
    given = [part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")]
    return "*" in given or f'"{etag}"' in given
