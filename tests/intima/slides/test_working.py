"""Working resolution: the answer is the crop of the resampled whole, whatever the origin."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from intima.errors import Invalid
from intima.geometry import Region, Size
from intima.resampling import resample_image
from intima.slides import Slide, open_slide, read_image, read_resampled, read_working, working

IMAGE = np.random.default_rng(2).integers(0, 256, (211, 307, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slide]:
    path = tmp_path_factory.mktemp("working") / "a.tif"
    tifffile.imwrite(path, IMAGE, tile=(64, 64), photometric="rgb")
    with open_slide(path) as opened:
        yield opened


def whole(slide: Slide, scale: float) -> np.ndarray:
    size = slide.size.scaled(scale)
    return read_working(slide, Region(0, 0, size.width, size.height), scale=scale)


def largest_difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("scale", [0.01, 0.1, 0.25, 0.37, 0.5, 0.77, 0.999, 1.0, 1.3, 2.0, 3.7])
def test_the_whole_equals_resample_image(slide: Slide, scale: float) -> None:
    expected = resample_image(IMAGE, slide.size.scaled(scale))
    assert largest_difference(whole(slide, scale), expected) <= 1


@settings(max_examples=80)
@given(data=st.data(), scale=st.floats(0.05, 2.5))
def test_a_tile_of_any_origin_is_the_crop_of_the_whole(slide: Slide, data: st.DataObject, scale: float) -> None:
    size = slide.size.scaled(scale)
    x, y = data.draw(st.integers(0, size.width - 1)), data.draw(st.integers(0, size.height - 1))
    width = data.draw(st.integers(1, min(90, size.width - x)))
    height = data.draw(st.integers(1, min(90, size.height - y)))
    tile = read_working(slide, Region(x, y, width, height), scale=scale)
    assert largest_difference(tile, whole(slide, scale)[y : y + height, x : x + width]) <= 1


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7])
def test_outside_the_slide_is_white(slide: Slide, scale: float) -> None:
    size = slide.size.scaled(scale)
    tile = read_working(slide, Region(-20, -15, 50, 40), scale=scale)
    assert tile[:14].min() == tile[:, :19].min() == 255
    assert largest_difference(tile[15:, 20:], whole(slide, scale)[:25, :30]) <= 1
    far = read_working(slide, Region(size.width + 5, 0, 10, 10), scale=scale)
    assert far.min() == 255


def test_a_frame_keeps_its_surroundings_readable(slide: Slide) -> None:
    frame, size = Region(40, 30, 100, 80), Size(50, 40)
    inside = read_resampled(slide, Region(0, 0, 50, 40), frame=frame, working=size)
    assert largest_difference(inside, resample_image(IMAGE[30:110, 40:140], size)) <= 1
    wider = read_resampled(slide, Region(-10, -5, 70, 50), frame=frame, working=size)
    assert largest_difference(wider, resample_image(IMAGE[20:120, 20:160], Size(70, 50))) <= 1


def test_large_reads_are_cut_without_a_seam(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = whole(slide, 0.31)
    monkeypatch.setattr("intima.slides.working._MAX_READ_PIXELS", 500)
    assert working._MAX_READ_PIXELS == 500
    assert largest_difference(whole(slide, 0.31), expected) <= 1


def test_the_coarsest_sufficient_level_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pyramid.tif"
    values = (0, 80, 160)
    with tifffile.TiffWriter(path) as writer:
        for index, value in enumerate(values):
            level = np.full((256 >> index, 256 >> index, 3), value, np.uint8)
            writer.write(
                level, tile=(64, 64), photometric="rgb", **({"subifds": 2} if index == 0 else {"subfiletype": 1})
            )
    with open_slide(path) as slide:
        for scale, value in ((1.0, 0), (0.6, 0), (0.5, 80), (0.3, 80), (0.25, 160), (0.05, 160)):
            assert np.all(whole(slide, scale) == value), scale


def test_a_constant_image_stays_constant(tmp_path: Path) -> None:
    path = tmp_path / "flat.tif"
    tifffile.imwrite(path, np.full((97, 89, 3), 131, np.uint8), photometric="rgb")
    with open_slide(path) as slide:
        for scale in (0.07, 0.33, 0.9, 1.9):
            assert np.all(whole(slide, scale) == 131)


def test_read_image_has_a_limit(slide: Slide) -> None:
    assert np.array_equal(read_image(slide, max_pixels=211 * 307), IMAGE)
    with pytest.raises(Invalid) as caught:
        read_image(slide, max_pixels=211 * 307 - 1)
    assert caught.value.code == "image_too_large"
