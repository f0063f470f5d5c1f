"""Start segmentations: reuse what exists, put the rest on the ledger, or run a small one inside the request."""

import time

from pydantic import BaseModel

from intima.arrays import Json
from intima.contracts.benchmark import UnitPlan
from intima.contracts.job import JobState, JobView
from intima.contracts.segmentation import SegmentationRequest, SegmentationResult, SegmentPayload
from intima.errors import Conflict, IntimaError, Invalid, Unavailable
from intima.framing import plan_frame
from intima.segmentation import passes_of, plan_segmentation, segment_slide
from intima.slides.isolation import decode_image_isolated
from intima.slides.memory import slide_from_image
from intima.store import catalog, ledger, models
from intima.store.catalog import StoredSlide
from intima.store.keys import contract_sha256
from intima.store.ledger import Claim
from intima.store.storage import Storage
from intima.store.work import Report
from services.api.dependencies import State, Transaction, once, send_ready
from services.api.settings import Settings
from services.runner import identity

UNIT = "segment"
_REUSABLE = {"queued", "validating", "running", "succeeded"}


def result_url(segmentation_id: str) -> str:
    """Return where a segmentation is read; its jobs name it as their result."""
    return f"/v1/segmentations/{segmentation_id}"


class Started(BaseModel):
    """A segmentation and the job that makes it."""

    id: str
    """The segmentation: GET /v1/segmentations/{id}."""
    job: str
    """The job: GET /v1/jobs/{job}."""
    state: JobState


def start_segmentation(
    state: State, *, slide_id: str, request: SegmentationRequest, idempotency_key: str | None
) -> Started:
    """Return the segmentation of this slide, model and parameters, starting it where nobody has.

    Raises:
        NotFound: no such slide or model.
        Invalid: no pixel size where the model needs one, an impossible sampler, a region outside the slide.
        Conflict: the idempotency key was used for another body.
    """
    with state.storage.writing() as connection:
        started = once(
            connection,
            lambda: find_or_create(connection, state.storage, slide_id=slide_id, request=request),
            key=idempotency_key,
            route=f"create_segmentation/{slide_id}",
            body_sha256=contract_sha256(request),
            kind=Started,
        )
        started = started_now(connection, started)
    send_ready(state)
    return started


def find_or_create(
    connection: Transaction, storage: Storage, *, slide_id: str, request: SegmentationRequest
) -> Started:
    """Return the running or finished segmentation of this identity, or a new one in the queue."""
    slide = catalog.get_slide(connection, slide_id)
    if not storage.blobs.exists(slide.sha256):
        raise Conflict("The bytes of this slide are gone.", code="blob_missing", hint="Upload the file again.")
    payload = plan_segmentation(slide, models.get_model(connection, request.model), request)
    known = catalog.find_segmentation(connection, payload.segmentation)
    if known is not None and not request.force:
        view = ledger.read_job(connection, known.job_id)
        if view.state in _REUSABLE and _is_whole(connection, storage, view):
            return Started(id=known.id, job=known.job_id, state=view.state)
    return _create(connection, payload)


def _is_whole(connection: Transaction, storage: Storage, job: JobView) -> bool:
    """Tell whether every file of a finished segmentation is still there; one that is not finished is."""
    if job.state != "succeeded":
        return True
    result = SegmentationResult.model_validate(ledger.results_of(connection, job.id, [UNIT])[UNIT])
    return all(storage.blobs.exists(a.sha256) for a in result.artefacts)


def _create(connection: Transaction, payload: SegmentPayload) -> Started:
    body = payload.model_dump(mode="json")
    unit = UnitPlan(key=UNIT, kind="segment", queue="inference", payload=body)
    job_id = ledger.create_job(
        connection,
        kind="segmentation",
        units=[unit],
        payload=body,
        result_url=result_url(payload.segmentation),
    )
    catalog.add_segmentation(
        connection, segmentation_id=payload.segmentation, slide=payload.slide, job_id=job_id, payload=payload
    )
    return Started(id=payload.segmentation, job=job_id, state="queued")


def started_now(connection: Transaction, started: Started) -> Started:
    """Return the same segmentation with its present state."""
    return started.model_copy(update={"state": ledger.read_job(connection, started.job).state})


LEASE_S = 60.0
BEAT_S = 2.0
WAIT_S = 120.0
_FINISHED_POLL_S = 0.2
_FINAL = {"succeeded", "failed", "canceled"}


