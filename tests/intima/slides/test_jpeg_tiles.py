"""Reads by the tile index: the pixels of tifffile and OpenSlide exactly in every region, bad tiles as before."""

from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from openslide import OpenSlide

from intima.errors import Invalid
from intima.geometry import Region
from intima.slides import _jpeg_tiles, open_slide, read_image, read_working
from intima.slides._deidentify import deidentify
from intima.slides._openslide import ScannerSlide
from intima.slides._tiff import TiffSlide
from tests.slide_files import texture, tiles_of

PICTURE = texture(301, 423)
RNG = np.random.default_rng(12)


def encoded(pixels: np.ndarray, height: int, width: int, **options: object) -> list[bytes]:
    return [imagecodecs.jpeg8_encode(tile, level=85, **options) for tile in tiles_of(pixels, height, width)]


def write(
    path: Path,
    tiles: Sequence[bytes],
    *,
    size: tuple[int, int] = PICTURE.shape[:2],
    tile: tuple[int, int] = (64, 48),
    **options: object,
) -> Path:
    """Write tiles encoded elsewhere."""
    settings: dict[str, object] = {"photometric": "ycbcr", "subsampling": (2, 2), "metadata": None} | options
    tifffile.imwrite(path, iter(tiles), shape=(*size, 3), dtype=np.uint8, tile=tile, compression="jpeg", **settings)
    return path


def source_of(slide: object) -> object:
    return slide._source  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("coding", "options"),
    [
        ({"subsampling": "420"}, {}),
        ({"subsampling": "444"}, {"subsampling": (1, 1)}),
        ({"colorspace": "RGB", "outcolorspace": "RGB"}, {"photometric": "rgb", "subsampling": None}),
        ({"subsampling": "420"}, {"bigtiff": True}),
        ({"subsampling": "422"}, {"byteorder": ">", "subsampling": (2, 1)}),
    ],
    ids=str,
)
def test_every_region_is_that_of_tifffile(
    tmp_path: Path, coding: dict[str, object], options: dict[str, object]
) -> None:
    path = write(tmp_path / "a.tif", encoded(PICTURE, 64, 48, **coding), **options)
    whole = tifffile.imread(path)
    with open_slide(path) as slide:
        source = source_of(slide)
        assert isinstance(source, TiffSlide)
        assert source.tiles is not None
        assert np.array_equal(read_image(slide), whole)
        for _ in range(60):
            x, y = int(RNG.integers(0, 423)), int(RNG.integers(0, 301))
            width, height = int(RNG.integers(1, 424 - x)), int(RNG.integers(1, 302 - y))
            found = slide.read(Region(x, y, width, height))
            assert np.array_equal(found, whole[y : y + height, x : x + width])


def test_neighbouring_regions_decode_no_tile_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = texture(512, 512)
    path = write(tmp_path / "a.tif", encoded(picture, 64, 64), size=(512, 512), tile=(64, 64))
    decode, count = imagecodecs.jpeg8_decode, [0]

    def counting(*arguments: object, **options: object) -> object:
        count[0] += 1
        return decode(*arguments, **options)

    monkeypatch.setattr(_jpeg_tiles.imagecodecs, "jpeg8_decode", counting)
    with open_slide(path) as slide:
        for offset, most in ((0, 64), (31, 64 + 8)):
            count[0] = 0
            for y in range(offset, 512, 128):
                for x in range(offset, 512, 128):
                    slide.read(Region(x, y, 128, 128))
            assert count[0] <= most


def test_kept_tiles_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_jpeg_tiles, "_MAX_KEPT_BYTES", 40_000)
    path = write(tmp_path / "a.tif", encoded(PICTURE, 64, 48))
    whole = tifffile.imread(path)
    with open_slide(path) as slide:
        tiles = source_of(slide).tiles  # type: ignore[attr-defined]
        for y in range(0, 280, 20):
            for x in range(0, 400, 20):
                assert np.array_equal(slide.read(Region(x, y, 21, 21)), whole[y : y + 21, x : x + 21])
                assert tiles._kept_bytes == sum(tile.nbytes for tile in tiles._kept.values()) <= 40_000


