"""Read label masks: one channel of class indices."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import PHOTOMETRIC, TiffFile

from intima.arrays import LabelMask
from intima.errors import Invalid
from intima.geometry import Region
from intima.slides import _tiff, _tiff_color, _tiff_meta
from intima.slides._guard import check_pixels, decoding
from intima.slides._pixels import oriented

_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_INDEX = 63
_HINT = (
    "Save the mask as a PNG or TIFF with one 8-bit channel whose values are the class indices 0, 1, 2, ... "
    "(a palette PNG is fine: its indices count, not its colours)."
)


def read_mask(path: Path, *, name: str = "") -> LabelMask:
    """Read a single-channel PNG or TIFF of class indices 0..63, upright.

    Of a palette image the indices count. Raises Invalid: "bad_mask" for colours, alpha, float, negative or larger
    values, "unreadable_image" for damage, "image_too_large".
    """
    with path.open("rb") as file:
        head = file.read(len(_PNG))
    with decoding(name):
        if head == _PNG:
            values = _read_png(path, name)
        elif _tiff.recognises(path, head):
            values = _read_tiff(path, name)
        else:
            raise _bad(name, "a file that is neither PNG nor TIFF")
        return _as_indices(values, name)


def _read_png(path: Path, name: str) -> NDArray[Any]:
    with Image.open(path, formats=("PNG",)) as image:
        check_pixels(*image.size)
        if image.mode not in ("1", "L", "P", "I;16", "I"):
            raise _bad(name, f"a PNG of mode {image.mode}")
        values = np.asarray(image)
        if image.mode == "L":
            values = values // _grey_step(path)
        return oriented(values, image.getexif().get(274, 1))


def _grey_step(path: Path) -> int:
    """Return what Pillow multiplied 2- and 4-bit grey by (the IHDR chunk holds the bit depth)."""
    with path.open("rb") as file:
        depth = file.read(25)[24]
    return {2: 85, 4: 17}.get(depth, 1)


def _read_tiff(path: Path, name: str) -> NDArray[Any]:
    with TiffFile(path) as file:
        page = _tiff.pyramid(file)[0]
        _tiff.check_page(page)
        check_pixels(page.imagewidth, page.imagelength)
        if page.samplesperpixel != 1 or page.photometric == PHOTOMETRIC.MINISWHITE:
            raise _bad(name, f"a TIFF of {page.samplesperpixel} samples per pixel, {_tiff_color.photometric(page)}")
        samples, _ = _tiff.read_samples(page, Region(0, 0, page.imagewidth, page.imagelength))
        return oriented(samples[:, :, 0], _tiff_meta.orientation(page))


def _as_indices(values: NDArray[Any], name: str) -> LabelMask:
    if values.dtype.kind not in "uib":
        raise _bad(name, f"values of type {values.dtype}")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > _LARGEST_INDEX:
        raise _bad(name, f"values {low} to {high}")
    return np.ascontiguousarray(values, np.uint8)


def _bad(name: str, found: str) -> Invalid:
    label = f"mask {name!r} with" if name else "a mask with"
    return Invalid(
        f"Got {label} {found}; need one channel of class indices 0 to {_LARGEST_INDEX}.",
        code="bad_mask",
        hint=_HINT,
    )
