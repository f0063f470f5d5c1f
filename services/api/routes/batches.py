"""Batches: many slides segmented alike."""

from typing import Annotated

from fastapi import APIRouter, Header, Response, status
from pydantic import BaseModel

from intima.contracts.batch import BatchRequest, BatchSummary, BatchView
from intima.store import batches
from services.api.batches import cancel_batch, create_batch, retry_batch
from services.api.dependencies import ReadDep, StateDep
from services.api.routes.paging import PageSize, PageToken

router = APIRouter(prefix="/v1/batches", tags=["batches"])


class BatchPage(BaseModel):
    """One page of batches."""

    items: list[BatchSummary]
    next_page_token: str


@router.post("", operation_id="create_batch", status_code=status.HTTP_202_ACCEPTED)
def start(
    body: BatchRequest,
    state: StateDep,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> BatchView:
    """Segment up to 500 stored slides alike.

    A slide that cannot be segmented (none of this id, no pixel size, its bytes gone) is refused by itself, with the
    reason, and the rest goes on; where none can be, nothing starts. What was segmented so before is not done again.
    Batches take turns with each other and with single slides.
    """
    view = create_batch(state, body, idempotency_key=idempotency_key)
    response.headers["Location"] = f"/v1/batches/{view.id}"
    response.headers["Retry-After"] = "2"
    return view


@router.get("", operation_id="list_batches")
def list_all(connection: ReadDep, page_size: PageSize = 50, page_token: PageToken = "") -> BatchPage:
    """List batches, newest first, without their slides."""
    page = batches.list_batches(connection, page_size=page_size, page_token=page_token)
    return BatchPage(items=list(page.items), next_page_token=page.next_page_token)


@router.get("/{batch_id}", operation_id="get_batch")
def get(batch_id: str, connection: ReadDep) -> BatchView:
    """Return a batch with the state of every slide. Its measures are at /v1/measures.csv?batch={id}."""
    return batches.read_batch(connection, batch_id)


@router.post("/{batch_id}/retry", operation_id="retry_batch", status_code=status.HTTP_202_ACCEPTED)
def retry(batch_id: str, state: StateDep) -> BatchView:
    """Start again the slides that were refused, failed or were canceled; the rest stays as it is."""
    return retry_batch(state, batch_id)


@router.post("/{batch_id}/cancel", operation_id="cancel_batch", status_code=status.HTTP_202_ACCEPTED)
def cancel(batch_id: str, state: StateDep) -> BatchView:
    """Cancel what waits or runs; a segmentation that somebody else has asked for too goes on."""
    return cancel_batch(state, batch_id)
