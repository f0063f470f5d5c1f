"""Tell whether the second page of an SVS is a thumbnail: a small picture of the main image, not a label or a photo."""

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffPage

from intima.errors import Invalid
from intima.geometry import Region
from intima.slides import _tiff
from intima.slides import _tiff_color as color
from intima.slides._guard import decoding

_CELLS = 32
"""Rows and columns of the small versions that are compared."""
_MEAN_DIFFERENCE, _LARGEST_DIFFERENCE = 4.0, 16.0
"""Most by which a thumbnail may differ from its main image, of 255: mean over all cells, and in any one cell."""
_MOST_PIXELS = 2**25
"""Pixels of the level that is decoded for the comparison."""


def says_label(text: str) -> bool:
    """Tell whether a description names a label or a macro photo."""
    return "label" in text.lower() or "macro" in text.lower()


def is_thumbnail(page: TiffPage, levels: tuple[TiffPage, ...]) -> bool:
    """Tell whether a page is, by its tags and by its pixels, the main image made smaller; in doubt it is not.

    Compared are the mean colours of 32 x 32 cells, with the smallest level that is no smaller than the page.
    """
    if (
        page.is_tiled
        or page.subfiletype
        or says_label(str(page.description))
        or not _tiff.is_reduction(page, levels[0])
    ):
        return False
    larger = [level for level in levels if level.imagewidth >= page.imagewidth]
    level = min(larger, key=lambda candidate: candidate.imagewidth)
    if max(one.imagewidth * one.imagelength for one in (page, level)) > _MOST_PIXELS:
        return False
    try:
        with decoding(""):
            return _looks_like(page, level)
    except Invalid:
        return False


def _looks_like(page: TiffPage, level: TiffPage) -> bool:
    cells = (min(_CELLS, page.imagelength, level.imagelength), min(_CELLS, page.imagewidth, level.imagewidth))
    difference = np.abs(_small(page, cells) - _small(level, cells))
    return bool(difference.mean() <= _MEAN_DIFFERENCE and difference.max() <= _LARGEST_DIFFERENCE)


def _small(page: TiffPage, cells: tuple[int, int]) -> NDArray[np.float64]:
    """Return the mean colours of (rows, columns) cells that cover the page."""
    _tiff.check_page(page)
    color.check(page)
    pixels = _tiff.read_rgb(page, Region(0, 0, page.imagewidth, page.imagelength))
    rows, columns = (np.linspace(0, pixels.shape[axis], cells[axis] + 1).astype(np.intp) for axis in (0, 1))
    sums = np.add.reduceat(np.add.reduceat(pixels, rows[:-1], axis=0, dtype=np.int64), columns[:-1], axis=1)
    means: NDArray[np.float64] = sums / np.outer(np.diff(rows), np.diff(columns))[:, :, None]
    return means
