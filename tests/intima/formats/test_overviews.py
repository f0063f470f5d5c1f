"""Overviews as one file: every tile comes back, and each is what the slide view shows."""

import io

import numpy as np
from PIL import Image

from intima.deepzoom import DeepZoom
from intima.formats.overviews import cut_overview, unpack_overview
from intima.geometry import Size

ZOOM = DeepZoom(Size(2400, 2200), tile_px=254, overlap_px=1)


def test_every_tile_of_the_levels_is_there_and_comes_back() -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (550, 600, 3), dtype=np.uint8))
    levels = {}
    for level in range(10, -1, -1):
        levels[level] = np.asarray(image)
        image = image.reduce(2)
    overview = cut_overview(levels, ZOOM)
    expected = {(at, c, r) for at in levels for c in range(ZOOM.tiles(at)[0]) for r in range(ZOOM.tiles(at)[1])}
    assert set(overview.tiles) == expected
    for place, data in overview.tiles.items():
        part = ZOOM.region(*place)
        assert Image.open(io.BytesIO(data)).size == (part.width, part.height)
    assert dict(unpack_overview(overview.packed()).tiles) == dict(overview.tiles)
    assert overview.packed() == overview.packed()
    assert overview.bytes_held == sum(map(len, overview.tiles.values()))
