"""Segmentations: read, list, fetch artefacts; and small images answered in the request."""

import io
import zipfile
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Header, UploadFile
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from intima.contracts.dataset import PixelSize
from intima.contracts.job import JobError, JobState
from intima.contracts.segmentation import (
    Artefact,
    ClassArea,
    PrecisionWish,
    SegmentationRequest,
    SegmentationResult,
    UncertaintySpec,
    UncertaintySummary,
    VesselMeasures,
)
from intima.errors import Conflict, Invalid, NotFound
from intima.registry import DEFAULT_MODEL
from intima.store import catalog, ledger
from intima.store.catalog import StoredSegmentation
from services.api.dependencies import ReadDep, State, StateDep, Transaction, spool_upload
from services.api.routes.paging import PageSize, PageToken
from services.api.routes.slides import store_slide
from services.api.segmenting import UNIT, result_url, segment_in_request

router = APIRouter(prefix="/v1", tags=["segmentations"])

Sampler = Literal["auto", "ensemble", "tta", "mc_dropout", "none"]


class ArtefactView(Artefact):
    """An artefact and where to fetch it."""

    url: str


class SegmentationView(BaseModel):
    """A segmentation: state, and once done everything it found."""

    id: str
    slide: str
    model: str
    job: str
    state: JobState
    error: JobError | None
    created_at: str
    measures: list[VesselMeasures]
    """Per vessel, largest first; the same as in result."""
    areas: list[ClassArea]
    uncertainty: UncertaintySummary | None
    artefacts: list[ArtefactView]
    timings: dict[str, float]
    """Seconds by stage."""
    provenance: dict[str, object]
    result: SegmentationResult | None
    """Of this job, or of the last one that succeeded while this one runs again; null before the first success."""


class SegmentationPage(BaseModel):
    """One page of segmentations."""

    items: list[SegmentationView]
    next_page_token: str


def segmentation_view(connection: Transaction, stored: StoredSegmentation) -> SegmentationView:
    """Join a segmentation with its job and result."""
    job = ledger.read_job(connection, stored.job_id)
    result = _result(connection, stored)
    return SegmentationView(
        id=stored.id,
        slide=stored.slide,
        model=stored.payload.model,
        job=stored.job_id,
        state=job.state,
        error=job.error,
        created_at=stored.created_at,
        measures=[] if result is None else list(result.vessels),
        areas=[] if result is None else list(result.areas),
        uncertainty=None if result is None else result.uncertainty,
        artefacts=[] if result is None else [_artefact_view(stored.id, a) for a in result.artefacts],
        timings={} if result is None else result.timings_s,
        provenance={} if result is None else result.provenance,
        result=result,
    )


def _result(connection: Transaction, stored: StoredSegmentation) -> SegmentationResult | None:
    job_id = ledger.last_success(connection, result_url(stored.id))
    if job_id is None:
        return None
    return SegmentationResult.model_validate(ledger.results_of(connection, job_id, [UNIT])[UNIT])


def _artefact_view(segmentation_id: str, artefact: Artefact) -> ArtefactView:
    url = f"/v1/segmentations/{segmentation_id}/artefacts/{artefact.name}"
    return ArtefactView(**artefact.model_dump(), url=url)


def find_artefact(connection: Transaction, segmentation_id: str, name: str) -> Artefact:
    """Return one file of a result. Raises NotFound, and Conflict where there is no result yet."""
    stored = catalog.get_segmentation(connection, segmentation_id)
    result = _result(connection, stored)
    if result is None:
        raise Conflict(
            "This segmentation has no result yet.", code="not_ready", hint=f"Watch /v1/jobs/{stored.job_id}."
        )
    artefacts = {a.name: a for a in result.artefacts}
    if name not in artefacts:
        raise NotFound(f"There is no artefact {name[:100]!r}.", hint=f"There are: {', '.join(artefacts)}.")
    return artefacts[name]


