"""Tiles of stored layers: put together they are the levels of the pyramid."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from intima.errors import NotFound
from intima.formats import FORMATS
from intima.formats.layers import layer_tile, layer_zoom
from intima.formats.ome_tiff import halve_labels, halve_map
from intima.formats.png import cividis
from intima.labels import ARTERY
from intima.rasters import as_raster
from intima.slides.layers import open_layer
from tests.intima.formats.test_writers import ARRAYS, ENTROPY, MASK, RESULT


def stored(folder: Path, name: str) -> Path:
    path = folder / name
    with path.open("w+b") as out:
        FORMATS[name].write(replace(ARRAYS, disagreement=as_raster(ENTROPY)), RESULT, out)
    return path


def assembled(path: Path, level: int) -> np.ndarray:
    with open_layer(path) as layer:
        zoom = layer_zoom(layer)
        size, (columns, rows) = zoom.level_size(level), zoom.tiles(level)
        canvas = np.zeros((size.height, size.width, 4), np.uint8)
        for column in range(columns):
            for row in range(rows):
                tile = Image.open(io.BytesIO(layer_tile(layer, level=level, column=column, row=row)))
                assert tile.mode == "RGBA"
                region = zoom.region(level, column, row)
                assert tile.size == (region.width, region.height)
                canvas[region.y : region.y + region.height, region.x : region.x + region.width] = np.asarray(tile)
    return canvas


def test_mask_tiles_are_the_mask_in_its_colours_at_every_level(tmp_path: Path) -> None:
    path = stored(tmp_path, "mask.ome.tiff")
    colors = np.array([(0, 0, 0, 0), *((*c.rgb, 255) for c in ARTERY.foreground)], np.uint8)
    expected, level = MASK, 10
    while True:
        assert np.array_equal(assembled(path, level), colors[expected])
        if level == 0:
            break
        expected, level = halve_labels(expected), level - 1
    assert expected.shape == (1, 1)


@pytest.mark.parametrize("name", ["entropy.ome.tiff", "disagreement.ome.tiff"])
def test_map_tiles_are_cividis_of_the_map_at_every_level(tmp_path: Path, name: str) -> None:
    path = stored(tmp_path, name)
    expected, level = ENTROPY, 9
    while level >= 0:
        found = assembled(path, level)
        assert np.array_equal(found[:, :, :3], cividis(expected))
        assert (found[:, :, 3] == 255).all()
        expected, level = halve_map(expected), level - 1


def test_a_tile_reads_its_own_part_of_the_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, "mask.ome.tiff")
    decoded: list[int] = []
    original = tifffile.TiffPage.decode

    def counting(page: tifffile.TiffPage) -> object:
        decode = original.fget(page) if isinstance(original, property) else original.__get__(page)

        def one(data: object, index: int, **options: object) -> object:
            decoded.append(index)
            return decode(data, index, **options)

        return one

    monkeypatch.setattr(tifffile.TiffPage, "decode", property(counting))
    with open_layer(path) as layer:
        layer_tile(layer, level=10, column=1, row=2)
    assert decoded == [2 * 3 + 1]


@pytest.mark.parametrize(("level", "column", "row"), [(11, 0, 0), (10, 3, 0), (10, 0, 3), (-1, 0, 0)])
def test_outside_there_is_nothing(tmp_path: Path, level: int, column: int, row: int) -> None:
    with open_layer(stored(tmp_path, "mask.ome.tiff")) as layer, pytest.raises(NotFound):
        layer_tile(layer, level=level, column=column, row=row)
