"""Say what a segmentation would take before it runs."""

from intima.contracts.segmentation import SegmentationCost, SegmentationRequest
from intima.costs import past_run, segmentation_cost
from intima.framing import plan_frame
from intima.segmentation import passes_of
from intima.store import catalog, models
from intima.store.findings import page_findings
from services.api.dependencies import State
from services.api.segmenting import is_known, plan_request

_PAST = 20


def estimate_cost(state: State, *, slide_id: str, request: SegmentationRequest) -> SegmentationCost:
    """Say what a segmentation would take, and start nothing.

    Raises:
        NotFound: no such slide or model.
        Invalid, Conflict: what starting it would refuse.
    """
    with state.storage.reading() as connection:
        slide, model = catalog.get_slide(connection, slide_id), models.get_model(connection, request.model)
        payload = plan_request(connection, state, slide_id=slide_id, request=request)
        known = catalog.find_segmentation(connection, payload.segmentation)
        findings = page_findings(connection, model=model.ref, page_size=_PAST).items
        done = known is not None and not request.force and is_known(connection, state.storage, known.job_id)
    wanted = (payload.precision, payload.provider, None)
    alike = [f for f in findings if (f.payload.precision, f.payload.provider, f.payload.correction) == wanted]
    runs = [past_run(f.payload, f.result, members=len(model.card.members)) for f in alike]
    cost = segmentation_cost(
        plan_frame(slide.info, card=model.card, mpp=slide.mpp, region=request.region),
        model.card,
        sampler=payload.uncertainty.sampler,
        passes=len(passes_of(model.card, request.uncertainty)[1]),
        precision=payload.precision,
        past=[run for run in runs if run is not None],
    )
    return cost.model_copy(update={"known": payload.segmentation if done else None})
