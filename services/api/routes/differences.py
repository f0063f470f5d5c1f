"""Where two segmentations of one slide differ: a layer for viewers, and numbers."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from intima.contracts.difference import Difference
from intima.errors import NotFound
from intima.formats.differences import difference_tile
from intima.formats.layers import layer_zoom
from intima.slides.layers import open_layer
from services.api.dependencies import State, StateDep
from services.api.differences import Pair, count_difference, find_pair, kept_difference
from services.api.routes.tiles import PNG, SHA256, XML, IfNoneMatch, caching, has_it, in_turn, place_of

router = APIRouter(prefix="/v1/segmentations/{segmentation_id}/differences", tags=["deep zoom"])

MaskSha256 = Annotated[str | None, Query(alias="sha256", pattern=SHA256)]
OtherSha256 = Annotated[str | None, Query(alias="other_sha256", pattern=SHA256)]


@router.get("/{other_id}.dzi", operation_id="get_difference_zoom", response_class=Response, responses=XML)
def get_difference_zoom(
    *,
    segmentation_id: str,
    other_id: str,
    state: StateDep,
    sha256: MaskSha256 = None,
    other_sha256: OtherSha256 = None,
) -> Response:
    """Return the Deep Zoom descriptor of the layer that shows where two segmentations of one slide and region differ.

    With ``?sha256=`` and ``&other_sha256=`` of both ``mask.ome.tiff`` everything may be cached for good. 422 says why
    two cannot be compared: slides_differ, regions_differ, classes_differ.
    """
    pair = find_pair(state, segmentation_id, other_id)
    pinned = _pinned(pair, sha256, other_sha256)
    with open_layer(state.storage.blobs.path(pair.masks[0])) as opened:
        descriptor = layer_zoom(opened).descriptor("png")
    headers = caching(f"{pair.etag}-dzi", pinned=pinned)
    return Response(descriptor, media_type="application/xml", headers=headers)


@router.get(
    "/{other_id}_files/{level}/{tile}.png", operation_id="get_difference_tile", response_class=Response, responses=PNG
)
async def get_difference_tile(
    *,
    segmentation_id: str,
    other_id: str,
    level: str,
    tile: str,
    state: StateDep,
    sha256: MaskSha256 = None,
    other_sha256: OtherSha256 = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return a tile (``{column}_{row}``): transparent where both agree, else coloured and striped by the kind.

    ``kinds`` of the JSON is the legend. Reduced levels compare the reduced masks, so lines thinner than a pixel vanish.
    """

    def read() -> Response:
        place = place_of(level, tile)
        pair = find_pair(state, segmentation_id, other_id)
        etag = "-".join([pair.etag, *map(str, place)])
        headers = caching(etag, pinned=_pinned(pair, sha256, other_sha256))
        if has_it(if_none_match, etag):
            return Response(status_code=304, headers=headers)
        return Response(_tile(state, pair, place), media_type="image/png", headers=headers)

    return await in_turn(state, read)


@router.get("/{other_id}", operation_id="get_difference")
async def get_difference(segmentation_id: str, other_id: str, state: StateDep) -> Difference:
    """Return how far two segmentations of one slide and region agree: Dice per class, pixels and areas that differ.

    Large masks are counted once: 503 "difference_in_making" with Retry-After where that takes longer than a request.
    """

    def find() -> tuple[Pair, Difference | None]:
        pair = find_pair(state, segmentation_id, other_id)
        return pair, kept_difference(state.storage, pair)

    pair, kept = await in_turn(state, find)
    if kept is not None:
        return kept
    return await state.counting.get(pair.key, lambda go_on: count_difference(state.storage, pair, go_on))


def _tile(state: State, pair: Pair, place: tuple[int, int, int]) -> bytes:
    level, column, row = place
    mask_a, mask_b = map(state.storage.blobs.path, pair.masks)
    with open_layer(mask_a) as a, open_layer(mask_b) as b:
        return difference_tile(a, b, level=level, column=column, row=row)


def _pinned(pair: Pair, sha256: str | None, other_sha256: str | None) -> bool:
    """Tell whether the URL says which two masks it means. Raises NotFound where those are not the present ones."""
    given = (sha256, other_sha256)
    if any(g is not None and g != present for g, present in zip(given, pair.masks, strict=True)):
        raise NotFound("A mask was made anew since.", code="layer_changed", hint="Read both segmentations again.")
    return None not in given