def test_a_tile_the_file_lacks_is_white(tmp_path: Path) -> None:
    tiles = encoded(PICTURE, 64, 48)
    path = write(tmp_path / "a.tif", tiles)
    with tifffile.TiffFile(path, mode="r+b") as file:
        counts = list(file.pages[0].databytecounts)
        file.pages[0].tags["TileByteCounts"].overwrite([counts[0], 0, *counts[2:]])
    with open_slide(path) as slide:
        assert slide.read(Region(48, 0, 48, 64)).min() == 255
        assert slide.read(Region(0, 0, 48, 64)).min() < 255
        assert slide.read(Region(47, 3, 60, 60))[:, 1:49].min() == 255


@pytest.mark.parametrize("side", [40, 64, 200])
def test_a_tile_of_another_size_is_what_it_was_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    tiles = encoded(PICTURE, 64, 48)
    odd = imagecodecs.jpeg8_encode(PICTURE[:side, :side], level=85)
    path = write(tmp_path / "a.tif", [odd, *tiles[1:]])

    def outcome() -> object:
        with open_slide(path) as slide:
            try:
                return read_image(slide).tobytes()
            except Invalid as error:
                return error.code

    now = outcome()
    monkeypatch.setattr(_jpeg_tiles, "jpeg_levels", lambda _pages: None)
    assert now == outcome()


@pytest.mark.parametrize("damage", [b"", b"\xff\xd8\xff", b"garbage" * 9])
def test_a_bad_tile_is_an_error_and_its_neighbours_are_not(tmp_path: Path, damage: bytes) -> None:
    tiles = encoded(PICTURE, 64, 48)
    path = write(tmp_path / "a.tif", tiles)
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[1], file.pages[0].databytecounts[1]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(damage.ljust(count, b"\0"))
    with open_slide(path) as slide:
        with pytest.raises(Invalid) as caught:
            slide.read(Region(50, 5, 10, 10))
        assert caught.value.code == "unreadable_image"
        assert slide.read(Region(0, 0, 48, 64)).min() < 255


def test_other_pages_keep_their_reader(tmp_path: Path) -> None:
    for name, options in {
        "zlib": {"compression": "zlib", "tile": (64, 48)},
        "strips": {"compression": "jpeg", "rowsperstrip": 16},
    }.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, PICTURE, photometric="rgb", metadata=None, **options)
        with open_slide(path) as slide:
            assert source_of(slide).tiles is None  # type: ignore[attr-defined]
    grey = tmp_path / "grey.tif"
    tifffile.imwrite(grey, PICTURE[:, :, 0], photometric="minisblack", compression="jpeg", tile=(64, 48))
    with open_slide(grey) as slide:
        assert source_of(slide).tiles is None  # type: ignore[attr-defined]


def test_the_real_svs_says_what_openslide_says_and_shows_its_pixels(shared_data: Path) -> None:
    path = shared_data / "wsi" / "svs" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide, OpenSlide(path) as reference:
        source = source_of(slide)
        assert isinstance(source, ScannerSlide)
        assert source.tiles is not None
        info = slide.info
        assert (info.format, info.vendor, info.levels, info.mpp) == ("svs", "aperio", 1, pytest.approx(0.499))
        for _ in range(30):
            x, y = int(RNG.integers(0, 2200)), int(RNG.integers(0, 2900))
            width, height = int(RNG.integers(1, 2221 - x)), int(RNG.integers(1, 2968 - y))
            expected = np.asarray(reference.read_region((x, y), 0, (width, height)))[:, :, :3]
            assert np.array_equal(slide.read(Region(x, y, width, height)), expected)


def halved(pixels: np.ndarray) -> np.ndarray:
    even = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2].astype(np.uint16)
    return ((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2] + 2) // 4).astype(np.uint8)


@pytest.fixture(scope="module")
def tissue(shared_data: Path) -> list[np.ndarray]:
    """The real slide and three levels of halves."""
    with OpenSlide(shared_data / "wsi" / "svs" / "CMU-1-Small-Region.svs") as slide:
        levels = [np.ascontiguousarray(np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[:, :, :3])]
    for _ in range(3):
        levels.append(halved(levels[-1]))
    return levels


