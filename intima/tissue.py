"""Tell tissue from glass on a thumbnail."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from intima.arrays import BinaryMask, RgbImage
from intima.geometry import Region, Size

_GLASS_OD = 0.04
"""Signal (density plus its spread over the channels) below which a pixel is glass on any scanner ..."""
_TISSUE_OD = 0.10
"""... and above which it is tissue."""
_DARKEST_GLASS = 190
_LARGEST_TINT = 24
_SMALLEST_SHARE = 0.002
_USUAL_WHITE = 245.0
_BINS = 256


def tissue_mask(thumbnail: RgbImage) -> BinaryMask:
    """Return True where there is tissue.

    The signal is optical density (Beer-Lambert) against the glass of the picture plus the spread of the
    density over the channels, so that a pale stain counts by its colour and a grey one by its darkness. Otsu's
    threshold (Otsu 1979) parts it, held between two densities at which every scanner shows glass and tissue: a
    picture of glass alone stays empty and one of tissue alone stays full. Specks and pin-holes are closed.

    Args:
        thumbnail: any size; best at most 2048 pixels on the long side.
    """
    signal = ndimage.gaussian_filter(_signal(thumbnail), sigma=1.0)
    return _above(signal, float(np.clip(_otsu(signal), _GLASS_OD, _TISSUE_OD)))


def _above(signal: NDArray[np.float64], threshold: float) -> BinaryMask:
    """Return where a signal is above a threshold, specks and pin-holes closed."""
    raw = signal > threshold
    cleaned: BinaryMask = ndimage.binary_closing(np.pad(raw, 2, mode="edge"), iterations=2)[2:-2, 2:-2]
    opened: BinaryMask = ndimage.binary_opening(np.pad(cleaned, 1, mode="edge"))[1:-1, 1:-1]
    return opened


@dataclass(frozen=True, slots=True)
class NearTissue:
    """Which pixels of an image are near tissue."""

    mask: BinaryMask
    """On a thumbnail of the image."""
    size: Size
    """Of the image."""

    def of(self, region: Region) -> BinaryMask:
        """Return (height, width) of a region of the image."""
        rows, columns = self._places(region)
        return self.mask[rows[:, None], columns]

    def touches(self, region: Region) -> bool:
        """Tell whether a region may have a pixel near tissue."""
        rows, columns = self._places(region)
        return bool(self.mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].any())

    def _places(self, region: Region) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the thumbnail's pixel under the centre of each row and column."""
        rows = (np.arange(region.y, region.y + region.height) + 0.5) * (self.mask.shape[0] / self.size.height)
        columns = (np.arange(region.x, region.x + region.width) + 0.5) * (self.mask.shape[1] / self.size.width)
        return rows.astype(np.intp), columns.astype(np.intp)


def near_tissue(thumbnail: RgbImage, *, size: Size, margin_px: int) -> NearTissue:
    """Return where an image is worth looking at: in the convex hull of each piece of tissue, and near it.

    The hull holds what a torn or open vessel encloses. Where no tissue is found, everything is near. What is not
    clearly glass counts as tissue: a pale section beside a dark one is not lost.

    Args:
        thumbnail: the whole image, small.
        size: of the image.
        margin_px: what is near, in pixels of the image.
    """
    tissue = _above(ndimage.gaussian_filter(_signal(thumbnail), sigma=1.0), _GLASS_OD)
    if not tissue.any():
        return NearTissue(np.ones_like(tissue), size)
    reach = 1 + math.ceil(margin_px * max(tissue.shape[0] / size.height, tissue.shape[1] / size.width))
    reach = min(reach, max(tissue.shape))  # further than that is everywhere
    wide = ndimage.maximum_filter(np.pad(tissue, reach), size=2 * reach + 1)
    labels, _ = ndimage.label(wide, structure=np.ones((3, 3)))
    for piece in measure.regionprops(labels):  # type: ignore[no-untyped-call]
        wide[piece.slice] |= piece.image_convex
    return NearTissue(wide[reach:-reach, reach:-reach], size)


def _signal(thumbnail: RgbImage) -> NDArray[np.float64]:
    """Return mean density + spread over channels, about 0 for the colour of the glass."""
    density = -np.log10(np.clip(thumbnail / _white(thumbnail), 1 / 255, 1.0))
    out: NDArray[np.float64] = density.mean(axis=2) + density.std(axis=2)
    return out


def _white(thumbnail: RgbImage) -> NDArray[np.float64]:
    """Return the colour of the glass: the median of bright, nearly neutral pixels; a usual white where none is."""
    low, high = thumbnail.min(axis=2), thumbnail.max(axis=2)
    glass = thumbnail[(low >= _DARKEST_GLASS) & (high - low <= _LARGEST_TINT)]
    if len(glass) < _SMALLEST_SHARE * low.size:
        return np.full(3, _USUAL_WHITE)
    white: NDArray[np.float64] = np.median(glass, axis=0)
    return white


def _otsu(signal: NDArray[np.float64]) -> float:
    """Return the threshold that maximises the variance between both sides."""
    counts, edges = np.histogram(signal, bins=_BINS, range=(0.0, max(float(signal.max()), 1e-6)))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    sums = np.cumsum(counts * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][int(np.nanargmax(np.where(np.isfinite(between), between, -1.0)))])
