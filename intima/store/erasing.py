"""Forget a slide and all that was made of it; its bytes go when they are collected."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, select, update

from intima.contracts.batch import ItemError
from intima.errors import Conflict, NotFound
from intima.store.tables import batch_items, events, jobs, segmentations, slides, unit_needs, units

_DONE = ("succeeded", "failed", "canceled")
_ERASED = ItemError(
    code="slide_deleted", message="The slide, or the one this was done for, was deleted.", hint="Upload it again."
)


def erase_slide(conn: Connection, slide_id: str) -> None:
    """Remove a slide, its segmentations, their jobs and what batches say of them.

    Slides of the same content stay; what they shared of its segmentations is made again when it is asked for.

    Raises:
        NotFound: there is no such slide.
        Conflict: one of its segmentations is being made.
    """
    if conn.execute(select(slides.c.id).where(slides.c.id == slide_id).with_for_update()).one_or_none() is None:
        raise NotFound(f"There is no slide {slide_id[:80]!r}.", code="slide_not_found")
    found = conn.execute(select(segmentations.c.id).where(segmentations.c.slide == slide_id)).scalars().all()
    made = _jobs_of(conn, found)
    open_ones = [job for job, state in made if state not in _DONE]
    if open_ones:
        raise Conflict(
            f"The slide is being segmented by job {open_ones[0]}.",
            code="slide_in_use",
            hint=f"Wait for it, or cancel it: POST /v1/jobs/{open_ones[0]}/cancel.",
        )
    ids = [job for job, _ in made]
    _clear_items(conn, (batch_items.c.slide == slide_id) | batch_items.c.job_id.in_(ids))
    for table in (unit_needs, events, units):
        conn.execute(delete(table).where(table.c.job_id.in_(ids)))
    conn.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    conn.execute(delete(segmentations).where(segmentations.c.id.in_(found)))
    conn.execute(delete(slides).where(slides.c.id == slide_id))


def _jobs_of(conn: Connection, segmentation_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Return all jobs, earlier ones too, that made these segmentations; locked against being taken up again."""
    made = select(jobs.c.id, jobs.c.state).where(jobs.c.kind == "segmentation")
    mine = jobs.c.payload["segmentation"].as_string().in_(segmentation_ids)
    return [(row.id, row.state) for row in conn.execute(made.where(mine).order_by(jobs.c.id).with_for_update())]


def _clear_items(conn: Connection, which: ColumnElement[bool]) -> None:
    error = _ERASED.model_dump(mode="json")
    conn.execute(update(batch_items).where(which).values(segmentation=None, job_id=None, error=error))