def real_pyramid(path: Path, levels: Sequence[np.ndarray], kind: str) -> Path:
    """Write the real slide as a pyramid of JPEG tiles: plain pages, SubIFDs, OME-TIFF, or Aperio's own layout."""
    common: dict[str, object] = {"photometric": "rgb", "tile": (256, 256), "compression": "jpeg"}
    resolution = {"resolution": (1e4 / 0.499, 1e4 / 0.499), "resolutionunit": 3}
    first: dict[str, object] = {"metadata": None}
    if kind == "ome":
        first = {"subifds": 3, "metadata": {"axes": "YXS", "PhysicalSizeX": 0.499, "PhysicalSizeY": 0.499}}
    elif kind == "sub":
        first |= {"subifds": 3}
    elif kind == "svs":
        first |= {"description": "Aperio Image Library v11.2.1\r\n2220x2967 (256x256) JPEG|AppMag = 20|MPP = 0.499"}
    with tifffile.TiffWriter(path, ome=kind == "ome") as out:
        out.write(levels[0], **first, **resolution, **common)
        if kind == "svs":  # the second page of an SVS is its thumbnail, in strips
            strips = common | {"tile": None, "rowsperstrip": 16}
            out.write(levels[3], metadata=None, description="Aperio Image Library v11.2.1\r\nthumbnail", **strips)
        for level in levels[1:]:
            description = {"description": "Aperio Image Library v11.2.1\r\nlevel"} if kind == "svs" else {}
            out.write(level, subfiletype=0 if kind == "svs" else 1, metadata=None, **description, **common)
    return path


@pytest.mark.parametrize("kind", ["plain", "sub", "ome", "svs"])
def test_a_real_pyramid_gives_levels_pixel_size_and_the_right_level(
    tmp_path: Path, tissue: list[np.ndarray], kind: str
) -> None:
    path = real_pyramid(tmp_path / "a.tif", tissue, kind)
    with open_slide(path) as slide:
        expected = {"plain": "tiff", "sub": "tiff", "ome": "ome-tiff", "svs": "svs"}[kind]
        assert (slide.info.format, slide.info.levels) == (expected, 4)
        assert slide.info.mpp == pytest.approx(0.499, rel=1e-4)
        assert [(s.width, s.height) for s in slide.levels] == [(2220, 2967), (1110, 1483), (555, 741), (277, 370)]
        assert source_of(slide).tiles is not None  # type: ignore[attr-defined]
        read, asked = slide.read_level, []
        slide.read_level = lambda level, region: asked.append(level) or read(level, region)  # type: ignore[method-assign]
        for scale, level in ((1.0, 0), (0.6, 0), (0.5, 0), (0.4, 1), (0.2, 2), (0.124, 3), (0.05, 3)):
            asked.clear()
            region = Region(0, 0, min(60, int(2220 * scale)), 50)
            found = read_working(slide, region, scale=scale)
            assert set(asked) == {level}, scale
            assert found.shape == (region.height, region.width, 3)
            assert abs(float(found.mean()) - float(expected_mean(tissue[0], region, scale))) < 2.5, scale
        for number, pixels in enumerate(tissue):
            whole = slide.read_level(number, Region(0, 0, pixels.shape[1], pixels.shape[0]))
            assert np.abs(whole.astype(int) - pixels).mean() < 4


def expected_mean(full: np.ndarray, region: Region, scale: float) -> float:
    return float(full[: round(region.height / scale), : round(region.width / scale)].mean())


@pytest.mark.parametrize("kind", ["plain", "svs"])
def test_a_real_pyramid_has_openslides_pixels_on_every_level(
    tmp_path: Path, tissue: list[np.ndarray], kind: str
) -> None:
    path = real_pyramid(tmp_path / "a.tif", tissue, kind)
    with open_slide(path) as slide, OpenSlide(path) as reference:
        assert reference.level_count == 4
        for level, pixels in enumerate(tissue):
            height, width = pixels.shape[:2]
            theirs = np.asarray(reference.read_region((0, 0), level, (width, height)))[:, :, :3]
            assert np.array_equal(slide.read_level(level, Region(0, 0, width, height)), theirs)


@pytest.mark.parametrize("kind", ["plain", "sub", "ome", "svs"])
def test_a_deidentified_pyramid_has_the_same_levels(tmp_path: Path, tissue: list[np.ndarray], kind: str) -> None:
    path, copy = real_pyramid(tmp_path / "a.tif", tissue, kind), tmp_path / "b.tif"
    deidentify(path, copy, name="a")
    with open_slide(path) as one, open_slide(copy) as two:
        assert one.levels == two.levels
        assert two.info.mpp == pytest.approx(one.info.mpp, rel=1e-5)
        for level, size in enumerate(one.levels):
            region = Region(0, 0, size.width, size.height)
            assert np.array_equal(one.read_level(level, region), two.read_level(level, region))