@router.get("/segmentations", operation_id="list_segmentations")
def list_segmentations(connection: ReadDep, page_size: PageSize = 50, page_token: PageToken = "") -> SegmentationPage:
    """List segmentations, newest first."""
    page = catalog.list_segmentations(connection, page_size=page_size, page_token=page_token)
    items = [segmentation_view(connection, s) for s in page.items]
    return SegmentationPage(items=items, next_page_token=page.next_page_token)


@router.get("/segmentations/{segmentation_id}", operation_id="get_segmentation")
def get_segmentation(segmentation_id: str, connection: ReadDep) -> SegmentationView:
    """Return a segmentation with measures, artefacts, timings and provenance."""
    return segmentation_view(connection, catalog.get_segmentation(connection, segmentation_id))


@router.get(
    "/segmentations/{segmentation_id}/artefacts/{name}",
    operation_id="get_artefact",
    response_class=FileResponse,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def get_artefact(segmentation_id: str, name: str, connection: ReadDep, state: StateDep) -> FileResponse:
    """Return one file of a result; the ETag is its SHA-256."""
    found = find_artefact(connection, segmentation_id, name)
    return FileResponse(
        state.storage.blobs.path(found.sha256),
        media_type=found.media_type,
        filename=name,
        headers={"ETag": f'"{found.sha256}"'},
        content_disposition_type="inline",
    )


@router.post(
    "/segment",
    operation_id="segment_image",
    response_model=SegmentationView,
    responses={200: {"content": {"image/png": {}, "application/zip": {}}}},
)
async def segment_image(
    *,
    state: StateDep,
    file: Annotated[UploadFile, File()],
    model: Annotated[str, Form(max_length=200)] = DEFAULT_MODEL,
    mpp: Annotated[PixelSize | None, Form()] = None,
    uncertainty: Annotated[str, Form(max_length=500)] = "auto",
    precision: Annotated[PrecisionWish, Form()] = "auto",
    subject: Annotated[str | None, Form(max_length=200)] = None,
    accept: Annotated[str, Header()] = "application/json",
) -> Response | SegmentationView:
    """Segment a small image in the request.

    ``uncertainty`` is a sampler's name, or JSON such as {"sampler": "tta", "passes": 4}. With ``Accept: image/png``
    the answer is the mask of class indices, with ``application/zip`` all artefacts.
    """
    request = SegmentationRequest(model=model, uncertainty=_sampling(uncertainty), precision=precision)
    view = await run_in_threadpool(_segment_now, state, file, request=request, mpp=mpp, subject=subject)
    if "application/zip" in accept:
        return Response(await run_in_threadpool(_zip, state, view), media_type="application/zip")
    if "image/png" in accept:
        mask = next(a for a in view.artefacts if a.name == "mask.png")
        return Response(state.storage.blobs.read(mask.sha256), media_type="image/png")
    return view


def _sampling(text: str) -> UncertaintySpec:
    try:
        if text.lstrip().startswith("{"):
            return UncertaintySpec.model_validate_json(text)
        return UncertaintySpec.model_validate({"sampler": text})
    except ValidationError as error:
        raise Invalid(
            f"Got uncertainty {text[:80]!r}: {error.errors()[0]['msg']}",
            hint='Send a sampler ("auto", "ensemble", "tta", "none") or JSON like {"sampler": "tta", "passes": 4}.',
            pointer="/uncertainty",
        ) from error


def _segment_now(
    state: State, file: UploadFile, *, request: SegmentationRequest, mpp: float | None, subject: str | None
) -> SegmentationView:
    with spool_upload(file) as spooled:
        slide = store_slide(state, spooled, mpp=mpp, subject=subject)
    segmentation_id = segment_in_request(state, slide, request)
    with state.storage.reading() as connection:
        return segmentation_view(connection, catalog.get_segmentation(connection, segmentation_id))


def _zip(state: State, view: SegmentationView) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        for artefact in view.artefacts:
            bundle.writestr(zipfile.ZipInfo(artefact.name), state.storage.blobs.read(artefact.sha256))
    return out.getvalue()