def segment_in_request(state: State, slide: StoredSlide, request: SegmentationRequest) -> str:
    """Segment a small image here and now, and return the id of the finished segmentation.

    The work is a unit of the ledger like any other, claimed by this request in the transaction that creates it.

    Raises:
        Invalid: the image or the request cannot be used.
        Unavailable: somebody else works on the same segmentation and is not done in time.
    """
    with state.storage.reading() as connection:
        _refuse_large(connection, state.settings, slide=slide, request=request)
    with state.slots:
        with state.storage.writing() as connection:
            started = find_or_create(connection, state.storage, slide_id=slide.id, request=request)
            claim = _claim(connection, started.job) if started.state == "queued" else None
        if claim is not None:
            _run(state, slide, claim)
    if started.state != "succeeded":
        _wait(state, started.job)
    return started.id


def _refuse_large(
    connection: Transaction, settings: Settings, *, slide: StoredSlide, request: SegmentationRequest
) -> None:
    """Raise Invalid for an image or an amount of work that no request should wait for."""
    card = models.get_model(connection, request.model).card
    frame = plan_frame(slide.info, card=card, mpp=slide.mpp, region=request.region)
    passes = len(passes_of(card, request.uncertainty)[1])
    if (
        frame.native.pixels > settings.max_image_pixels
        or frame.window.size.pixels * passes > settings.max_request_work_px
    ):
        raise Invalid(
            f"Got {frame.native.pixels} pixels, {frame.window.size.pixels} at the model's resolution in {passes} "
            "passes: too much to answer in the request.",
            code="image_too_large",
            hint=f"The slide is stored: POST /v1/slides/{slide.id}/segmentations runs it as a job.",
            pointer="/file",
        )


def _claim(connection: Transaction, job_id: str) -> Claim | None:
    refs = ledger.take_unsent(connection, job_id)
    return ledger.claim_unit(connection, refs[0].unit_id, owner=identity(), lease_s=LEASE_S) if refs else None


def _run(state: State, slide: StoredSlide, claim: Claim) -> None:
    """Do the claimed unit and write how it ended; a unit that was canceled or lost is left to who holds it."""
    try:
        result = _segment(state, slide, claim)
    except _Stopped:
        return
    except IntimaError as error:
        _fail(state, claim, code=error.code, message=error.message)
        raise
    except Exception as error:  # the task wrapper: whatever it was, the unit must not stay running
        _fail(state, claim, code="defect", message=f"{type(error).__name__}: {error}")
        raise
    with state.storage.writing() as connection:
        ledger.publish(connection, claim, result=result)


class _Stopped(Exception):
    """The claim holds no more, or the job is being canceled."""


def _fail(state: State, claim: Claim, *, code: str, message: str) -> None:
    with state.storage.writing() as connection:
        ledger.fail_attempt(connection, claim, code=code, message=message, retryable=False)


def _segment(state: State, slide: StoredSlide, claim: Claim) -> Json:
    payload = SegmentPayload.model_validate(claim.payload)
    path = state.storage.blobs.path(slide.sha256)
    image = decode_image_isolated(path, name=slide.name, max_pixels=state.settings.max_image_pixels)
    result = segment_slide(
        slide_from_image(image, slide.info),
        state.storage,
        payload=payload,
        model=state.models.get(payload.model, precision=payload.precision),
        report=_beater(state, claim),
    )
    return result.model_dump(mode="json", by_alias=True)


def _beater(state: State, claim: Claim) -> Report:
    """Return a report that keeps the claim alive and stops the work when the job is canceled."""
    last = time.monotonic()

    def report(fraction: float, message: str) -> None:
        nonlocal last
        if time.monotonic() - last < BEAT_S:
            return
        last = time.monotonic()
        with state.storage.writing() as connection:
            answer = ledger.heartbeat(connection, claim, lease_s=LEASE_S, fraction=fraction, message=message)
        if answer == "cancel":
            _fail(state, claim, code="canceled", message="canceled while it ran")
        if answer != "go_on":
            raise _Stopped

    return report


def _wait(state: State, job_id: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with state.storage.reading() as connection:
            job = ledger.read_job(connection, job_id)
        if job.state == "succeeded":
            return
        if job.state in _FINAL:
            why = job.error.message if job.error is not None else f"it was {job.state}"
            raise Conflict(
                f"The segmentation did not finish: {why}",
                code="segmentation_failed" if job.state == "failed" else "canceled",
                hint=f"See /v1/jobs/{job_id}; POST /v1/jobs/{job_id}/retry tries again.",
            )
        time.sleep(_FINISHED_POLL_S)
    raise Unavailable("The same segmentation is still running elsewhere.", hint=f"Watch /v1/jobs/{job_id}.")
