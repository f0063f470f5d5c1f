"""What was painted at working resolution is brought to the slide's own, and nothing else moves."""

import math

import numpy as np
import pytest
from scipy import ndimage

from intima import edits
from intima.edits import edited_mask, working_labels
from intima.framing import Frame
from intima.geometry import Region, Size
from intima.labels import ARTERY
from intima.morphometry import measure_vessels
from intima.rasters import as_raster
from tests.builders import rings


def frame_of(size: int, scale: float, region: Region | None = None) -> Frame:
    full = Size(size, size)
    return Frame(full, region or Region(0, 0, size, size), full.scaled(scale), scale, None)


def edit(native: np.ndarray, after: np.ndarray, frame: Frame) -> np.ndarray:
    raster = as_raster(native)
    before = working_labels(raster, frame)
    return np.concatenate([r for _, r in edited_mask(raster, before=before, after=after, frame=frame, classes=4)])


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.25, 0.3137, 1.7])
@pytest.mark.parametrize("region", [None, Region(37, 90, 251, 204)])
def test_what_was_not_touched_comes_back_pixel_by_pixel(scale: float, region: Region | None) -> None:
    frame = frame_of(400, scale, region)
    noise = np.random.default_rng(0).random((400, 400)) < 0.01
    native = np.where(noise, 2, rings()).astype(np.uint8)
    part = native[frame.region.y : frame.region.y + frame.region.height]
    part = part[:, frame.region.x : frame.region.x + frame.region.width]
    before = working_labels(as_raster(part), frame)
    assert before.shape == (frame.window.height, frame.window.width)
    np.testing.assert_array_equal(edit(part, before, frame), part)


def test_at_equal_resolution_the_edit_is_the_mask() -> None:
    native, after = rings(), rings(radii=(40, 90, 150))
    np.testing.assert_array_equal(edit(native, after, frame_of(400, 1.0)), after)


@pytest.mark.parametrize("scale", [0.5, 0.25, 0.3137])
def test_a_class_that_was_painted_over_leaves_no_sliver(scale: float) -> None:
    frame = frame_of(400, scale)
    native = rings()
    before = working_labels(as_raster(native), frame)
    after = np.where(before == 3, 2, before).astype(np.uint8)
    found = edit(native, after, frame)
    assert not (found == 3).any()
    np.testing.assert_array_equal(found == 1, native == 1)


def test_far_from_the_edit_nothing_moves() -> None:
    frame = frame_of(400, 0.25)
    native = rings()
    after = working_labels(as_raster(native), frame)
    after[:20, :20] = 1
    found = edit(native, after, frame)
    np.testing.assert_array_equal(found[100:], native[100:])
    assert (found[:76, :76] == 1).all()


@pytest.mark.parametrize("scale", [0.5, 0.25])
def test_a_painted_circle_has_its_area_and_perimeter(scale: float) -> None:
    frame = frame_of(800, scale)
    native = np.zeros((800, 800), np.uint8)
    radii = (round(120 * scale), round(180 * scale), round(240 * scale))
    after = rings(round(800 * scale), radii=radii, center=round(400 * scale))
    found = edit(native, after, frame)
    assert np.count_nonzero(found == 1) == pytest.approx(math.pi * 120**2, rel=0.01)
    values = {m.name: m.value for m in measure_vessels(found, schema=ARTERY, mpp=None)[0].measures}
    assert values["lumen_perimeter"] == pytest.approx(2 * math.pi * 120, rel=0.015)
    assert values["eel_perimeter"] == pytest.approx(2 * math.pi * 240, rel=0.015)


def test_one_painted_pixel_and_a_line_are_not_lost() -> None:
    frame = frame_of(400, 0.25)
    native = np.zeros((400, 400), np.uint8)
    after = np.zeros((100, 100), np.uint8)
    after[10, 10] = 1
    after[50, 20:80] = 3
    found = edit(native, after, frame)
    assert (found[41:43, 41:43] == 1).all()
    assert (found[201:203, 84:316] == 3).all()
    assert np.count_nonzero(found) < 4 * 240 + 40


def test_slabs_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = frame_of(400, 0.25)
    after = np.random.default_rng(3).integers(0, 4, (100, 100)).astype(np.uint8)
    after[20:70, 20:70] = 2
    whole = edit(rings(), after, frame)
    monkeypatch.setattr(edits, "_SLAB_ROWS", 7)
    np.testing.assert_array_equal(edit(rings(), after, frame), whole)


@pytest.mark.parametrize("scale", [0.5, 0.25, 0.2])
def test_what_was_painted_is_read_back(scale: float) -> None:
    frame = frame_of(400, scale)
    rng = np.random.default_rng(5)
    side = frame.window.height
    after = working_labels(as_raster(rings()), frame)
    for _ in range(40):
        y, x, r = (int(rng.integers(0, most)) for most in (side, side, 12))
        after[y : y + r, x : x + r] = rng.integers(0, 4)
    again = working_labels(as_raster(edit(rings(), after, frame)), frame)
    assert np.count_nonzero(again != after) < 0.02 * after.size, "corners are rounded"
    for value in range(4):
        near = ndimage.binary_dilation(again == value, structure=np.ones((3, 3), bool))
        assert near[after == value].all(), "nothing that was painted is gone"
