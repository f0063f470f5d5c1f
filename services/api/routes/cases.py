"""Pictures of the cases of datasets, small enough for a page."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Response

from intima.contracts.dataset import Dataset, StoredCase, label_schema
from intima.errors import Conflict, NotFound
from intima.formats.cases import fit_within, mask_picture
from intima.formats.layers import slide_tile
from intima.geometry import Size
from intima.slides.isolation import decode_mask_isolated
from intima.store import catalog
from services.api.dependencies import State, StateDep
from services.api.routes.tiles import IfNoneMatch, caching, has_it, in_turn

router = APIRouter(prefix="/v1/datasets/{dataset_id}/cases", tags=["datasets"])

Px = Annotated[int, Query(ge=16, le=2048)]


@router.get(
    "/{case:path}/image.jpeg",
    operation_id="get_case_image",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def get_case_image(
    dataset_id: str, case: str, state: StateDep, px: Px = 512, if_none_match: IfNoneMatch = None
) -> Response:
    """Return the image of a case, its longer side at most ``px`` pixels.

    ``case`` is the name, or the ``image_sha256`` of the case, which needs no care in a URL.
    """

    def read() -> Response:
        _, found = _find(state, dataset_id, case)
        return _answer(
            f"{found.image_sha256}-{px}",
            media_type="image/jpeg",
            known=if_none_match,
            make=lambda: _image(state, found, px=px),
        )

    return await in_turn(state, read)


@router.get(
    "/{case:path}/mask.png",
    operation_id="get_case_mask",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
async def get_case_mask(
    dataset_id: str, case: str, state: StateDep, px: Px = 512, if_none_match: IfNoneMatch = None
) -> Response:
    """Return the mask of a case in the colours of the dataset's classes; background is transparent."""

    def read() -> Response:
        dataset, found = _find(state, dataset_id, case)
        return _answer(
            f"{found.mask_sha256}-{dataset.version}-{px}",
            media_type="image/png",
            known=if_none_match,
            make=lambda: _mask(state, dataset, found, px=px),
        )

    return await in_turn(state, read)


def _find(state: State, dataset_id: str, case: str) -> tuple[Dataset, StoredCase]:
    """Return a case by its name, else by the hash of its image. Raises NotFound."""
    with state.storage.reading() as connection:
        dataset = catalog.get_dataset(connection, dataset_id)
    named = next((c for c in dataset.cases if c.case == case), None)
    found = named or next((c for c in dataset.cases if c.image_sha256 == case), None)
    if found is None:
        raise NotFound(
            f"Dataset {dataset_id[:80]} has no case {case[:80]!r}.",
            code="case_not_found",
            hint="Name it as in cases[].case, or by its image_sha256.",
        )
    return dataset, found


def _answer(etag: str, *, media_type: str, known: str | None, make: Callable[[], bytes]) -> Response:
    headers = caching(etag, pinned=True)
    if has_it(known, etag):
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type=media_type, headers=headers)


def _image(state: State, case: StoredCase, *, px: int) -> bytes:
    _refuse_missing(state, case.image_sha256)
    pixels = state.tiles.shrink(
        state.storage.blobs.path(case.image_sha256),
        sha256=case.image_sha256,
        name=case.case,
        working=fit_within(Size(case.width, case.height), px=px),
    )
    return slide_tile(pixels)


def _mask(state: State, dataset: Dataset, case: StoredCase, *, px: int) -> bytes:
    _refuse_missing(state, case.mask_sha256)
    mask = decode_mask_isolated(state.storage.blobs.path(case.mask_sha256), name=case.case)
    return mask_picture(mask, label_schema(dataset.classes).classes, px=px)


def _refuse_missing(state: State, sha256: str) -> None:
    if not state.storage.blobs.exists(sha256):
        raise Conflict("The bytes of this case are gone.", code="blob_missing", hint="Upload the dataset again.")
