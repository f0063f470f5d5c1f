"""Segmentations in pages: newest first, or those first in which most error is expected."""

from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, update

from intima.arrays import Json
from intima.contracts.segmentation import UncertaintySummary
from intima.review import doubt_of
from intima.store.catalog import StoredSegmentation, stored_segmentation
from intima.store.corrections import GONE
from intima.store.paging import Page, check_page_size, decode_token, encode_token, page_of
from intima.store.tables import jobs
from intima.store.tables import segmentations as t

Order: TypeAlias = Literal["newest", "expected_error"]


def rank_result(conn: Connection, segmentation_id: str, result: Json) -> None:
    """Note where a result stands in the queue of masks to look at."""
    found = result.get("uncertainty")
    doubt = doubt_of(None if found is None else UncertaintySummary.model_validate(found))
    conn.execute(update(t).where(t.c.id == segmentation_id).values(doubt=doubt))


def list_segmentations(
    conn: Connection,
    *,
    order: Order = "newest",
    slide: str | None = None,
    model: str | None = None,
    page_size: int = 50,
    page_token: str = "",
) -> Page[StoredSegmentation]:
    """Return segmentations, newest first or highest expected error first.

    By error come only those of a model that have a result and that nobody has corrected; of equal ones the newest
    first, and last those of whose error nothing is known. ``model`` is a name, or name@version.

    Raises:
        Invalid: a bad page, or the token of another order.
    """
    where = list(_conditions(slide, model))
    if order == "newest":
        page = page_of(conn, t, page_size=page_size, page_token=page_token, where=where)
    else:
        page = _by_error(conn, where, page_size=page_size, page_token=page_token)
    return page.map(stored_segmentation)


def _conditions(slide: str | None, model: str | None) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if slide is not None:
        found.append(t.c.slide == slide)
    if model is not None:
        versions = t.c.model.startswith(f"{model}@", autoescape=True)
        found.append(t.c.model == model if "@" in model else versions)
    return found


def _by_error(conn: Connection, where: list[ColumnElement[bool]], *, page_size: int, page_token: str) -> Page[Any]:
    check_page_size(page_size)
    worst_first = select(t).where(t.c.doubt.is_not(None), ~_is_corrected(), *where)
    worst_first = worst_first.order_by(t.c.doubt.desc(), t.c.created_at.desc(), t.c.id.desc())
    if page_token:
        worst_first = worst_first.where(_behind(page_token))
    rows = conn.execute(worst_first.limit(page_size + 1)).all()
    items, more = tuple(rows[:page_size]), len(rows) > page_size
    if not more:
        return Page(items, "")
    last = items[-1]
    return Page(items, encode_token(last.doubt, last.created_at, last.id))


def _is_corrected() -> ColumnElement[bool]:
    """Tell whether a person has made a version of a mask that has not come to nothing."""
    version = t.alias("version")
    job = jobs.c.id == version.c.job_id, jobs.c.state.not_in(GONE)
    return exists().where(version.c.parent == t.c.id, *job).correlate(t)


def _behind(token: str) -> ColumnElement[bool]:
    """Return what lies behind a token. The first condition is implied by the second; the index can use it."""
    (doubt, at), last_id = decode_token(token, numbers=2)
    older = or_(t.c.created_at < at, and_(t.c.created_at == at, t.c.id < last_id))
    return and_(t.c.doubt <= doubt, or_(t.c.doubt < doubt, older))
