"""Differences of two masks: transparent where they agree, each kind in its colour, counts that add up."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from intima.errors import NotFound
from intima.formats import FORMATS, differences
from intima.formats.differences import (
    class_agreement,
    class_pairs,
    count_pairs,
    difference_tile,
    kinds_of_difference,
    mean_foreground_dice,
)
from intima.formats.layers import layer_zoom
from intima.formats.ome_tiff import halve_labels
from intima.labels import ARTERY
from intima.rasters import as_raster
from intima.slides.layers import open_layer
from tests.intima.formats.test_writers import ARRAYS, MASK, RESULT

NAMES = ARTERY.names
OTHER = np.roll(MASK, 3, axis=1)
RGB = {"only_a": (0, 114, 178), "only_b": (213, 94, 0), "other_class": (240, 228, 66)}


def _on() -> None:
    """Go on."""


def stored(folder: Path, name: str, mask: np.ndarray) -> Path:
    path = folder / name
    with path.open("w+b") as out:
        FORMATS["mask.ome.tiff"].write(replace(ARRAYS, mask=as_raster(mask)), RESULT, out)
    return path


def kind_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(a == b, 0, np.where(b == 0, 1, np.where(a == 0, 2, 3)))


@pytest.mark.parametrize("reduced", [0, 1, 2])
def test_tiles_show_each_kind_in_its_colour_at_every_level(tmp_path: Path, reduced: int) -> None:
    masks = [MASK, OTHER]
    for _ in range(reduced):
        masks = [halve_labels(mask) for mask in masks]
    kinds = kind_of(*masks)
    with open_layer(stored(tmp_path, "a", MASK)) as a, open_layer(stored(tmp_path, "b", OTHER)) as b:
        zoom = layer_zoom(a)
        level = zoom.last_level - reduced
        for column in range(zoom.tiles(level)[0]):
            for row in range(zoom.tiles(level)[1]):
                tile = np.asarray(Image.open(io.BytesIO(difference_tile(a, b, level=level, column=column, row=row))))
                region = zoom.region(level, column, row)
                part = kinds[region.y : region.y + region.height, region.x : region.x + region.width]
                assert tile.shape == (*part.shape, 4)
                assert not tile[part == 0].any()
                for number, color in enumerate(RGB.values(), start=1):
                    assert (tile[part == number][:, :3] == color).all()
                    assert set(tile[part == number][:, 3]) <= {140, 255}
        with pytest.raises(NotFound):
            difference_tile(a, b, level=level, column=99, row=0)


def test_kinds_differ_by_their_stripes_too_and_stripes_cross_tiles(tmp_path: Path) -> None:
    half = np.zeros((512, 512), np.uint8)
    half[:256] = 1
    with open_layer(stored(tmp_path, "a", half)) as a, open_layer(stored(tmp_path, "b", half[::-1])) as b:
        level = layer_zoom(a).last_level
        upper = [difference_tile(a, b, level=level, column=column, row=0) for column in (0, 1)]
        lower = difference_tile(a, b, level=level, column=0, row=1)
    opacity = [np.asarray(Image.open(io.BytesIO(tile)))[:, :, 3] for tile in (*upper, lower)]
    joined = np.hstack(opacity[:2])
    assert (joined[1:, :-1] == joined[:-1, 1:]).all()
    assert (opacity[2][1:, 1:] == opacity[2][:-1, :-1]).all()
    assert (opacity[0] == 255).mean() == pytest.approx(0.5)


def test_counts_are_those_of_the_pixels_whatever_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = np.zeros((4, 4), np.int64)
    np.add.at(expected, (MASK.ravel(), OTHER.ravel()), 1)
    with open_layer(stored(tmp_path, "a", MASK)) as a, open_layer(stored(tmp_path, "b", OTHER)) as b:
        assert np.array_equal(count_pairs(a, b, 4, go_on=_on), expected)
        monkeypatch.setattr(differences, "_BLOCK", (100, 70))
        assert np.array_equal(count_pairs(a, b, 4, go_on=_on), expected)
        assert np.array_equal(count_pairs(b, a, 4, go_on=_on), expected.T)


def test_numbers_add_up() -> None:
    counts = np.array([[50, 2, 0, 0], [4, 20, 3, 0], [0, 0, 10, 1], [0, 0, 0, 0]])
    classes = class_agreement(counts, NAMES, 0.25)
    lumen = classes[1]
    assert (lumen.pixels_a, lumen.pixels_b, lumen.pixels_both) == (27, 22, 20)
    assert (lumen.area_a_um2, lumen.area_b_um2) == (6.75, 5.5)
    assert lumen.dice == pytest.approx(40 / 49)
    assert classes[3].dice == 0.0
    assert mean_foreground_dice(classes) == pytest.approx((40 / 49 + 20 / 24 + 0) / 3)
    pairs = class_pairs(counts, NAMES, None)
    assert [(p.a, p.b, p.pixels, p.area_um2) for p in pairs] == [
        ("lumen", "background", 4, None),
        ("lumen", "neointima", 3, None),
        ("background", "lumen", 2, None),
        ("neointima", "media", 1, None),
    ]
    kinds = {k.kind: (k.pixels, k.area_um2) for k in kinds_of_difference(counts, 2.0)}
    assert kinds == {"only_a": (4, 8.0), "only_b": (2, 4.0), "other_class": (4, 8.0)}
    assert sum(p.pixels for p in pairs) == sum(n for n, _ in kinds.values()) == counts.sum() - counts.trace()


def test_a_class_in_neither_is_not_measured() -> None:
    classes = class_agreement(np.diag([9, 0, 0, 0]), NAMES, None)
    assert [c.dice for c in classes] == [1.0, None, None, None]
    assert mean_foreground_dice(classes) is None
