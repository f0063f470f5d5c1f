"""Batches: many segmentations that were asked for together."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from intima.contracts.batch import BatchCounts, BatchItem, BatchSummary, BatchView, ItemError
from intima.contracts.job import OPEN
from intima.contracts.segmentation import SegmentationRequest
from intima.errors import NotFound
from intima.store import tables as t
from intima.store.catalog import rfc3339
from intima.store.keys import new_id
from intima.store.paging import Page, page_of
from intima.store.tables import batch_items, batches, jobs, slides, units

_NOT_STARTED = ItemError(
    code="not_started", message="This slide has not started.", hint="POST /v1/batches/{id}/retry starts it."
)
_COUNTED_AS = {"validating": "queued", "canceling": "running"}


def add_batch(
    conn: Connection, *, slides: Sequence[str], request: SegmentationRequest, refusals: Mapping[str, ItemError]
) -> str:
    """Store a batch of which nothing has started, with why some slides cannot, and return its id."""
    batch_id = new_id("bat")
    row = {"id": batch_id, "request": request.model_dump(mode="json")}
    conn.execute(insert(batches).values(**row, created_at=t.database_now()))
    errors = {slide: refusal.model_dump(mode="json") for slide, refusal in refusals.items()}
    items = [
        {"batch_id": batch_id, "position": n, "slide": slide, "error": errors.get(slide)}
        for n, slide in enumerate(slides)
    ]
    conn.execute(insert(batch_items), items)
    return batch_id


def set_item(
    conn: Connection,
    batch_id: str,
    slide: str,
    *,
    segmentation: str | None = None,
    job_id: str | None = None,
    error: ItemError | None = None,
) -> None:
    """Write which segmentation and job an item is, or why it is none."""
    item = update(batch_items).where(batch_items.c.batch_id == batch_id, batch_items.c.slide == slide)
    refusal = None if error is None else error.model_dump(mode="json")
    conn.execute(item.values(segmentation=segmentation, job_id=job_id, error=refusal))


def get_request(conn: Connection, batch_id: str) -> SegmentationRequest:
    """Return what every slide of a batch is segmented with. Raises NotFound."""
    return SegmentationRequest.model_validate(_row(conn, batch_id).request)


def read_batch(conn: Connection, batch_id: str) -> BatchView:
    """Return a batch with its slides. Raises NotFound."""
    summary = _summaries(conn, [_row(conn, batch_id)])[0]
    items = tuple(_item(row) for row in _item_rows(conn, batch_id))
    done = sum(1.0 if i.state not in (*OPEN, "canceling") else i.fraction for i in items)
    whole = {name: getattr(summary, name) for name in BatchSummary.model_fields}
    return BatchView(**whole, fraction=done / len(items), items=items)


def list_batches(conn: Connection, *, page_size: int = 50, page_token: str = "") -> Page[BatchSummary]:
    """Return batches, newest first. Raises Invalid for a bad page."""
    page = page_of(conn, batches, page_size=page_size, page_token=page_token)
    return Page(tuple(_summaries(conn, page.items)), page.next_page_token)


def _row(conn: Connection, batch_id: str) -> Row[Any]:
    row = conn.execute(select(batches).where(batches.c.id == batch_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no batch {batch_id[:80]!r}.", code="batch_not_found")
    return row


def _summaries(conn: Connection, rows: Sequence[Row[Any]]) -> list[BatchSummary]:
    state = func.coalesce(jobs.c.state, "refused").label("state")
    query = select(batch_items.c.batch_id, state, func.count().label("n")).outerjoin(
        jobs, jobs.c.id == batch_items.c.job_id
    )
    query = query.where(batch_items.c.batch_id.in_([r.id for r in rows])).group_by(batch_items.c.batch_id, state)
    counts: dict[str, dict[str, int]] = {row.id: {} for row in rows}
    for row in conn.execute(query).all():
        mine, name = counts[row.batch_id], _COUNTED_AS.get(row.state, row.state)
        mine[name] = mine.get(name, 0) + row.n
    return [_summary(row, BatchCounts(**counts[row.id])) for row in rows]


def _summary(row: Row[Any], counts: BatchCounts) -> BatchSummary:
    return BatchSummary(
        id=row.id,
        state=counts.state,
        counts=counts,
        segmentation=SegmentationRequest.model_validate(row.request),
        created_at=rfc3339(row.created_at),
    )


def _item_rows(conn: Connection, batch_id: str) -> Sequence[Row[Any]]:
    columns = (
        batch_items,
        slides.c.name,
        jobs.c.state,
        jobs.c.error_code,
        jobs.c.error_message,
        func.coalesce(units.c.fraction, 0.0).label("fraction"),
    )
    joined = batch_items.outerjoin(slides, slides.c.id == batch_items.c.slide)
    joined = joined.outerjoin(jobs, jobs.c.id == batch_items.c.job_id)
    joined = joined.outerjoin(units, (units.c.job_id == jobs.c.id) & (units.c.position == 0))
    query = select(*columns).select_from(joined).where(batch_items.c.batch_id == batch_id)
    return conn.execute(query.order_by(batch_items.c.position)).all()


def _item(row: Row[Any]) -> BatchItem:
    error = None if row.error is None else ItemError.model_validate(row.error)
    if row.job_id is None and error is None:
        error = _NOT_STARTED
    if row.error_code is not None:
        error = ItemError(code=row.error_code, message=row.error_message)
    return BatchItem(
        slide=row.slide,
        slide_name=row.name,
        segmentation=row.segmentation,
        job=row.job_id,
        state=row.state or "refused",
        fraction=1.0 if row.state == "succeeded" else row.fraction,
        error=error,
    )
