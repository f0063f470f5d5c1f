"""Slides read in children that stay open: right pixels, bounded children, no harm from bad files."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from intima.confined import Limits
from intima.errors import Invalid
from intima.geometry import Region, Size
from intima.resampling import resample_image
from intima.slides import open_slide, read_resampled
from intima.slides.tiles import SlideTiles

RNG = np.random.default_rng(8)


@pytest.fixture
def tiles() -> Iterator[SlideTiles]:
    opened = SlideTiles(most_idle=2)
    yield opened
    opened.close()


def slide_file(folder: Path, number: int = 0) -> Path:
    path = folder / f"{number}.png"
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (90, 130, 3), dtype=np.uint8)).save(path)
    return path


def expected(path: Path, region: Region, working: Size) -> np.ndarray:
    with open_slide(path) as slide:
        whole = Region(0, 0, slide.size.width, slide.size.height)
        return read_resampled(slide, region, frame=whole, working=working)


@pytest.mark.parametrize("working", [Size(130, 90), Size(65, 45), Size(17, 12), Size(1, 1)])
def test_pixels_are_those_of_the_slide(tiles: SlideTiles, tmp_path: Path, working: Size) -> None:
    path = slide_file(tmp_path)
    region = Region(working.width // 3, working.height // 4, max(1, working.width // 2), max(1, working.height // 2))
    found = tiles.read(path, sha256="a", name="a.png", region=region, working=working)
    assert np.array_equal(found, expected(path, region, working))


@pytest.mark.parametrize("working", [Size(512, 384), Size(100, 75), Size(1, 1), Size(600, 450)])
def test_small_views_of_a_large_slide_are_made_of_one_overview(
    tiles: SlideTiles, tmp_path: Path, working: Size
) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(RNG.integers(0, 256, (150, 200, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)).save(path)
    region = Region(0, working.height // 2, working.width, max(1, working.height // 2))
    found = tiles.read(path, sha256="l", name="", region=region, working=working)
    exact = expected(path, region, working)
    if max(working.width, working.height) > 512:
        assert np.array_equal(found, exact)
    else:
        overview = expected(path, Region(0, 0, 1024, 768), Size(1024, 768))
        assert np.array_equal(found, resample_image(overview, working)[region.y : region.y + region.height])
        assert np.abs(found.astype(int) - exact).mean() < 4


def test_a_child_serves_many_tiles_and_few_stay(tiles: SlideTiles, tmp_path: Path) -> None:
    region, size = Region(0, 0, 9, 9), Size(130, 90)
    for number in range(4):
        path = slide_file(tmp_path, number)
        tiles.read(path, sha256=str(number), name="", region=region, working=size)
    processes = {held: reader.child.process.pid for held, reader in tiles._idle.values()}
    assert set(processes) == {"2", "3"}
    for _ in range(3):
        tiles.read(slide_file(tmp_path, 2), sha256="2", name="", region=region, working=size)
    assert {held: reader.child.process.pid for held, reader in tiles._idle.values()} == processes


def test_a_child_that_died_is_replaced(tiles: SlideTiles, tmp_path: Path) -> None:
    path, region, size = slide_file(tmp_path), Region(0, 0, 9, 9), Size(130, 90)
    first = tiles.read(path, sha256="a", name="", region=region, working=size)
    (_, reader) = next(iter(tiles._idle.values()))
    reader.child.process.kill()
    reader.child.process.join()
    assert np.array_equal(tiles.read(path, sha256="a", name="", region=region, working=size), first)
    assert len(tiles._idle) == 1


def test_an_idle_child_ends_by_itself_and_is_replaced(tmp_path: Path) -> None:
    opened = SlideTiles(idle_s=0.1)
    path, region, size = slide_file(tmp_path), Region(0, 0, 9, 9), Size(130, 90)
    first = opened.read(path, sha256="a", name="", region=region, working=size)
    (_, reader) = next(iter(opened._idle.values()))
    reader.child.process.join(30)
    assert reader.child.process.exitcode == 0
    assert np.array_equal(opened.read(path, sha256="a", name="", region=region, working=size), first)
    opened.close()


def test_many_threads_get_their_own_pixels(tiles: SlideTiles, tmp_path: Path) -> None:
    paths = [slide_file(tmp_path, number) for number in range(3)]
    size = Size(130, 90)
    jobs = [(n % 3, Region(n, n, 20, 10)) for n in range(18)]

    def read(job: tuple[int, Region]) -> np.ndarray:
        number, region = job
        return tiles.read(paths[number], sha256=str(number), name="", region=region, working=size)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, jobs))
    for (number, region), pixels in zip(jobs, found, strict=True):
        assert np.array_equal(pixels, expected(paths[number], region, size))
    assert len(tiles._idle) <= 2


def test_a_damaged_tile_is_an_error_and_its_neighbours_are_not(tiles: SlideTiles, tmp_path: Path) -> None:
    path = tmp_path / "damaged.tif"
    pixels = RNG.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    tifffile.imwrite(path, pixels, tile=(256, 256), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[3], file.pages[0].databytecounts[3]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = b"\xff" * count
    path.write_bytes(data)
    size = Size(512, 512)
    with pytest.raises(Invalid) as raised:
        tiles.read(path, sha256="d", name="damaged.tif", region=Region(300, 300, 50, 50), working=size)
    assert raised.value.code == "unreadable_image"
    whole = tiles.read(path, sha256="d", name="", region=Region(0, 0, 200, 200), working=size)
    assert np.array_equal(whole, pixels[:200, :200])


def test_what_is_no_slide_is_an_error_each_time(tiles: SlideTiles, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    for _ in range(2):
        with pytest.raises(Invalid, match="cannot be decoded"):
            tiles.read(path, sha256="x", name="x.png", region=Region(0, 0, 1, 1), working=Size(1, 1))
    assert not tiles._idle


def test_a_tile_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    slow = SlideTiles(limits=Limits(wall_s=0.001))
    with pytest.raises(Invalid, match="stopped"):
        slow.read(slide_file(tmp_path), sha256="a", name="a", region=Region(0, 0, 1, 1), working=Size(1, 1))
    assert not slow._idle
    slow.close()


def test_an_overview_of_a_slide_without_levels_is_refused_and_details_are_not(
    tiles: SlideTiles, tmp_path: Path
) -> None:
    path = tmp_path / "flat.tif"
    side = 12_288
    empty = (np.zeros((1024, 1024, 3), np.uint8) for _ in range((side // 1024) ** 2))
    tifffile.imwrite(
        path, empty, shape=(side, side, 3), dtype=np.uint8, tile=(1024, 1024), compression="zlib", photometric="rgb"
    )
    with pytest.raises(Invalid) as raised:
        tiles.read(path, sha256="f", name="", region=Region(0, 0, 48, 48), working=Size(48, 48))
    assert raised.value.code == "no_overview"
    detail = tiles.read(path, sha256="f", name="", region=Region(0, 0, 254, 254), working=Size(side, side))
    assert (detail == 0).all()
    with pytest.raises(Invalid) as too_large:
        tiles.shrink(path, sha256="f", name="", working=Size(48, 48))
    assert too_large.value.code == "image_too_large"


def test_the_largest_image_that_may_be_decoded_whole_is_shrunk_within_the_limits(
    tiles: SlideTiles, tmp_path: Path
) -> None:
    path, side = tmp_path / "large.png", 9450
    column = np.repeat(np.arange(9450) // 37 % 256, 3).reshape(side, 1, 3).astype(np.uint8)
    Image.fromarray(np.broadcast_to(column, (side, side, 3)).copy()).save(path, compress_level=1)
    with pytest.raises(Invalid, match="overview"):
        tiles.read(path, sha256="l", name="", region=Region(0, 0, 64, 64), working=Size(64, 64))
    for px in (64, 1000):
        found = tiles.shrink(path, sha256="l", name="", working=Size(px, px))
        rows = np.linspace(0, 255, px)
        assert np.abs(found.mean((1, 2)) - rows).max() < 9


def test_closing_ends_the_children(tmp_path: Path) -> None:
    opened = SlideTiles()
    opened.read(slide_file(tmp_path), sha256="a", name="", region=Region(0, 0, 1, 1), working=Size(1, 1))
    (_, reader) = next(iter(opened._idle.values()))
    assert reader.child.process.is_alive()
    opened.close()
    assert not opened._idle
    opened.read(slide_file(tmp_path), sha256="a", name="", region=Region(0, 0, 1, 1), working=Size(1, 1))
    assert not opened._idle, "nothing stays open behind the end"
    assert threading.active_count() < 20
