"""Segmentations over gRPC: upload and segment in one call, or start, watch and fetch what is stored."""

import queue
import threading
import time
from collections.abc import Generator, Iterator

import grpc
from pydantic import Field

from intima.contracts._base import Contract
from intima.contracts.dataset import Name, PixelSize
from intima.contracts.job import JobView
from intima.contracts.segmentation import Artefact, PrecisionWish, SegmentationRequest, UncertaintySpec
from intima.errors import Invalid
from intima.registry import DEFAULT_MODEL
from intima.store import ledger
from intima.store.catalog import StoredSlide
from intima.store.incoming import Incoming
from services.api.dependencies import State
from services.api.results import find_artefact, read_segmentation
from services.api.rpc.streams import incoming, one_stream
from services.api.segmenting import (
    FINAL,
    Caller,
    Started,
    refuse_unfinished,
    segment_in_request,
    start_segmentation,
    store_slide,
    why_too_large,
)
from services.api.uploads import as_spooled
from services.rpc import refusals
from services.wire.convert import to_contract, to_message
from services.wire.v1 import segmentation_pb2 as pb
from services.wire.v1 import segmentation_pb2_grpc as pb_grpc

CHUNK_BYTES = 2**20
POLL_S = 0.25
MASK = "mask.png"


class SegmentHeader(Contract):
    """What comes before the bytes of an image."""

    name: str = Field(default="upload", max_length=1000)
    mpp: PixelSize | None = None
    model: Name = DEFAULT_MODEL
    uncertainty: UncertaintySpec = UncertaintySpec()
    precision: PrecisionWish = "auto"
    subject: str | None = Field(default=None, max_length=200)
    artefacts: tuple[Name, ...] = Field(default=(), max_length=32)

    @property
    def request(self) -> SegmentationRequest:
        """The same as the body of a REST request."""
        return SegmentationRequest(model=self.model, uncertainty=self.uncertainty, precision=self.precision)


class SegmentationDoor(pb_grpc.SegmentationServiceServicer):
    """Translate calls to use cases."""

    def __init__(self, state: State, streams: threading.BoundedSemaphore) -> None:
        self._state = state
        self._streams = streams

    def Segment(  # noqa: N802
        self, request_iterator: Iterator[pb.SegmentChunk], context: grpc.ServicerContext
    ) -> Iterator[pb.SegmentEvent]:
        """POST /v1/segment, or a job where the image is too large for that; a caller who leaves cancels it."""
        with refusals(context), one_stream(self._streams):
            header, slide = self._received(request_iterator)
            yield pb.SegmentEvent(slide=_slide_message(slide))
            if why_too_large(self._state, slide, header.request):
                events = self._as_job(slide, header.request, context)
            else:
                events = self._here(slide, header.request, context)
            segmentation = yield from events
            if segmentation is None:
                return
            yield from self._results(segmentation, header.artefacts or (MASK,))

    def StartSegmentation(  # noqa: N802
        self, request: pb.StartSegmentationRequest, context: grpc.ServicerContext
    ) -> pb.StartedSegmentation:
        """POST /v1/slides/{slide}/segmentations."""
        key = dict(context.invocation_metadata() or ()).get("idempotency-key")
        with refusals(context):
            if key is not None and len(key) > 255:
                raise Invalid("An idempotency key has at most 255 characters.", code="bad_idempotency_key")
            wanted = to_contract(request.request, SegmentationRequest)
            started = start_segmentation(self._state, slide_id=request.slide, request=wanted, idempotency_key=key)
            return to_message(started, pb.StartedSegmentation)

    def GetSegmentation(  # noqa: N802
        self, request: pb.SegmentationRef, context: grpc.ServicerContext
    ) -> pb.Segmentation:
        """GET /v1/segmentations/{id}."""
        with refusals(context):
            return to_message(read_segmentation(self._state, request.id), pb.Segmentation)

    def WatchSegmentation(  # noqa: N802
        self, request: pb.SegmentationRef, context: grpc.ServicerContext
    ) -> Iterator[pb.SegmentEvent]:
        """Progress until the job has ended, then the result; who watches has asked for it too."""
        with refusals(context), one_stream(self._streams):
            view = read_segmentation(self._state, request.id)
            if view.state not in FINAL:
                with self._state.storage.writing() as connection:
                    ledger.join_job(connection, view.job)
            done = yield from self._watch(request.id, view.job, context)
            if done:
                yield from self._results(request.id, ())

    def FetchArtefact(  # noqa: N802
        self, request: pb.ArtefactRef, context: grpc.ServicerContext
    ) -> Iterator[pb.ArtefactChunk]:
        """GET /v1/segmentations/{segmentation}/artefacts/{name}."""
        with refusals(context), one_stream(self._streams):
            with self._state.storage.reading() as connection:
                found = find_artefact(connection, request.segmentation, request.name)
            yield from self._chunks(found)

    def _received(self, chunks: Iterator[pb.SegmentChunk]) -> tuple[SegmentHeader, StoredSlide]:
        messages = incoming(chunks, silence_s=self._state.settings.silence_s)
        first = next(messages, None)
        if first is None or first.WhichOneof("part") != "header":
            raise Invalid("The first message must be a header.", code="missing_header", pointer="/header")
        header = to_contract(first.header, SegmentHeader)
        with self._state.storage.blobs.receiving() as file:
            _write(messages, file, most_bytes=self._state.settings.max_upload_bytes)
            upload = as_spooled(file, header.name, pointer="/data")
            return header, store_slide(self._state, upload, mpp=header.mpp, subject=header.subject)

    def _here(
        self, slide: StoredSlide, request: SegmentationRequest, context: grpc.ServicerContext
    ) -> Generator[pb.SegmentEvent, None, str | None]:
        """Segment in a thread beside this call and yield how far it is; returns the id of the segmentation."""
        work = _Work(self._state, slide, request, context)
        try:
            yield from work.events()
        finally:
            work.thread.join()
        return work.segmentation()

    def _as_job(
        self, slide: StoredSlide, request: SegmentationRequest, context: grpc.ServicerContext
    ) -> Generator[pb.SegmentEvent, None, str | None]:
        """Put a job in the queue and watch it; returns the id of the segmentation, null where the caller left."""
        started = start_segmentation(self._state, slide_id=slide.id, request=request, idempotency_key=None)
        done = False
        try:
            done = yield from self._watch(started.id, started.job, context)
        finally:
            if not done and not self._state.stopping.is_set():
                with self._state.storage.writing() as connection:
                    ledger.cancel_if_alone(connection, started.job)
        return started.id if done else None

    def _watch(
        self, segmentation: str, job: str, context: grpc.ServicerContext
    ) -> Generator[pb.SegmentEvent, None, bool]:
        """Yield progress as it changes; returns whether the job succeeded, False where the caller left before."""
        shown = None
        while context.is_active():
            with self._state.storage.reading() as connection:
                view = ledger.read_job(connection, job)
            progress = _progress(segmentation, view)
            if progress != shown:
                shown = progress
                yield pb.SegmentEvent(progress=progress)
            if view.state in FINAL:
                if view.state != "succeeded":
                    refuse_unfinished(view)
                return True
            time.sleep(POLL_S)
        return False

    def _results(self, segmentation: str, names: tuple[str, ...]) -> Iterator[pb.SegmentEvent]:
        view = read_segmentation(self._state, segmentation)
        yield pb.SegmentEvent(result=to_message(view, pb.Segmentation))
        with self._state.storage.reading() as connection:
            found = [find_artefact(connection, segmentation, name) for name in names]
        for artefact in found:
            for chunk in self._chunks(artefact):
                yield pb.SegmentEvent(artefact=chunk)

    def _chunks(self, artefact: Artefact) -> Iterator[pb.ArtefactChunk]:
        offset = 0
        with self._state.storage.blobs.path(artefact.sha256).open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                yield pb.ArtefactChunk(
                    name=artefact.name, sha256=artefact.sha256, bytes=artefact.bytes, offset=offset, data=data
                )
                offset += len(data)


