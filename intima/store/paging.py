"""Pages of a table, newest first, by key and not by offset: rows added meanwhile shift nothing."""

import base64
import binascii
import json
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
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise Invalid(f"Got page_size {page_size}; need 1 to {MAX_PAGE_SIZE}.", pointer="/page_size")
    unique = table.c.id if key is None else key
    newest_first = select(table, unique.label("page_key")).order_by(table.c.created_at.desc(), unique.desc())
    newest_first = newest_first.where(*where)
    if page_token:
        at, last_key = _decode(page_token)
        behind = or_(table.c.created_at < at, and_(table.c.created_at == at, unique < last_key))
        newest_first = newest_first.where(behind)
    rows = conn.execute(newest_first.limit(page_size + 1)).all()
    more = len(rows) > page_size
    items = tuple(rows[:page_size])
    return Page(items, _encode(items[-1].created_at, items[-1].page_key) if more else "")


def _encode(at: float, row_id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([at.hex(), row_id]).encode()).decode()


def _decode(token: str) -> tuple[float, str]:
    try:
        at, row_id = json.loads(base64.urlsafe_b64decode(token.encode()))
        return float.fromhex(at), str(row_id)
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise Invalid(
            "Got a page_token that is not one of ours; start again without it.", pointer="/page_token"
        ) from error
