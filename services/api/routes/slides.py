"""Slides: upload, list, read, start a segmentation."""

from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Header, Query, Response, UploadFile, status
from pydantic import BaseModel

from intima.contracts.dataset import PixelSize, Sha256
from intima.contracts.segmentation import RegionSpec, SegmentationCost, SegmentationRequest
from intima.contracts.upload import SlideChange, Subject
from intima.errors import Conflict
from intima.slides.pixel_size import standing_warnings
from intima.store import catalog
from intima.store.catalog import StoredSlide
from intima.store.erasing import erase_slide
from services.api.costs import estimate_cost
from services.api.dependencies import ReadDep, StateDep, WriteDep
from services.api.routes.paging import PageSize, PageToken
from services.api.segmenting import Started, start_segmentation, store_slide
from services.api.storing import store_deidentified
from services.api.uploads import UploadRoute, spooled

router = APIRouter(prefix="/v1/slides", tags=["slides"], route_class=UploadRoute)


class SlideView(BaseModel):
    """A stored slide."""

    id: str
    sha256: str
    name: str
    format: str
    width: int
    height: int
    levels: int
    mpp: float | None
    """µm per pixel: given by you, else from the file, else null."""
    mpp_from: Literal["you", "file"] | None
    vendor: str | None
    bounds: RegionSpec | None
    """What was scanned of the slide's frame, in level-0 pixels, where the scanner says so."""
    associated: list[str]
    """Further images in the file: label, macro or overview, thumbnail."""
    scanner: dict[str, str]
    """make, model and objective_power, where the file states them."""
    subject: str | None
    warnings: list[str]
    created_at: str


class SlidePage(BaseModel):
    """One page of slides."""

    items: list[SlideView]
    next_page_token: str


def slide_view(slide: StoredSlide) -> SlideView:
    """Return what clients see of a slide."""
    info = slide.info
    return SlideView(
        id=slide.id,
        sha256=slide.sha256,
        name=slide.name,
        format=info.format,
        width=info.width,
        height=info.height,
        levels=info.levels,
        mpp=slide.mpp if slide.mpp is not None else info.mpp,
        mpp_from="you" if slide.mpp is not None else "file" if info.mpp is not None else None,
        vendor=info.vendor,
        bounds=info.bounds,
        associated=list(info.associated),
        scanner=info.scanner,
        subject=slide.subject,
        warnings=list(standing_warnings(info.warnings, mpp=slide.mpp)),
        created_at=slide.created_at,
    )


@router.post("", operation_id="create_slide", status_code=status.HTTP_201_CREATED)
def create_slide(
    state: StateDep,
    file: Annotated[UploadFile, File()],
    *,
    mpp: Annotated[PixelSize | None, Form()] = None,
    subject: Annotated[Subject | None, Form()] = None,
    deidentify: Annotated[bool, Form()] = False,
    sha256: Annotated[Sha256 | None, Form()] = None,
) -> SlideView:
    """Store a slide or image; a slide of several files (MRXS, DICOM) comes as one zip.

    ``mpp`` (µm per pixel) overrides what the file says and is kept as given by you. With ``deidentify`` a copy without
    label, further images and identifying fields is stored, under a name of our own, and the upload is not. A file that
    has another SHA-256 than ``sha256`` is refused. Larger files, and those that may stop and go on: POST /v1/uploads.
    """
    upload = spooled(file, stated=sha256)
    if deidentify:
        return slide_view(store_deidentified(state, upload.path, name=upload.name, mpp=mpp, subject=subject))
    return slide_view(store_slide(state, upload, mpp=mpp, subject=subject))


@router.get("", operation_id="list_slides")
def list_slides(
    connection: ReadDep,
    page_size: PageSize = 50,
    page_token: PageToken = "",
    search: Annotated[str, Query(max_length=200)] = "",
) -> SlidePage:
    """List slides, newest first; with ``search`` those whose name or subject has it."""
    page = catalog.list_slides(connection, page_size=page_size, page_token=page_token, search=search)
    return SlidePage(items=[slide_view(s) for s in page.items], next_page_token=page.next_page_token)


@router.get("/{slide_id}", operation_id="get_slide")
def get_slide(slide_id: str, connection: ReadDep) -> SlideView:
    """Return a slide."""
    return slide_view(catalog.get_slide(connection, slide_id))


@router.patch("/{slide_id}", operation_id="update_slide")
def update_slide(slide_id: str, body: SlideChange, connection: WriteDep) -> SlideView:
    """Give a stored slide its pixel size or subject; its bytes stay as they are.

    What is left out stays; a null ``mpp`` goes back to what the file says. 409 where results were made with other
    values, which would then no longer tell what they are of.
    """
    return slide_view(catalog.change_slide(connection, slide_id, body))


@router.delete("/{slide_id}", operation_id="delete_slide", status_code=status.HTTP_204_NO_CONTENT)
def delete_slide(slide_id: str, connection: WriteDep) -> None:
    """Forget a slide, its segmentations and their jobs; files nobody else names go with the next collection.

    Batches keep their place for it and say that it was deleted. 409 while one of its segmentations is being made.
    """
    erase_slide(connection, slide_id)


@router.post("/{slide_id}/deidentified", operation_id="deidentify_slide", status_code=status.HTTP_201_CREATED)
def deidentify_slide(slide_id: str, state: StateDep, subject: Annotated[Subject | None, Form()] = None) -> SlideView:
    """Store a copy of a slide without label, further images and identifying fields; the slide itself stays.

    The copy has the ``subject`` given here and never the slide's own, which may name a patient.
    """
    with state.storage.reading() as connection:
        slide = catalog.get_slide(connection, slide_id)
    if not state.storage.blobs.exists(slide.sha256):
        raise Conflict("The bytes of this slide are gone.", code="blob_missing", hint="Upload the file again.")
    path = state.storage.blobs.path(slide.sha256)
    return slide_view(store_deidentified(state, path, name=slide.name, mpp=slide.mpp, subject=subject))


@router.post(
    "/{slide_id}/segmentations",
    operation_id="create_segmentation",
    status_code=status.HTTP_202_ACCEPTED,
    responses={200: {"description": "The result exists already", "model": Started}},
)
def create_segmentation(
    slide_id: str,
    body: SegmentationRequest,
    state: StateDep,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Started:
    """Segment a slide: 202 with a job, or 200 where the same slide, model and parameters have been done."""
    started = start_segmentation(state, slide_id=slide_id, request=body, idempotency_key=idempotency_key)
    if started.state == "succeeded":
        response.status_code = status.HTTP_200_OK
    response.headers["Location"] = f"/v1/jobs/{started.job}"
    response.headers["Retry-After"] = "1"
    return started


@router.post("/{slide_id}/segmentations/cost", operation_id="estimate_segmentation")
def estimate_segmentation(slide_id: str, body: SegmentationRequest, state: StateDep) -> SegmentationCost:
    """Say what a segmentation would take (tiles, runs of networks, operations, time), and start nothing."""
    return estimate_cost(state, slide_id=slide_id, request=body)
