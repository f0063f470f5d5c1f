"""Masks: indices, never colours."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from intima.errors import Invalid
from intima.slides import read_mask

MASK = np.random.default_rng(3).integers(0, 4, (37, 53), dtype=np.uint8)


def test_grey_png(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    Image.fromarray(MASK).save(path)
    assert np.array_equal(read_mask(path), MASK)


def test_palette_png_gives_indices_not_colours(tmp_path: Path) -> None:
    image = Image.fromarray(MASK, mode="P")
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    for bits in (2, 4, 8):
        image.save(tmp_path / "m.png", bits=bits)
        assert np.array_equal(read_mask(tmp_path / "m.png"), MASK)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_low_bit_depth_grey_png_is_not_stretched(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "m.png"
    values = MASK % 2**bits
    write_grey_png(path, values, bits)
    assert np.array_equal(read_mask(path), values)


def write_grey_png(path: Path, values: np.ndarray, bits: int) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    each = ((values[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(values.shape[0], -1)
    lines = b"".join(b"\0" + np.packbits(row).tobytes() for row in each)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


def test_sixteen_bit_indices_are_taken(tmp_path: Path) -> None:
    Image.fromarray(MASK.astype(np.uint16)).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), MASK)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16), "compression": "zlib"}])
def test_tiff(tmp_path: Path, dtype: type, options: dict[str, object]) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, MASK.astype(dtype), photometric="minisblack", **options)
    found = read_mask(path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, MASK)


def test_palette_tiff_gives_indices(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, MASK, photometric="palette", colormap=np.full((3, 256), 65535, np.uint16))
    assert np.array_equal(read_mask(path), MASK)


def test_mask_is_turned_upright_like_its_image(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, np.ascontiguousarray(MASK.T), photometric="minisblack", extratags=[(274, 3, 1, 5)])
    assert np.array_equal(read_mask(path), MASK)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.dstack([MASK] * 3)),
        Image.fromarray(np.dstack([MASK] * 4)),
        Image.fromarray(np.dstack([MASK] * 2), mode="LA"),
        Image.fromarray(np.where(MASK > 1, 255, 0).astype(np.uint8)),
        Image.fromarray(np.full((4, 4), 64, np.uint8)),
    ],
    ids=["rgb", "rgba", "grey with alpha", "0 and 255", "64"],
)
def test_other_png_masks_are_refused_with_a_hint(tmp_path: Path, image: Image.Image) -> None:
    path = tmp_path / "m.png"
    image.save(path)
    with pytest.raises(Invalid) as caught:
        read_mask(path, name="m.png")
    assert caught.value.code == "bad_mask"
    assert "m.png" in caught.value.message
    assert "class indices" in caught.value.hint


@pytest.mark.parametrize(
    "data", [MASK.astype(np.float32), -MASK.astype(np.int16) - 1, np.dstack([MASK] * 3)], ids=["float", "minus", "rgb"]
)
def test_other_tiff_masks_are_refused(tmp_path: Path, data: np.ndarray) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, data, photometric="rgb" if data.ndim == 3 else "minisblack")
    with pytest.raises(Invalid) as caught:
        read_mask(path)
    assert caught.value.code == "bad_mask"


def test_jpeg_is_no_mask(tmp_path: Path) -> None:
    path = tmp_path / "m.jpg"
    Image.fromarray(MASK).save(path)
    with pytest.raises(Invalid, match="neither PNG nor TIFF"):
        read_mask(path)
