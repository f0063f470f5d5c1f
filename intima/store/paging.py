"""Pages of a table, newest first, by key and not by offset: rows added meanwhile shift nothing."""

import base64
import binascii
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, or_, select

from intima.errors import Invalid

MAX_PAGE_SIZE = 1000

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page; ``next_page_token`` is "" on the last."""

    items: tuple[T, ...]
    next_page_token: str

    def map(self, convert: Callable[[T], U]) -> "Page[U]":
        """Return the page with every item converted."""
        return Page(tuple(convert(i) for i in self.items), self.next_page_token)


def page_of(
    conn: Connection,
    table: Table,
    *,
    page_size: int,
    page_token: str,
    key: ColumnElement[str] | None = None,
    where: Sequence[ColumnElement[bool]] = (),
) -> Page[Row[Any]]:
    """Return one page of a table that has ``created_at`` and ``id``, or another unique ``key`` of text.

    Rows that do not meet ``where`` are on no page.

    Raises:
        Invalid: a page size outside 1..1000 or a token that is not one of ours.
    """
    check_page_size(page_size)
    unique = table.c.id if key is None else key
    newest_first = select(table, unique.label("page_key")).order_by(table.c.created_at.desc(), unique.desc())
    newest_first = newest_first.where(*where)
    if page_token:
        (at,), last_key = decode_token(page_token, numbers=1)
        behind = or_(table.c.created_at < at, and_(table.c.created_at == at, unique < last_key))
        newest_first = newest_first.where(behind)
    rows = conn.execute(newest_first.limit(page_size + 1)).all()
    more = len(rows) > page_size
    items = tuple(rows[:page_size])
    return Page(items, encode_token(items[-1].created_at, items[-1].page_key) if more else "")


def check_page_size(page_size: int) -> None:
    """Raise Invalid for a page size outside 1..1000."""
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise Invalid(f"Got page_size {page_size}; need 1 to {MAX_PAGE_SIZE}.", pointer="/page_size")


def encode_token(*key: float | str) -> str:
    """Return a token of the key of the last row of a page: numbers, then a text."""
    parts = [part.hex() if isinstance(part, float) else part for part in key]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


def decode_token(token: str, *, numbers: int) -> tuple[tuple[float, ...], str]:
    """Return the numbers of a key and its text. Raises Invalid for what is no token of such a key."""
    try:
        *values, text = json.loads(base64.urlsafe_b64decode(token.encode()))
        found, last = tuple(float.fromhex(value) for value in values), str(text)
    except (binascii.Error, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise _strange_token() from error
    if len(found) != numbers or not all(map(math.isfinite, found)):
        raise _strange_token()
    return found, last


def _strange_token() -> Invalid:
    return Invalid("Got a page_token that is not one of ours; start again without it.", pointer="/page_token")
