"""What finished segmentations found, joined with what they were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, or_, select

from intima.arrays import Json
from intima.contracts.segmentation import SegmentationResult, SegmentPayload
from intima.store.catalog import rfc3339
from intima.store.paging import Page, page_of
from intima.store.tables import batch_items, jobs, segmentations, units

_KINDS = ("segment", "correct")


@dataclass(frozen=True, slots=True)
class Finding:
    """A segmentation that has succeeded, with its newest result."""

    segmentation: str
    payload: SegmentPayload
    result: SegmentationResult
    created_at: str


def page_findings(
    conn: Connection,
    *,
    subject: str | None = None,
    model: str | None = None,
    batch: str | None = None,
    page_size: int,
    page_token: str = "",
) -> Page[Finding]:
    """Return one page of findings, newest first; a page may hold fewer than it could, or none, before the last.

    Args:
        conn: in the caller's transaction.
        subject: only this one; None: all.
        model: only this name@version; None: all.
        batch: only what this batch asked for, and corrections of it; None: all.
        page_size: segmentations that are looked at, finished or not.
        page_token: of the page before.

    Raises:
        Invalid: a bad page.
    """
    payload = segmentations.c.payload
    where: list[ColumnElement[bool]] = []
    if subject is not None:
        where.append(payload["subject"].as_string() == subject)
    if model is not None:
        where.append(payload["model"].as_string() == model)
    if batch is not None:
        asked = select(batch_items.c.segmentation).where(batch_items.c.batch_id == batch)
        asked = asked.where(batch_items.c.segmentation.is_not(None))
        where.append(or_(segmentations.c.id.in_(asked), segmentations.c.parent.in_(asked)))
    page = page_of(conn, segmentations, page_size=page_size, page_token=page_token, where=where)
    results = _results(conn, [row.job_id for row in page.items])
    found = [(row, results.get(row.job_id) or _before(conn, row.id)) for row in page.items]
    return Page(tuple(_finding(row, body) for row, body in found if body is not None), page.next_page_token)


def _results(conn: Connection, job_ids: Sequence[str]) -> dict[str, Json]:
    """Return the results of those of these jobs that succeeded."""
    done = select(units.c.job_id, units.c.result).join(jobs, jobs.c.id == units.c.job_id)
    done = done.where(units.c.job_id.in_(job_ids), units.c.kind.in_(_KINDS), jobs.c.state == "succeeded")
    return {row.job_id: row.result for row in conn.execute(done).all()}


def _before(conn: Connection, segmentation_id: str) -> Json | None:
    """Return what an earlier job of a segmentation that runs again, or failed since, has found."""
    earlier = select(units.c.result).join(jobs, jobs.c.id == units.c.job_id).where(units.c.kind.in_(_KINDS))
    earlier = earlier.where(jobs.c.state == "succeeded", jobs.c.kind == "segmentation")
    earlier = earlier.where(jobs.c.payload["segmentation"].as_string() == segmentation_id)
    found: Json | None = conn.execute(earlier.order_by(jobs.c.finished_at.desc()).limit(1)).scalar()
    return found


def _finding(row: Row[Any], result: Json) -> Finding:
    return Finding(
        segmentation=row.id,
        payload=SegmentPayload.model_validate(row.payload),
        result=SegmentationResult.model_validate(result),
        created_at=rfc3339(row.created_at),
    )
