"""Start segmentations: reuse what exists, put the rest on the ledger, or run a small one inside the request."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from pydantic import BaseModel

from intima.arrays import Json
from intima.contracts.benchmark import UnitPlan
from intima.contracts.job import OPEN, JobState, JobView
from intima.contracts.segmentation import SegmentationRequest, SegmentationResult, SegmentPayload
from intima.errors import Conflict, IntimaError, Invalid, Unavailable
from intima.framing import plan_frame
from intima.segmentation import passes_of, plan_segmentation, segment_slide
from intima.slides.isolation import decode_image_isolated, inspect_isolated
from intima.slides.memory import slide_from_image
from intima.store import catalog, ledger, models
from intima.store.catalog import StoredSlide
from intima.store.keys import contract_sha256
from intima.store.ledger import Claim
from intima.store.storage import Storage
from intima.store.work import Report
from services.api.dependencies import State, Transaction, once, send_ready
from services.api.turns import busy
from services.api.uploads import Spooled
from services.runner import identity
from services.telemetry.attempts import Ending, observing
from services.telemetry.context import current

UNIT = "segment"


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


@dataclass(frozen=True, slots=True)
class Queued:
    """Where a job stands: by itself, or as the nth of a batch."""

    flow: str
    """The batch, or ""."""
    place: int


ALONE = Queued("", 0)


def store_slide(
    state: State, spooled: Spooled, *, mpp: float | None, subject: str | None, slide_id: str | None = None
) -> StoredSlide:
    """Check an upload in a limited child process, keep its bytes, add its row, with this id where one is given."""
    info = inspect_isolated(spooled.path, name=spooled.name)
    sha256 = spooled.keep()
    with state.storage.writing() as connection:
        return catalog.add_slide(
            connection, sha256=sha256, name=spooled.name, info=info, mpp=mpp, subject=subject, slide_id=slide_id
        )


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
            lambda: find_or_create(connection, state, slide_id=slide_id, request=request),
            key=idempotency_key,
            route=f"create_segmentation/{slide_id}",
            body_sha256=contract_sha256(request),
            kind=Started,
        )
        started = started_now(connection, started)
    send_ready(state)
    return started


def is_known(connection: Transaction, storage: Storage, job_id: str) -> bool:
    """Tell whether a job has the result, whole, or is on its way to it."""
    view = ledger.read_job(connection, job_id)
    return view.state in OPEN or (view.state == "succeeded" and _is_whole(connection, storage, view))


def plan_request(
    connection: Transaction, state: State, *, slide_id: str, request: SegmentationRequest
) -> SegmentPayload:
    """Return what a segmentation would be, or raise why it cannot: see ``start_segmentation``."""
    slide = catalog.get_slide(connection, slide_id)
    if not state.storage.blobs.exists(slide.sha256):
        raise Conflict("The bytes of this slide are gone.", code="blob_missing", hint="Upload the file again.")
    settings, model = state.settings, models.get_model(connection, request.model)
    return plan_segmentation(slide, model, request, provider=settings.provider, fallback=settings.provider_fallback)


def find_or_create(
    connection: Transaction, state: State, *, slide_id: str, request: SegmentationRequest, queued: Queued = ALONE
) -> Started:
    """Return the running or finished segmentation of this identity, or a new one in the queue."""
    catalog.hold_slide(connection, slide_id)
    payload = plan_request(connection, state, slide_id=slide_id, request=request)
    catalog.lock_segmentation(connection, payload.segmentation)
    known = catalog.find_segmentation(connection, payload.segmentation)
    if known is not None and not request.force and _is_reusable(connection, state.storage, known.job_id, queued):
        return started_now(connection, Started(id=known.id, job=known.job_id, state="queued"))
    return _create(connection, payload, queued)


def _is_reusable(connection: Transaction, storage: Storage, job_id: str, queued: Queued) -> bool:
    """Tell whether a job has the result, whole, or is on its way to it; one that is will know that it is shared."""
    view = ledger.read_job(connection, job_id)
    if view.state == "succeeded":
        return _is_whole(connection, storage, view)
    return view.state in OPEN and ledger.join_job(connection, job_id, flow=queued.flow, place=queued.place)


def _is_whole(connection: Transaction, storage: Storage, job: JobView) -> bool:
    """Tell whether every file of a finished segmentation is still there."""
    result = SegmentationResult.model_validate(ledger.results_of(connection, job.id, [UNIT])[UNIT])
    return all(storage.blobs.exists(a.sha256) for a in result.artefacts)


def _create(connection: Transaction, payload: SegmentPayload, queued: Queued) -> Started:
    body = payload.model_dump(mode="json")
    unit = UnitPlan(key=UNIT, kind="segment", queue="inference", payload=body)
    job_id = ledger.create_job(
        connection,
        kind="segmentation",
        units=[unit],
        payload=body,
        result_url=result_url(payload.segmentation),
        flow=queued.flow,
        place=queued.place,
        traceparent=current().traceparent,
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
_SLOT_POLL_S = 0.5
FINAL = frozenset({"succeeded", "failed", "canceled"})
"""States in which a job has ended."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who waits for a segmentation inside a request."""

    began: Callable[[Started], None] = lambda _started: None
    """Told once which segmentation it is, and which job."""
    told: Report = lambda _fraction, _message: None
    """Told how far it is, often, while this process does the work."""
    has_left: Callable[[], bool] = lambda: False
    """Whether nobody waits any more: the job is then canceled where nobody else asked for it, and goes on else."""


