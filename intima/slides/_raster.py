"""PNG, JPEG, WebP and JPEG 2000 by Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from intima.arrays import RgbImage
from intima.contracts.segmentation import SlideInfo
from intima.slides._guard import check_pixels, unsupported
from intima.slides._pixels import grey_to_rgb, over_white, to_eight_bits
from intima.slides._source import WholeImage
from intima.slides.pixel_size import UNKNOWN, PixelSizeClaim, from_resolution

_FORMATS = {"PNG": "png", "JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp", "JPEG2000": "jpeg2000"}
_CODECS = ("PNG", "JPEG", "WEBP", "JPEG2000")
_HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_ORIENTATION = 0x0112


Image.init()  # loads the codecs beyond PNG and JPEG; Image.open with ``formats`` does not


def recognises(_path: Path, head: bytes) -> bool:
    """Tell by the first bytes whether this family reads the file."""
    return head.startswith(_HEADS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def open_raster(path: Path) -> WholeImage:
    """Open a raster image; reads the header only."""
    with Image.open(path, formats=_CODECS) as image:
        check_pixels(*image.size)
        return WholeImage(_info(image), lambda: _decode(path))


def _info(image: Image.Image) -> SlideInfo:
    width, height = image.size
    if image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8):
        width, height = height, width
    claim = _pixel_size(image)
    return SlideInfo(
        format=_FORMATS[str(image.format)],
        width=width,
        height=height,
        levels=1,
        mpp=claim.um,
        vendor=None,
        warnings=(*claim.warnings, *_warnings(image)),
    )


def _pixel_size(image: Image.Image) -> PixelSizeClaim:
    dpi = image.info.get("dpi")
    return UNKNOWN if dpi is None else from_resolution(float(dpi[0]), float(dpi[1]))


def _warnings(image: Image.Image) -> tuple[str, ...]:
    found = []
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        found.append(f"The file holds {getattr(image, 'n_frames', 1)} frames; the first is used.")
    if image.mode.startswith("I"):
        found.append("16-bit samples are reduced to 8 bits.")
    return tuple(found)


def _decode(path: Path) -> RgbImage:
    with Image.open(path, formats=_CODECS) as image:
        return _to_rgb(ImageOps.exif_transpose(image))


def _to_rgb(image: Image.Image) -> RgbImage:
    if image.mode.startswith("I;16"):
        return grey_to_rgb(to_eight_bits(np.asarray(image), white=65_535))
    if image.mode in ("F", "I", "LAB", "HSV"):
        raise unsupported(f"an image of mode {image.mode}", "Save it as 8-bit RGB.")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        straight = np.asarray(image.convert("RGBA"))
        return over_white(straight[:, :, :3], straight[:, :, 3])
    return np.asarray(image.convert("RGB"))
