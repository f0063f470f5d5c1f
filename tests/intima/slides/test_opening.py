"""Opening and reading: every family against a reference decode, and headers that lie."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from intima.errors import Invalid
from intima.geometry import Region
from intima.slides import READERS, open_slide, read_image

RNG = np.random.default_rng(1)
RGB = RNG.integers(0, 256, (61, 83, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (61, 83), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (61, 83), dtype=np.uint16)


def pixels(path: Path) -> np.ndarray:
    with open_slide(path, name=path.name) as slide:
        image = read_image(slide)
        assert image.shape == (slide.info.height, slide.info.width, 3)
        assert image.dtype == np.uint8
        return image


def saved(folder: Path, data: np.ndarray, **options: object) -> Path:
    path = folder / "image.tif"
    tifffile.imwrite(path, data, **options)
    return path


def scaled16(values: np.ndarray) -> np.ndarray:
    return np.floor(values.astype(np.float64) / 257 + 0.5).astype(np.uint8)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rowsperstrip": 7},
        {"tile": (32, 16)},
        {"tile": (16, 16), "compression": "zlib", "predictor": True},
        {"tile": (64, 64), "compression": "lzw"},
        {"compression": "zstd"},
        {"bigtiff": True, "tile": (16, 48)},
        {"byteorder": ">", "rowsperstrip": 10},
    ],
)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb_tiff_layouts_are_read_exactly(tmp_path: Path, options: dict[str, object], planar: str) -> None:
    data = RGB if planar == "contig" else RGB.transpose(2, 0, 1)
    path = saved(tmp_path, data, photometric="rgb", planarconfig=planar, **options)
    assert np.array_equal(pixels(path), RGB)


@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_grey_sixteen_bit_scales_full_range_to_full_range(tmp_path: Path, tile: tuple[int, int] | None) -> None:
    path = saved(tmp_path, GREY16, photometric="minisblack", tile=tile)
    assert np.array_equal(pixels(path), np.repeat(scaled16(GREY16)[:, :, None], 3, 2))
    with open_slide(path) as slide:
        assert any("16-bit" in warning for warning in slide.info.warnings)


def test_max_sample_value_says_how_many_bits_are_used(tmp_path: Path) -> None:
    path = saved(tmp_path, np.full((8, 8), 4095, np.uint16), photometric="minisblack", extratags=[(281, 3, 1, 4095)])
    assert pixels(path).min() == 255


def test_white_is_zero_is_inverted(tmp_path: Path) -> None:
    path = saved(tmp_path, GREY, photometric="miniswhite")
    assert np.array_equal(pixels(path)[:, :, 0], 255 - GREY)


def test_palette_becomes_its_colours(tmp_path: Path) -> None:
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
    path = saved(tmp_path, GREY, photometric="palette", colormap=table * 257)
    assert np.array_equal(pixels(path), table.T[GREY])


def test_straight_alpha_is_over_white(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, np.where(GREY > 127, 255, 0).astype(np.uint8)])
    path = saved(tmp_path, rgba, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(pixels(path), np.where((GREY > 127)[:, :, None], RGB, 255))


def test_premultiplied_alpha_is_over_white(tmp_path: Path) -> None:
    alpha = np.full((*GREY.shape, 1), 128, np.uint8)
    path = saved(tmp_path, np.dstack([RGB // 2, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    assert np.array_equal(pixels(path), RGB // 2 + 127)


def test_cmyk_without_ink_is_white_and_black_ink_is_black(tmp_path: Path) -> None:
    inks = np.zeros((4, 6, 4), np.uint8)
    inks[:, 3:, 3] = 255
    found = pixels(saved(tmp_path, inks, photometric="separated"))
    assert found[:, :3].min() == 255
    assert found[:, 3:].max() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["tiff", "jpeg", "png"])
def test_every_orientation_is_turned_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    upright = np.zeros((48, 96, 3), np.uint8)
    upright[:24, :48] = (255, 0, 0)
    upright[24:, 48:] = (0, 0, 255)
    steps = {1: [], 2: [1], 3: [0, 1], 4: [0], 5: [2], 6: [2, 0], 7: [2, 0, 1], 8: [2, 1]}[orientation]
    stored = upright
    for step in steps:
        stored = stored.swapaxes(0, 1) if step == 2 else np.flip(stored, step)
    path = tmp_path / f"image.{kind}"
    if kind == "tiff":
        tifffile.imwrite(path, stored, photometric="rgb", extratags=[(274, 3, 1, orientation)])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(stored).save(path, exif=exif, **({"quality": 95} if kind == "jpeg" else {}))
    assert np.abs(pixels(path).astype(int) - upright).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG2000", "JPEG"])
def test_raster_formats_equal_pillow(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image.bin"
    Image.fromarray(RGB).save(path, kind)
    assert np.array_equal(pixels(path), np.asarray(Image.open(path).convert("RGB")))


def test_png_of_every_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(GREY16).save(path)
    assert np.array_equal(pixels(path)[:, :, 1], scaled16(GREY16))
    Image.fromarray(GREY > 100).save(path)
    assert np.array_equal(pixels(path)[:, :, 0], np.where(GREY > 100, 255, 0))
    Image.fromarray(np.dstack([RGB, np.zeros_like(GREY)])).save(path)
    assert pixels(path).min() == 255


def test_pyramid_levels_are_found_and_match(tmp_path: Path) -> None:
    path = tmp_path / "pyramid.tif"
    base = RNG.integers(0, 256, (256, 320, 3), dtype=np.uint8)
    levels = [base, base[::2, ::2], base[::4, ::4]]
    with tifffile.TiffWriter(path) as writer:
        writer.write(levels[0], subifds=2, tile=(64, 64), photometric="rgb")
        for level in levels[1:]:
            writer.write(level, tile=(64, 64), photometric="rgb", subfiletype=1)
    with open_slide(path) as slide:
        assert slide.info.levels == 3
        for index, level in enumerate(levels):
            size = slide.levels[index]
            assert np.array_equal(slide.read_level(index, Region(0, 0, size.width, size.height)), level)


def test_the_largest_image_is_the_slide(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.zeros((20, 20, 3), np.uint8), photometric="rgb")
        writer.write(RGB, photometric="rgb")
    with open_slide(path) as slide:
        assert np.array_equal(read_image(slide), RGB)
        assert any("2 images" in warning for warning in slide.info.warnings)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(x=st.integers(-30, 100), y=st.integers(-30, 80), width=st.integers(1, 70), height=st.integers(1, 70))
def test_any_region_is_the_crop_of_the_whole_with_white_outside(
    tmp_path: Path, x: int, y: int, width: int, height: int
) -> None:
    path = tmp_path / "tiled.tif"
    if not path.exists():
        tifffile.imwrite(path, RGB, tile=(16, 32), photometric="rgb", compression="zlib")
    canvas = np.full((61 + 200, 83 + 200, 3), 255, np.uint8)
    canvas[100:161, 100:183] = RGB
    with open_slide(path) as slide:
        found = slide.read(Region(x, y, width, height))
    assert np.array_equal(found, canvas[100 + y : 100 + y + height, 100 + x : 100 + x + width])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (96 / 2.54, 96 / 2.54), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}, 0.5),
        ({"resolution": (50_800, 50_800), "resolutionunit": "INCH"}, 0.5),
        ({"resolution": (20_000, 10_000), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (4, 4), "resolutionunit": "NONE"}, None),
        ({"resolution": (4, 4), "imagej": True, "metadata": {"unit": "um"}}, 0.25),
        ({"resolution": (4, 4), "imagej": True, "metadata": {"unit": "pixel"}}, None),
    ],
)
def test_pixel_size_is_trusted_only_where_it_can_be_one(
    tmp_path: Path, options: dict[str, object], expected: float | None
) -> None:
    path = saved(tmp_path, RGB, photometric="rgb", **options)
    with open_slide(path) as slide:
        assert slide.info.mpp == (None if expected is None else pytest.approx(expected, rel=1e-4))
        assert (slide.info.mpp is None) == any("pixel size" in warning for warning in slide.info.warnings)


@pytest.mark.parametrize(("size", "unit", "expected"), [(0.25, "µm", 0.25), (250, "nm", 0.25), (0.5, "pixel", None)])
def test_ome_pixel_size(tmp_path: Path, size: float, unit: str, expected: float | None) -> None:
    path = tmp_path / "a.ome.tif"
    stated = {f"PhysicalSize{a}": size for a in "XY"} | {f"PhysicalSize{a}Unit": unit for a in "XY"}
    tifffile.imwrite(path, RGB, photometric="rgb", metadata={"axes": "YXS", **stated})
    with open_slide(path) as slide:
        assert slide.info.format == "ome-tiff"
        assert slide.info.mpp == expected


@pytest.mark.parametrize("dpi", [72, 96, 300, 600])
def test_print_resolution_of_a_png_is_no_pixel_size(tmp_path: Path, dpi: int) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path, dpi=(dpi, dpi))
    with open_slide(path) as slide:
        assert slide.info.mpp is None


@pytest.mark.parametrize(
    "data",
    [
        GREY.astype(np.float32),
        GREY.astype(np.int16),
        GREY.astype(np.uint32),
        np.zeros((20, 20, 5), np.uint8),
    ],
    ids=["float", "signed", "32-bit", "five channels"],
)
def test_images_without_a_single_rgb_meaning_are_refused(tmp_path: Path, data: np.ndarray) -> None:
    path = saved(tmp_path, data, photometric="minisblack", **({"planarconfig": "contig"} if data.ndim == 3 else {}))
    with pytest.raises(Invalid) as caught:
        open_slide(path)
    assert caught.value.code == "unsupported_image"
    assert caught.value.hint


def test_fluorescence_channels_are_refused_and_planes_warned_about(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    stack = np.stack([GREY, 255 - GREY])
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(Invalid, match="2 separate channels"):
        open_slide(path)
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": "ZYX"})
    with open_slide(path) as slide:
        assert any("2 planes" in warning for warning in slide.info.warnings)
        assert np.array_equal(read_image(slide)[:, :, 0], GREY)


def test_content_decides_not_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "image.svs"
    Image.fromarray(RGB).save(path, "PNG")
    assert np.array_equal(pixels(path), RGB)
    assert list(READERS) == ["bundle", "dicom", "scanner", "tiff", "raster"]


@pytest.mark.parametrize("content", [b"", b"hello", b"%PDF-1.7", b"GIF89a" + bytes(50), bytes(1000)])
def test_other_content_is_refused_with_a_hint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(Invalid) as caught:
        open_slide(path, name="image.png")
    assert caught.value.code == "unknown_format"
    assert "TIFF" in caught.value.hint


def test_a_missing_file_is_no_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_slide(tmp_path / "absent.png")


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + ihdr + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (20_000, 9_000), (60_000, 60_000)])
def test_png_bombs_are_refused_from_the_header(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    with pytest.raises(Invalid) as caught:
        open_slide(path)
    assert caught.value.code in ("image_too_large", "unreadable_image")


def tiff_bomb(path: Path, *, side: int, tile: int, tiles: int) -> Path:
    """Write a TIFF whose tiles all share one block of compressed zeros."""
    block = zlib.compress(bytes(min(tile * tile, 2**20)))
    entries = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    entries += [(277, 3, 1, 1), (322, 4, 1, tile), (323, 4, 1, tile)]
    start = 8 + 2 + 12 * 10 + 4
    offsets, counts = start, start + 4 * tiles
    data = counts + 4 * tiles
    one = tiles == 1
    entries += [(324, 4, tiles, data if one else offsets), (325, 4, tiles, len(block) if one else counts)]
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries) + bytes(4)
    tables = struct.pack(f"<{tiles}I", *[data] * tiles) + struct.pack(f"<{tiles}I", *[len(block)] * tiles)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + ifd + tables + block)
    return path


def test_a_tiff_bomb_of_shared_tiles_opens_but_is_not_decoded_whole(tmp_path: Path) -> None:
    path = tiff_bomb(tmp_path / "bomb.tif", side=60_000, tile=512, tiles=118 * 118)
    with open_slide(path) as slide:
        assert slide.info.width == 60_000
        assert slide.read(Region(30_000, 30_000, 64, 64)).max() == 0
        with pytest.raises(Invalid) as caught:
            read_image(slide)
    assert caught.value.code == "image_too_large"


@pytest.mark.parametrize(("side", "tile"), [(40_000, 40_000), (3_000_000, 1024)])
def test_absurd_tiles_and_sides_are_refused_from_the_header(tmp_path: Path, side: int, tile: int) -> None:
    path = tiff_bomb(tmp_path / "bomb.tif", side=side, tile=tile, tiles=1)
    with pytest.raises(Invalid) as caught:
        open_slide(path)
    assert caught.value.code in ("image_too_large", "unreadable_image")


def test_truncated_files_are_unreadable(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(RGB).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(Invalid) as caught:
        pixels(cut)
    assert caught.value.code == "unreadable_image"
    assert "cut.png" in caught.value.message


def test_a_file_without_any_pixels_is_no_white_image(tmp_path: Path) -> None:
    path = saved(tmp_path, RGB, photometric="rgb", rowsperstrip=20, metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        counts = list(file.pages[0].databytecounts)
        file.pages[0].tags["StripByteCounts"].overwrite([0, *counts[1:]])
    with open_slide(path) as slide:
        assert f"1 of {len(counts)} tiles or strips are not in the file; they are white." in slide.info.warnings
        assert slide.read(Region(0, 0, 83, 20)).min() == 255
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["StripByteCounts"].overwrite([0] * len(counts))
    with pytest.raises(Invalid) as caught, open_slide(path):
        pass
    assert caught.value.code == "unreadable_image"


def test_fax_coding_carries_a_warning(tmp_path: Path, shared_data: Path) -> None:
    for path in (shared_data / "image-unusual" / "files").glob("*hopper_g4*"):
        with open_slide(path) as slide:
            assert any("fax-coded" in warning for warning in slide.info.warnings)
