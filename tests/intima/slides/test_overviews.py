"""Overviews of slides without levels: the pixels of the slide made small, whatever its shape, and none by force."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from intima.deepzoom import DeepZoom
from intima.errors import Invalid, Unavailable
from intima.geometry import Size
from intima.slides import _overview, open_slide
from intima.slides._overview import is_costly, write_overview
from intima.slides.isolation import _levels, overview_isolated

RNG = np.random.default_rng(5)


def picture(width: int, height: int) -> np.ndarray:
    small = RNG.integers(0, 256, (-(-height // 64), -(-width // 64), 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR))


def flat_tiff(path: Path, pixels: np.ndarray, **tags: object) -> Path:
    tifffile.imwrite(path, pixels, photometric="rgb", compression="zlib", **{"tile": (256, 256), **tags})
    return path


def levels_of(path: Path, size: Size) -> dict[int, np.ndarray]:
    with overview_isolated(path, name="a", size=size) as levels:
        return {level: np.array(pixels) for level, pixels in levels.items()}


@pytest.mark.parametrize(("width", "height"), [(2100, 2200), (2049, 2111), (4301, 1003)])
@pytest.mark.parametrize("rows", [None, 64])
def test_every_level_is_the_slide_made_small(tmp_path: Path, width: int, height: int, rows: int | None) -> None:
    pixels = picture(width, height)
    layout = {} if rows is None else {"tile": None, "rowsperstrip": rows}
    path, zoom = (
        flat_tiff(tmp_path / "a.tif", pixels, **layout),
        DeepZoom(Size(width, height), tile_px=254, overlap_px=1),
    )
    levels = levels_of(path, zoom.size)
    assert list(levels) == list(range(max(levels), -1, -1))
    with open_slide(path) as slide:
        costly = [level for level in range(zoom.last_level + 1) if is_costly(slide, zoom.level_size(level))]
    assert costly == sorted(levels)
    for level, found in levels.items():
        size = zoom.level_size(level)
        assert found.shape == (size.height, size.width, 3)
        exact = np.asarray(Image.fromarray(pixels).reduce(2 ** (zoom.last_level - level))).astype(int)
        assert min(found.shape[:2]) < 8 or np.abs(found - exact).mean() < 4, level
    exact = np.asarray(Image.fromarray(pixels).reduce(2 ** (zoom.last_level - max(levels))))
    assert np.array_equal(levels[max(levels)], exact)


def test_it_is_made_of_the_coarsest_level_that_is_fine_enough(tmp_path: Path) -> None:
    path, size = tmp_path / "p.tif", Size(6000, 6400)
    lower = picture(3000, 3200)
    with tifffile.TiffWriter(path) as out:
        tags = {"photometric": "rgb", "tile": (256, 256), "compression": "zlib", "metadata": None}
        out.write(np.zeros((6400, 6000, 3), np.uint8), subifds=1, **tags)
        out.write(lower, subfiletype=1, **tags)
    levels = levels_of(path, size)
    found = levels[max(levels)]
    assert np.array_equal(found, np.asarray(Image.fromarray(lower).reduce(lower.shape[1] // found.shape[1])))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_images_that_are_decoded_whole_have_one_too(tmp_path: Path, form: str) -> None:
    pixels = picture(2500, 2300)
    Image.fromarray(pixels).save(tmp_path / "a", form)
    levels = levels_of(tmp_path / "a", Size(2500, 2300))
    exact = np.asarray(Image.fromarray(pixels).reduce(16)).astype(int)
    assert np.abs(levels[8] - exact).mean() < 2


def test_a_slide_that_needs_none_has_none(tmp_path: Path) -> None:
    path = flat_tiff(tmp_path / "a.tif", picture(400, 300))
    with pytest.raises(Invalid) as raised, overview_isolated(path, name="a", size=Size(400, 300)):
        pass
    assert raised.value.code == "no_overview"


def test_too_large_a_slide_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_overview, "MOST_SOURCE_PX", 10)
    with open_slide(flat_tiff(tmp_path / "a.tif", picture(2100, 2200))) as slide, pytest.raises(Invalid) as raised:
        write_overview(slide, tmp_path / "out")
    assert raised.value.code == "no_overview"
    assert "pyramidal" in raised.value.hint


def test_a_damaged_slide_is_an_error(tmp_path: Path) -> None:
    path = flat_tiff(tmp_path / "a.tif", picture(2100, 2200))
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[40], file.pages[0].databytecounts[40]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = b"\xff" * count
    path.write_bytes(data)
    with pytest.raises(Invalid) as raised, overview_isolated(path, name="a", size=Size(2100, 2200)):
        pass
    assert raised.value.code == "unreadable_image"


def test_a_full_volume_is_said(tmp_path: Path) -> None:
    with open_slide(flat_tiff(tmp_path / "a.tif", picture(2100, 2200))) as slide, pytest.raises(Unavailable) as raised:
        write_overview(slide, Path("/dev/full"))
    assert raised.value.code == "storage_full"


def test_samples_of_16_bits_fit_the_memory_of_a_child(tmp_path: Path) -> None:
    size = Size(32_768, 1024)
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.full((size.height, size.width, 3), 0x8000, np.uint16),
        photometric="rgb",
        compression="zlib",
        tile=(256, 256),
    )
    levels = levels_of(tmp_path / "a.tif", size)
    assert (levels[max(levels)] == 128).all()


@pytest.mark.parametrize(("first", "count"), [(3, 10), (-1, 10), (99, 10), (0, 4), (0, 2)])
def test_what_a_child_says_is_checked(tmp_path: Path, first: int, count: int) -> None:
    out = tmp_path / "levels"
    out.write_bytes(bytes(count))
    with pytest.raises(Invalid):
        _levels(out, first, DeepZoom(Size(300, 200), tile_px=1, overlap_px=0), name="a")


def test_bands_cover_a_level_once_and_stay_small() -> None:
    for size in (Size(20_480, 20_480), Size(70_000, 300), Size(65_537, 257), Size(5, 1_000)):
        bands = _overview._bands(size)
        assert sum(band.size.pixels for band in bands) == size.pixels
        assert all(band.size.pixels <= 2**24 and band.y % 256 == band.x % 2**16 == 0 for band in bands)
        assert all(band.inside(size) for band in bands)
        assert not any(a.overlaps(b) for a in bands[:20] for b in bands[:20] if a != b)
