"""Versions of a mask: which corrections a segmentation has; all in the caller's transaction."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from intima.contracts.segmentation import Correction
from intima.errors import Conflict
from intima.store import ledger
from intima.store import tables as t
from intima.store.catalog import StoredSegmentation, get_segmentation, stored_segmentation
from intima.store.paging import Page, page_of

GONE = frozenset({"failed", "canceled"})
"""States of the job of a correction that has come to nothing."""
_PAGE = 20


@dataclass(frozen=True, slots=True)
class Versions:
    """A segmentation of a model, and the newest mask that was made of it."""

    parent: StoredSegmentation
    newest: StoredSegmentation
    """A correction that has not failed, or the parent."""
    highest: int
    """Number of the last correction, also of one that failed; 0 before the first."""


def get_versions(conn: Connection, segmentation_id: str) -> Versions:
    """Return the versions that a segmentation or a correction belongs to. Raises NotFound."""
    found = get_segmentation(conn, segmentation_id)
    made = found.payload.correction
    parent = found if made is None else get_segmentation(conn, made.parent)
    highest = select(func.max(t.segmentations.c.number)).where(t.segmentations.c.parent == parent.id)
    alive = (c for c in _newest_first(conn, parent.id) if ledger.read_job(conn, c.job_id).state not in GONE)
    return Versions(parent, next(alive, parent), conn.execute(highest).scalar() or 0)


def list_corrections(
    conn: Connection, parent_id: str, *, page_size: int = 50, page_token: str = ""
) -> Page[StoredSegmentation]:
    """Return the corrections of a segmentation, newest first. Raises Invalid for a bad page."""
    mine = [t.segmentations.c.parent == parent_id]
    page = page_of(conn, t.segmentations, page_size=page_size, page_token=page_token, where=mine)
    return page.map(stored_segmentation)


def refuse_outdated(versions: Versions, correction: Correction) -> None:
    """Raise Conflict where a correction does not start from the newest version."""
    newest = versions.newest
    if correction.base == newest.id:
        return
    made = newest.payload.correction
    who = "the model's own mask" if made is None else f"version {made.number} by {made.author_name or made.author}"
    raise Conflict(
        f"The newest version is {newest.id} ({who}), and this correction starts from {correction.base[:80]!r}.",
        code="correction_outdated",
        hint=f"Look at /v1/segmentations/{newest.id}, put your changes on top of it, and send base={newest.id}.",
        pointer="/base",
    )


def _newest_first(conn: Connection, parent_id: str) -> Iterator[StoredSegmentation]:
    token = ""
    while True:
        page = list_corrections(conn, parent_id, page_size=_PAGE, page_token=token)
        yield from page.items
        token = page.next_page_token
        if not token:
            return
