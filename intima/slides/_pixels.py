"""Bring decoded samples of any depth and colour model to 8-bit RGB."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intima.arrays import RgbImage

Samples: TypeAlias = NDArray[Any]
"""(height, width, samples) unsigned integers or bool, as the file stores them."""


def to_eight_bits(samples: Samples, *, white: int) -> NDArray[np.uint8]:
    """Scale 0..white to 0..255, rounded; larger values are clipped. ``white`` is at most 65535."""
    if samples.dtype == np.uint8 and white == 255:
        return np.asarray(samples, np.uint8)
    steps = np.arange(white + 1, dtype=np.int64)
    table = ((steps * 510 + white) // (2 * white)).astype(np.uint8)
    out: NDArray[np.uint8] = table[np.minimum(samples, white).astype(np.intp, copy=False)]
    return out


def grey_to_rgb(grey: NDArray[np.uint8]) -> RgbImage:
    """Repeat (height, width) grey into three channels."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def over_white(color: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite (height, width, channels) with straight alpha (height, width) over white."""
    weight = alpha[:, :, None].astype(np.uint32)
    mixed = color.astype(np.uint32) * weight + 255 * (255 - weight)
    out: NDArray[np.uint8] = ((mixed + 127) // 255).astype(np.uint8)
    return out


def premultiplied_over_white(color: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite (height, width, channels) with premultiplied alpha (height, width) over white."""
    mixed = color.astype(np.uint16) + (255 - alpha[:, :, None].astype(np.uint16))
    out: NDArray[np.uint8] = np.minimum(mixed, 255).astype(np.uint8)
    return out


def cmyk_to_rgb(inks: NDArray[np.uint8]) -> RgbImage:
    """Convert (height, width, 4) ink amounts (255 is full ink) by the plain rule (1 - ink)(1 - black)."""
    paper = 255 - inks.astype(np.uint32)
    out: RgbImage = ((paper[:, :, :3] * paper[:, :, 3:4] + 127) // 255).astype(np.uint8)
    return out


def ycbcr_to_rgb(samples: NDArray[np.uint8]) -> RgbImage:
    """Convert full-range YCbCr (JFIF, ITU-R BT.601) to RGB."""
    y, cb, cr = (samples[:, :, i].astype(np.float32) for i in range(3))
    red = y + 1.402 * (cr - 128)
    green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    blue = y + 1.772 * (cb - 128)
    out: RgbImage = np.clip(np.rint(np.stack([red, green, blue], axis=2)), 0, 255).astype(np.uint8)
    return out


def palette_to_rgb(indices: NDArray[Any], palette: NDArray[Any]) -> RgbImage:
    """Look up (height, width) indices in a (3, n) 16-bit TIFF colour map.

    A map without any value above 255 was written in 8 bits by mistake (libtiff's rule) and is taken as such.
    """
    colors = palette.T if palette.max() < 256 else (palette.T.astype(np.uint32) + 128) // 257
    out: RgbImage = colors.astype(np.uint8)[np.minimum(indices, palette.shape[1] - 1).astype(np.intp)]
    return out


def oriented(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn stored pixels upright by the TIFF / EXIF orientation 1..8; other values mean 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
