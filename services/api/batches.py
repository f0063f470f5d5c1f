"""Start, retry and cancel batches: what cannot start is refused by itself, and the rest goes on."""

from collections.abc import Sequence

from pydantic import BaseModel

from intima.contracts.batch import BatchRequest, BatchView, ItemError
from intima.contracts.job import OPEN
from intima.contracts.segmentation import SegmentationRequest
from intima.errors import Conflict, ErrorPlace, IntimaError, Invalid, NotFound
from intima.store import batches, ledger, models
from intima.store.keys import contract_sha256
from services.api.dependencies import State, once, send_ready
from services.api.segmenting import Queued, find_or_create, plan_request

_ROUTE = "create_batch"
_SHOWN = 20
_AGAIN = frozenset({"refused", "failed", "canceled"})
_REFUSALS = (NotFound, Invalid, Conflict)


class Created(BaseModel):
    """A batch that was stored."""

    id: str


def create_batch(state: State, body: BatchRequest, *, idempotency_key: str | None) -> BatchView:
    """Start the segmentation of every slide that can be segmented, and say of each other why it cannot.

    The batch is stored first and its slides then start one by one, each in a transaction of its own: a large batch
    holds no writer up, and locks no two jobs at once. Where the server stops in between, the rest says so, and the same
    request again, or a retry, starts it.

    Raises:
        NotFound: no such model.
        Invalid: no slide at all can be segmented so; nothing is stored.
        Conflict: the idempotency key was used for another body.
    """
    with state.storage.reading() as connection:
        model = models.get_model(connection, body.segmentation.model)
    request = body.segmentation.model_copy(update={"model": model.ref})
    refusals = _refusals(state, body.slides, request)
    if len(refusals) == len(body.slides):
        shown = [(n, refusals[slide]) for n, slide in enumerate(body.slides[:_SHOWN])]
        places = [ErrorPlace(f"/slides/{n}", refusal.message, refusal.hint) for n, refusal in shown]
        raise Invalid("None of these slides can be segmented so.", code="nothing_to_segment", places=places)
    with state.storage.writing() as connection:
        created = once(
            connection,
            lambda: Created(id=batches.add_batch(connection, slides=body.slides, request=request, refusals=refusals)),
            key=idempotency_key,
            route=_ROUTE,
            body_sha256=contract_sha256(body),
            kind=Created,
        )
    view = read_batch(state, created.id)
    _start(state, view, [item.slide for item in view.items if item.job is None and item.slide not in refusals])
    return read_batch(state, created.id)


def _refusals(state: State, slides: Sequence[str], request: SegmentationRequest) -> dict[str, ItemError]:
    """Return why slides cannot be segmented, by slide; those that can are not in it."""
    found = {}
    with state.storage.reading() as connection:
        for slide in slides:
            try:
                plan_request(connection, state, slide_id=slide, request=request)
            except _REFUSALS as error:
                found[slide] = _refusal(error)
    return found


def _refusal(error: IntimaError) -> ItemError:
    return ItemError(code=error.code, message=error.message, hint=error.hint)


def _start(state: State, batch: BatchView, slides: Sequence[str]) -> None:
    """Start slides of a batch in order; what is done already takes no turn."""
    place = 0
    for slide in slides:
        place += _start_one(state, batch, slide, place=place)
    send_ready(state)


def _start_one(state: State, batch: BatchView, slide: str, *, place: int) -> bool:
    """Start a slide, or write why that cannot be; tells whether it waits for its turn now."""
    try:
        with state.storage.writing() as connection:
            queued = Queued(batch.id, place)
            started = find_or_create(connection, state, slide_id=slide, request=batch.segmentation, queued=queued)
            batches.set_item(connection, batch.id, slide, segmentation=started.id, job_id=started.job)
    except _REFUSALS as error:
        with state.storage.writing() as connection:
            batches.set_item(connection, batch.id, slide, error=_refusal(error))
        return False
    return started.state in OPEN


def retry_batch(state: State, batch_id: str) -> BatchView:
    """Start again what was refused, failed or was canceled; what is done or under way stays. Raises NotFound."""
    batch = read_batch(state, batch_id)
    _start(state, batch, [item.slide for item in batch.items if item.state in _AGAIN])
    return read_batch(state, batch_id)


def cancel_batch(state: State, batch_id: str) -> BatchView:
    """Cancel what waits or runs and nobody else has asked for. Raises NotFound."""
    for item in read_batch(state, batch_id).items:
        if item.job is not None and item.state in OPEN:
            with state.storage.writing() as connection:
                ledger.cancel_if_alone(connection, item.job, flow=batch_id)
    return read_batch(state, batch_id)


def read_batch(state: State, batch_id: str) -> BatchView:
    """Return a batch as it is now. Raises NotFound."""
    with state.storage.reading() as connection:
        return batches.read_batch(connection, batch_id)