_PATIENT = Caller()


def segment_in_request(
    state: State, slide: StoredSlide, request: SegmentationRequest, *, caller: Caller = _PATIENT
) -> str:
    """Segment a small image here and now, and return the id of the finished segmentation.

    The work is a unit of the ledger like any other, claimed by this request in the transaction that creates it.

    Raises:
        Invalid: the image or the request cannot be used.
        Unavailable: no slot becomes free in time, somebody else works on the same segmentation and is not done in
            time, or the caller left.
    """
    why = why_too_large(state, slide, request)
    if why:
        hint = f"The slide is stored: POST /v1/slides/{slide.id}/segmentations runs it as a job."
        raise Invalid(why, code="image_too_large", hint=hint, pointer="/file")
    with _slot(state, caller):
        with state.storage.writing() as connection:
            started = find_or_create(connection, state, slide_id=slide.id, request=request)
            claim = _claim(connection, started.job) if started.state == "queued" else None
        caller.began(started)
        if claim is not None:
            _run(state, slide, claim, caller)
    if started.state != "succeeded":
        _wait(state, started.job, caller)
    return started.id


@contextmanager
def _slot(state: State, caller: Caller) -> Iterator[None]:
    deadline = time.monotonic() + WAIT_S
    while not state.slots.acquire(timeout=_SLOT_POLL_S):
        _refuse_left(caller)
        if time.monotonic() > deadline:
            raise busy()
    try:
        yield
    finally:
        state.slots.release()


def _refuse_left(caller: Caller) -> None:
    if caller.has_left():
        raise Unavailable("The caller left.", code="caller_left")


def why_too_large(state: State, slide: StoredSlide, request: SegmentationRequest) -> str:
    """Return why no request should wait for this image, or "" where one may."""
    with state.storage.reading() as connection:
        card = models.get_model(connection, request.model).card
    frame = plan_frame(slide.info, card=card, mpp=slide.mpp, region=request.region)
    passes = len(passes_of(card, request.uncertainty)[1])
    work_px = frame.window.size.pixels * passes
    if frame.native.pixels <= state.settings.max_image_pixels and work_px <= state.settings.max_request_work_px:
        return ""
    return (
        f"Got {frame.native.pixels} pixels, {frame.window.size.pixels} at the model's resolution in {passes} passes: "
        "too much to answer in the request."
    )


def _claim(connection: Transaction, job_id: str) -> Claim | None:
    refs = ledger.take_unsent(connection, job_id)
    return ledger.claim_unit(connection, refs[0].unit_id, owner=identity(), lease_s=LEASE_S) if refs else None


