"""Start, retry and cancel batches: what cannot start is refused by itself, and the rest goes on."""

from pydantic import BaseModel

from intima.contracts.batch import BatchItem, BatchRequest, BatchView, ItemError
from intima.contracts.segmentation import SegmentationRequest
from intima.errors import ErrorPlace, IntimaError, Invalid
from intima.store import batches, ledger, models
from intima.store.keys import contract_sha256
from services.api.dependencies import State, Transaction, once, send_ready
from services.api.segmenting import Queued, find_or_create

_ROUTE = "create_batch"
_SHOWN = 20
_AGAIN = frozenset({"refused", "failed", "canceled"})
_UNDER_WAY = frozenset({"queued", "validating", "running"})


class Created(BaseModel):
    """A batch that was stored."""

    id: str


def create_batch(state: State, body: BatchRequest, *, idempotency_key: str | None) -> BatchView:
    """Start the segmentation of every slide that can be segmented, and say of each other why it cannot.

    Raises:
        NotFound: no such model.
        Invalid: no slide at all can be segmented so; nothing is stored.
        Conflict: the idempotency key was used for another body.
    """
    with state.storage.writing() as connection:
        created = once(
            connection,
            lambda: _create(connection, state, body),
            key=idempotency_key,
            route=_ROUTE,
            body_sha256=contract_sha256(body),
            kind=Created,
        )
        view = batches.read_batch(connection, created.id)
    send_ready(state)
    return view


def _create(connection: Transaction, state: State, body: BatchRequest) -> Created:
    model = models.get_model(connection, body.segmentation.model)
    request = body.segmentation.model_copy(update={"model": model.ref})
    batch_id = batches.add_batch(connection, slides=body.slides, request=request)
    refusals = [_start(connection, state, batch_id, s, request, place=n) for n, s in enumerate(body.slides)]
    if all(refusals):
        places = [ErrorPlace(f"/slides/{n}", r.message, r.hint) for n, r in enumerate(refusals[:_SHOWN]) if r]
        raise Invalid("None of these slides can be segmented so.", code="nothing_to_segment", places=places)
    return Created(id=batch_id)


def _start(
    connection: Transaction, state: State, batch_id: str, slide: str, request: SegmentationRequest, *, place: int
) -> ItemError | None:
    """Start one slide of a batch, and return why that cannot be, or null."""
    try:
        started = find_or_create(connection, state, slide_id=slide, request=request, queued=Queued(batch_id, place))
    except IntimaError as error:
        refusal = ItemError(code=error.code, message=error.message, hint=error.hint)
        batches.set_item(connection, batch_id, slide, error=refusal)
        return refusal
    batches.set_item(connection, batch_id, slide, segmentation=started.id, job_id=started.job)
    return None


def retry_batch(state: State, batch_id: str) -> BatchView:
    """Start again what was refused, failed or was canceled; what is done or under way stays. Raises NotFound."""
    with state.storage.reading() as connection:
        request = batches.get_request(connection, batch_id)
        again = [i.slide for i in batches.read_batch(connection, batch_id).items if i.state in _AGAIN]
    for place, slide in enumerate(again):
        with state.storage.writing() as connection:
            _start(connection, state, batch_id, slide, request, place=place)
    send_ready(state)
    return read_batch(state, batch_id)


def cancel_batch(state: State, batch_id: str) -> BatchView:
    """Cancel what waits or runs and nobody else has asked for. Raises NotFound."""
    for item in read_batch(state, batch_id).items:
        if item.job is not None and _is_under_way(item):
            with state.storage.writing() as connection:
                ledger.cancel_if_alone(connection, item.job)
    return read_batch(state, batch_id)


def _is_under_way(item: BatchItem) -> bool:
    return item.state in _UNDER_WAY


def read_batch(state: State, batch_id: str) -> BatchView:
    """Return a batch as it is now. Raises NotFound."""
    with state.storage.reading() as connection:
        return batches.read_batch(connection, batch_id)