class _Work:
    """A segmentation inside a call: a thread that does it, and what it says while it does."""

    def __init__(
        self, state: State, slide: StoredSlide, request: SegmentationRequest, context: grpc.ServicerContext
    ) -> None:
        self._events: queue.SimpleQueue[pb.SegmentEvent | None] = queue.SimpleQueue()
        self._started: Started | None = None
        self._found: str | None = None
        self._error: Exception | None = None
        self._caller = Caller(began=self._begin, told=self._tell, has_left=self._has_left)
        self._context = context
        self._stopping = state.stopping
        self.thread = threading.Thread(target=self._run, args=(state, slide, request), name="intima-rpc-segment")
        self.thread.start()

    def events(self) -> Iterator[pb.SegmentEvent]:
        """Yield progress until the work has ended, well or not."""
        while (event := self._events.get()) is not None:
            yield event

    def segmentation(self) -> str | None:
        """Return the id of the segmentation; raises what ended the work."""
        if self._error is not None:
            raise self._error
        return self._found

    def _run(self, state: State, slide: StoredSlide, request: SegmentationRequest) -> None:
        try:
            self._found = segment_in_request(state, slide, request, caller=self._caller)
        except Exception as error:  # noqa: BLE001 - raised again in the thread of the call
            self._error = error
        finally:
            self._events.put(None)

    def _has_left(self) -> bool:
        return not self._stopping.is_set() and not self._context.is_active()

    def _begin(self, started: Started) -> None:
        self._started = started
        progress = pb.SegmentationProgress(segmentation=started.id, job=started.job, state=started.state)
        self._events.put(pb.SegmentEvent(progress=progress))

    def _tell(self, fraction: float, message: str) -> None:
        assert self._started is not None
        progress = pb.SegmentationProgress(
            segmentation=self._started.id, job=self._started.job, state="running", fraction=fraction, message=message
        )
        self._events.put(pb.SegmentEvent(progress=progress))


def _write(messages: Iterator[pb.SegmentChunk], incoming: Incoming, *, most_bytes: int) -> None:
    """Write the bytes of a stream, each message as it comes."""
    for message in messages:
        if message.WhichOneof("part") != "data":
            raise Invalid("Got a second header, or an empty message; need data.", code="bad_chunk")
        if incoming.size + len(message.data) > most_bytes:
            raise Invalid(f"The file is larger than {most_bytes} bytes.", code="too_large")
        incoming.write([message.data])


def _slide_message(slide: StoredSlide) -> pb.StoredSlide:
    return pb.StoredSlide(
        id=slide.id,
        sha256=slide.sha256,
        name=slide.name,
        format=slide.info.format,
        width=slide.info.width,
        height=slide.info.height,
        mpp=slide.mpp if slide.mpp is not None else slide.info.mpp,
    )


def _progress(segmentation: str, job: JobView) -> pb.SegmentationProgress:
    return pb.SegmentationProgress(
        segmentation=segmentation, job=job.id, state=job.state, fraction=_fraction(job), message=job.progress.message
    )


def _fraction(job: JobView) -> float:
    return job.progress.done / max(1, job.progress.total)
