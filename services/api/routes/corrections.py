"""Corrections: a person's versions of a mask."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, status
from pydantic import BaseModel

from intima.contracts.correction import CorrectionPreview
from intima.store.corrections import get_versions, list_corrections
from services.api import correcting
from services.api.correcting import CorrectionView, Origin, correction_view, in_turn, receive, working_mask
from services.api.dependencies import ReadDep, StateDep
from services.api.routes.paging import PageSize, PageToken

router = APIRouter(prefix="/v1/segmentations", tags=["corrections"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/geo+json": {"schema": {"type": "object"}}, "image/png": {}},
    }
}
_Base = Annotated[str, Query(max_length=48)]
_Note = Annotated[str, Query(max_length=500, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
_Origin = Annotated[Origin | None, Query()]


class CorrectionPage(BaseModel):
    """One page of the versions of a mask."""

    parent: str
    """The segmentation of the model."""
    newest: str
    """The version that the next correction starts from: ``base``."""
    items: list[CorrectionView]
    """Newest first."""
    next_page_token: str


@router.post("/{segmentation_id}/corrections/preview", operation_id="preview_correction", openapi_extra=_BODY)
async def preview_a_correction(
    segmentation_id: str, request: Request, state: StateDep, base: _Base | None = None, origin: _Origin = None
) -> CorrectionPreview:
    """Measure a corrected mask beside the version it starts from, and store nothing.

    The body is the whole mask anew: GeoJSON as QuPath writes it, in level-0 pixels of the slide, or a PNG of class
    indices of the size of ``working_mask.png``. ``base`` is the newest version where it is not named. ``origin`` says
    what coordinates count from, where the features' metadata do not.
    """
    async with receive(request, origin) as sent:
        return await in_turn(state, lambda: correcting.preview(state, segmentation_id, sent, base=base))


@router.post(
    "/{segmentation_id}/corrections",
    operation_id="create_correction",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=_BODY,
)
async def create_correction(
    *,
    segmentation_id: str,
    request: Request,
    response: Response,
    state: StateDep,
    base: _Base,
    note: _Note = "",
    origin: _Origin = None,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> CorrectionView:
    """Store a corrected mask as a new version; bodies are those of the preview.

    ``base`` is the version that was corrected. Where somebody stored another one meanwhile the answer is 409
    "correction_outdated", which names it. Measures, layers and files are those of a segmentation, under the id of the
    version, once its job is done.
    """
    async with receive(request, origin) as sent:
        view = await in_turn(
            state,
            lambda: correcting.store_correction(
                state, request, segmentation_id, sent, base=base, note=note, key=idempotency_key
            ),
        )
    response.headers["Location"] = f"/v1/segmentations/{view.id}"
    return view


@router.get("/{segmentation_id}/corrections", operation_id="list_corrections")
def list_versions(
    segmentation_id: str, connection: ReadDep, page_size: PageSize = 50, page_token: PageToken = ""
) -> CorrectionPage:
    """List the corrections of a segmentation, or of the one that a correction belongs to, newest first."""
    versions = get_versions(connection, segmentation_id)
    page = list_corrections(connection, versions.parent.id, page_size=page_size, page_token=page_token)
    return CorrectionPage(
        parent=versions.parent.id,
        newest=versions.newest.id,
        items=[correction_view(connection, stored) for stored in page.items],
        next_page_token=page.next_page_token,
    )


@router.get(
    "/{segmentation_id}/working_mask.png",
    operation_id="get_working_mask",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
async def get_working_mask(segmentation_id: str, state: StateDep) -> Response:
    """Return a version as PNG of class indices at the model's working resolution: what an editor paints on."""
    data = await in_turn(state, lambda: working_mask(state, segmentation_id))
    return Response(data, media_type="image/png", headers={"Cache-Control": "private, no-cache"})
