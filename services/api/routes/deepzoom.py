"""Slides and the layers of segmentations as Deep Zoom images, tile by tile on demand."""

from dataclasses import dataclass
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query, Response

from intima.contracts.segmentation import Artefact
from intima.deepzoom import DeepZoom
from intima.errors import Conflict, Invalid, NotFound
from intima.formats.layers import layer_tile, layer_zoom, slide_tile
from intima.geometry import Size
from intima.slides.layers import open_layer
from intima.store import catalog
from intima.store.catalog import StoredSlide
from services.api.dependencies import State, StateDep
from services.api.overviews import Wanted
from services.api.results import find_artefact
from services.api.routes.tiles import FOREVER, PNG, SHA256, XML, IfNoneMatch, caching, has_it, in_turn, place_of

router = APIRouter(prefix="/v1", tags=["deep zoom"])

_SLIDE_TILE_PX, _SLIDE_OVERLAP_PX = 254, 1
_LAYERS = ("mask", "entropy", "disagreement")

LayerSha256 = Annotated[str | None, Query(alias="sha256", pattern=SHA256)]


@router.get("/slides/{slide_id}/deepzoom.dzi", operation_id="get_slide_zoom", response_class=Response, responses=XML)
def get_slide_zoom(slide_id: str, state: StateDep) -> Response:
    """Return the Deep Zoom descriptor of a slide; OpenSeadragon takes its URL as a tile source."""
    zoom = _slide_zoom(_slide(state, slide_id))
    return Response(zoom.descriptor("jpeg"), media_type="application/xml", headers={"Cache-Control": FOREVER})


@router.get(
    "/slides/{slide_id}/deepzoom_files/{level}/{tile}.jpeg",
    operation_id="get_slide_tile",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def get_slide_tile(
    slide_id: str, level: str, tile: str, state: StateDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Return a tile (``{column}_{row}``) of a slide; 404 outside the level.

    The first look at a large slide without levels makes an overview of it: 503 with Retry-After where that takes long.
    """
    asked = await anyio.to_thread.run_sync(_asked, state, slide_id, level, tile)
    if has_it(if_none_match, asked.etag):
        return Response(status_code=304, headers=asked.headers)
    data = await _slide_tile(state, asked)
    return Response(data, media_type="image/jpeg", headers=asked.headers)


@router.get(
    "/segmentations/{segmentation_id}/layers/{layer}.dzi",
    operation_id="get_layer_zoom",
    response_class=Response,
    responses=XML,
)
def get_layer_zoom(segmentation_id: str, layer: str, state: StateDep, sha256: LayerSha256 = None) -> Response:
    """Return the Deep Zoom descriptor of a layer: mask, entropy or disagreement.

    With ``?sha256=`` of its ``.ome.tiff`` (OpenSeadragon passes it on to the tiles) everything may be cached for good,
    and a layer that was made anew is a 404. The mask has the pixels of the analysed region, the maps those of the
    working image (``working_*`` of the provenance).
    """
    found = _layer(state, segmentation_id, layer, sha256)
    with open_layer(state.storage.blobs.path(found.sha256)) as opened:
        descriptor = layer_zoom(opened).descriptor("png")
    headers = caching(f"{found.sha256}-dzi", pinned=sha256 is not None)
    return Response(descriptor, media_type="application/xml", headers=headers)


@router.get(
    "/segmentations/{segmentation_id}/layers/{layer}_files/{level}/{tile}.png",
    operation_id="get_layer_tile",
    response_class=Response,
    responses=PNG,
)
async def get_layer_tile(
    *,
    segmentation_id: str,
    layer: str,
    level: str,
    tile: str,
    state: StateDep,
    sha256: LayerSha256 = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return a tile (``{column}_{row}``) of a layer as RGBA PNG: background is transparent, maps are in cividis."""

    def read() -> Response:
        at, column, row = place_of(level, tile)
        found = _layer(state, segmentation_id, layer, sha256)
        etag = f"{found.sha256}-{at}-{column}-{row}"
        headers = caching(etag, pinned=sha256 is not None)
        with open_layer(state.storage.blobs.path(found.sha256)) as opened:
            layer_zoom(opened).region(at, column, row)
            if has_it(if_none_match, etag):
                return Response(status_code=304, headers=headers)
            data = layer_tile(opened, level=at, column=column, row=row)
        return Response(data, media_type="image/png", headers=headers)

    return await in_turn(state, read)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A tile of a slide that is there."""

    slide: StoredSlide
    zoom: DeepZoom
    place: tuple[int, int, int]

    @property
    def etag(self) -> str:
        """Of its bytes, which never change."""
        return "-".join([self.slide.sha256, *map(str, self.place)])

    @property
    def headers(self) -> dict[str, str]:
        """What every answer with it says."""
        return caching(self.etag, pinned=True)


def _asked(state: State, slide_id: str, level: str, tile: str) -> _Asked:
    place = place_of(level, tile)
    slide = _slide(state, slide_id)
    zoom = _slide_zoom(slide)
    zoom.region(*place)
    return _Asked(slide, zoom, place)


async def _slide_tile(state: State, asked: _Asked) -> bytes:
    """Return a tile of the overview where it has it, else read it; what costs too much to read makes an overview."""
    known = state.overviews.known(asked.slide.sha256)
    if known is not None and asked.place in known.tiles:
        return known.tiles[asked.place]
    try:
        return await in_turn(state, lambda: _read_tile(state, asked))
    except Invalid as error:
        if error.code != "no_overview":
            raise
    overview = await state.overviews.get(_wanted(state, asked))
    if asked.place not in overview.tiles:
        raise Conflict("The overview lacks this tile.", code="overview_changed", hint="Ask again.")
    return overview.tiles[asked.place]


def _wanted(state: State, asked: _Asked) -> Wanted:
    slide = asked.slide
    blobs, cache = state.storage.blobs, state.storage.cache
    return Wanted(slide.sha256, slide.name, asked.zoom, path=lambda: blobs.path(slide.sha256), cache=cache)


def _read_tile(state: State, asked: _Asked) -> bytes:
    slide, zoom = asked.slide, asked.zoom
    pixels = state.tiles.read(
        state.storage.blobs.path(slide.sha256),
        sha256=slide.sha256,
        name=slide.name,
        region=zoom.region(*asked.place),
        working=zoom.level_size(asked.place[0]),
    )
    return slide_tile(pixels)


def _slide(state: State, slide_id: str) -> StoredSlide:
    with state.storage.reading() as connection:
        return catalog.get_slide(connection, slide_id)


def _slide_zoom(slide: StoredSlide) -> DeepZoom:
    size = Size(slide.info.width, slide.info.height)
    return DeepZoom(size, tile_px=_SLIDE_TILE_PX, overlap_px=_SLIDE_OVERLAP_PX)


def _layer(state: State, segmentation_id: str, layer: str, sha256: str | None) -> Artefact:
    if layer not in _LAYERS:
        raise NotFound(f"There is no layer {layer[:40]!r}.", hint=f"There are: {', '.join(_LAYERS)}.")
    with state.storage.reading() as connection:
        found = find_artefact(connection, segmentation_id, f"{layer}.ome.tiff")
    if sha256 is not None and found.sha256 != sha256:
        raise NotFound("The layer was made anew since.", code="layer_changed", hint="Read the segmentation again.")
    return found