def _run(state: State, slide: StoredSlide, claim: Claim, caller: Caller) -> None:
    """Do the claimed unit and write how it ended; a unit that was canceled or lost is left to who holds it."""
    with observing(claim, in_request=True) as ending:
        try:
            result = _segment(state, slide, claim, caller)
        except _Stopped as stopped:
            ending.outcome = stopped.outcome
            return
        except IntimaError as error:
            _fail(state, claim, ending, code=error.code, message=error.message)
            raise
        except Exception as error:  # the task wrapper: whatever it was, the unit must not stay running
            _fail(state, claim, ending, code="defect", message=f"{type(error).__name__}: {error}")
            raise
        with state.storage.writing() as connection:
            if ledger.publish(connection, claim, result=result):
                ending.outcome, ending.result = "done", result


class _Stopped(Exception):
    """The claim holds no more, or the job is being canceled."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def _fail(state: State, claim: Claim, ending: Ending, *, code: str, message: str) -> None:
    with state.storage.writing() as connection:
        ended = ledger.fail_attempt(connection, claim, code=code, message=message, retryable=False)
    ending.outcome, ending.code = ended or "lost", code


def _segment(state: State, slide: StoredSlide, claim: Claim, caller: Caller) -> Json:
    payload = SegmentPayload.model_validate(claim.payload)
    path = state.storage.blobs.path(slide.sha256)
    image = decode_image_isolated(path, name=slide.name, max_pixels=state.settings.max_image_pixels)
    result = segment_slide(
        slide_from_image(image, slide.info),
        state.storage,
        payload=payload,
        model=state.models.get(payload.model, precision=payload.precision),
        report=_beater(state, claim, caller),
    )
    return result.model_dump(mode="json", by_alias=True)


def _beater(state: State, claim: Claim, caller: Caller) -> Report:
    """Return a report that keeps the claim alive and stops the work when the job is canceled."""
    last = time.monotonic()
    may_cancel = True

    def report(fraction: float, message: str) -> None:
        nonlocal last, may_cancel
        caller.told(fraction, message)
        if state.stopping.is_set():
            _give_back(state, claim)
        leaves = may_cancel and caller.has_left()
        if not leaves and time.monotonic() - last < BEAT_S:
            return
        last = time.monotonic()
        with state.storage.writing() as connection:
            if leaves:
                may_cancel = ledger.cancel_if_alone(connection, claim.job_id)
            answer = ledger.heartbeat(connection, claim, lease_s=LEASE_S, fraction=fraction, message=message)
        if answer == "cancel":
            with state.storage.writing() as connection:
                ledger.fail_attempt(
                    connection, claim, code="canceled", message="canceled while it ran", retryable=False
                )
        if answer != "go_on":
            raise _Stopped("canceled" if answer == "cancel" else "lost")

    return report


def _give_back(state: State, claim: Claim) -> NoReturn:
    """Put a unit back untried, since this process is about to end, and stop working on it."""
    with state.storage.writing() as connection:
        ledger.release(connection, claim)
    raise _Stopped("ready")


def _wait(state: State, job_id: str, caller: Caller = _PATIENT) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with state.storage.reading() as connection:
            job = ledger.read_job(connection, job_id)
        if job.state == "succeeded":
            return
        if job.state in FINAL:
            refuse_unfinished(job)
        _refuse_left(caller)
        if state.stopping.is_set():
            raise Unavailable("This server is stopping.", code="stopping", hint=f"The job goes on: /v1/jobs/{job_id}.")
        time.sleep(_FINISHED_POLL_S)
    raise Unavailable("The same segmentation is still running elsewhere.", hint=f"Watch /v1/jobs/{job_id}.")


def refuse_unfinished(job: JobView) -> NoReturn:
    """Raise Conflict for a job that ended without a result, with its reason."""
    why = job.error.message if job.error is not None else f"it was {job.state}"
    raise Conflict(
        f"The segmentation did not finish: {why}",
        code="segmentation_failed" if job.state == "failed" else "canceled",
        hint=f"See /v1/jobs/{job.id}; POST /v1/jobs/{job.id}/retry tries again.",
    )
