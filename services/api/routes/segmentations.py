"""Segmentations: read, list, fetch artefacts; and small images answered in the request."""

import io
import zipfile
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Header, Query, Request, UploadFile
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from intima.contracts.dataset import PixelSize
from intima.contracts.segmentation import PrecisionWish, SegmentationRequest, UncertaintySpec
from intima.errors import Invalid
from intima.registry import DEFAULT_MODEL
from intima.store import catalog, reviewing
from intima.store.reviewing import Order
from services.api.dependencies import ReadDep, State, StateDep
from services.api.results import SegmentationView, find_artefact, read_segmentation, segmentation_view
from services.api.routes.paging import PageSize, PageToken
from services.api.segmenting import WAIT_S, Caller, segment_in_request, store_slide
from services.api.turns import departure
from services.api.uploads import UploadRoute, spooled


class _Queued(UploadRoute):
    """A route whose uploads wait for a turn: where as many wait as may, no body is read."""

    def refuse_early(self, state: State) -> None:
        """Raise Unavailable where the queue is full."""
        state.segment_turns.refuse_full()


router = APIRouter(prefix="/v1", tags=["segmentations"], route_class=_Queued)

Filter = Annotated[str | None, Query(max_length=200)]
Sampler = Literal["auto", "ensemble", "tta", "mc_dropout", "none"]


class SegmentationPage(BaseModel):
    """One page of segmentations."""

    items: list[SegmentationView]
    next_page_token: str


@router.get("/segmentations", operation_id="list_segmentations")
def list_segmentations(
    *,
    connection: ReadDep,
    slide: Filter = None,
    model: Filter = None,
    order: Order = "newest",
    page_size: PageSize = 50,
    page_token: PageToken = "",
) -> SegmentationPage:
    """List segmentations, newest first, or those first in which most error is expected.

    ``expected_error`` lists what has a result: masks to review by their expected Dice, then the others; last those of
    whose error nothing is known, each with the reason in ``unranked``. A mask that a person has corrected is not among
    them, and neither is the correction. ``model`` is a name or name@version.
    """
    page = reviewing.list_segmentations(
        connection, slide=slide, model=model, order=order, page_size=page_size, page_token=page_token
    )
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
    request: Request,
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
    the answer is the mask of class indices, with ``application/zip`` all artefacts. A client that goes away cancels
    the work, unless somebody else waits for the same.
    """
    wanted = SegmentationRequest(model=model, uncertainty=_sampling(uncertainty), precision=precision)
    async with departure(request) as left:
        caller = Caller(has_left=left.is_set)
        view = await state.segment_turns.run(
            lambda: _segment_now(state, file, caller, request=wanted, mpp=mpp, subject=subject), wait_s=WAIT_S
        )
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
    state: State,
    file: UploadFile,
    caller: Caller,
    *,
    request: SegmentationRequest,
    mpp: float | None,
    subject: str | None,
) -> SegmentationView:
    slide = store_slide(state, spooled(file), mpp=mpp, subject=subject)
    segmentation_id = segment_in_request(state, slide, request, caller=caller)
    return read_segmentation(state, segmentation_id)


def _zip(state: State, view: SegmentationView) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        for artefact in view.artefacts:
            bundle.writestr(zipfile.ZipInfo(artefact.name), state.storage.blobs.read(artefact.sha256))
    return out.getvalue()
