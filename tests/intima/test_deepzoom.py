"""The levels and tiles of Deep Zoom, against OpenSlide's generator and OpenSeadragon's formula."""

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openslide import ImageSlide
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from intima.deepzoom import DeepZoom
from intima.errors import NotFound
from intima.geometry import Size

SIZES = [(1, 1), (2, 1), (3, 2), (254, 254), (255, 253), (256, 256), (257, 511), (508, 509), (1024, 31), (640, 480)]


@pytest.mark.parametrize(("tile_px", "overlap_px"), [(254, 1), (256, 0), (16, 1), (7, 0)])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_levels_and_tiles_are_those_of_openslide(width: int, height: int, tile_px: int, overlap_px: int) -> None:
    zoom = DeepZoom(Size(width, height), tile_px=tile_px, overlap_px=overlap_px)
    image = ImageSlide(Image.new("RGB", (width, height)))
    reference = DeepZoomGenerator(image, tile_size=tile_px, overlap=overlap_px)
    assert zoom.last_level + 1 == reference.level_count
    for level in range(reference.level_count):
        size = zoom.level_size(level)
        assert (size.width, size.height) == reference.level_dimensions[level]
        columns, rows = zoom.tiles(level)
        assert (columns, rows) == reference.level_tiles[level]
        for column in {0, columns // 2, columns - 1}:
            for row in {0, rows // 2, rows - 1}:
                region = zoom.region(level, column, row)
                assert (region.width, region.height) == reference.get_tile_dimensions(level, (column, row))


@settings(max_examples=200)
@given(st.integers(1, 2_000_000), st.integers(1, 2_000_000), st.sampled_from([(254, 1), (256, 0)]))
def test_levels_follow_the_formula_of_openseadragon(width: int, height: int, tiling: tuple[int, int]) -> None:
    """maxLevel = ceil(log2(max side)), scale = 1 / 2^(maxLevel - level), ceil(scale side / px) tiles."""
    zoom = DeepZoom(Size(width, height), tile_px=tiling[0], overlap_px=tiling[1])
    assert zoom.last_level == math.ceil(math.log2(max(width, height)))
    for level in range(zoom.last_level + 1):
        scale = 1 / 2 ** (zoom.last_level - level)
        size = zoom.level_size(level)
        assert (size.width, size.height) == (math.ceil(width * scale), math.ceil(height * scale))
        columns, rows = zoom.tiles(level)
        assert columns == math.ceil(size.width / tiling[0])
        edge = zoom.region(level, columns - 1, rows - 1)
        assert (edge.x + edge.width, edge.y + edge.height) == (size.width, size.height)
    assert zoom.level_size(0) == Size(1, 1)


def test_tiles_cover_a_level_once_but_for_the_overlap() -> None:
    zoom = DeepZoom(Size(50, 33), tile_px=16, overlap_px=1)
    level = zoom.last_level
    columns, _ = zoom.tiles(level)
    spans = [(r.x, r.x + r.width) for r in (zoom.region(level, c, 0) for c in range(columns))]
    assert spans == [(0, 17), (15, 33), (31, 49), (47, 50)]


@pytest.mark.parametrize(
    ("level", "column", "row"), [(-1, 0, 0), (7, 0, 0), (10**12, 0, 0), (6, 4, 0), (6, 0, 3), (6, -1, 0), (0, 1, 0)]
)
def test_what_is_not_there_is_not_found(level: int, column: int, row: int) -> None:
    with pytest.raises(NotFound):
        DeepZoom(Size(50, 33), tile_px=16, overlap_px=1).region(level, column, row)


def test_the_descriptor_is_a_dzi() -> None:
    text = DeepZoom(Size(50, 33), tile_px=254, overlap_px=1).descriptor("jpeg")
    root = ET.fromstring(text.encode())
    assert root.tag == "{http://schemas.microsoft.com/deepzoom/2008}Image"
    assert root.attrib == {"Format": "jpeg", "Overlap": "1", "TileSize": "254"}
    assert root[0].attrib == {"Width": "50", "Height": "33"}
