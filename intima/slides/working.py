"""Read at a working resolution, and read small images whole."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from intima.arrays import RgbImage
from intima.geometry import Region, Size
from intima.slides._guard import MAX_DECODE_PIXELS, check_pixels
from intima.slides.opening import Slide

_MAX_READ_PIXELS = 8_000_000
_ALMOST = 1e-6


def read_image(slide: Slide, *, max_pixels: int = MAX_DECODE_PIXELS) -> RgbImage:
    """Read a whole image at level 0. Raises Invalid "image_too_large" beyond ``max_pixels``."""
    check_pixels(slide.size.width, slide.size.height, most=max_pixels)
    return slide.read(Region(0, 0, slide.size.width, slide.size.height))


def read_working(slide: Slide, region: Region, *, scale: float) -> RgbImage:
    """Read a region of the whole slide resampled to ``slide.size.scaled(scale)``; see ``read_resampled``.

    ``region`` is in working pixels, ``scale`` in working pixels per level-0 pixel.
    """
    whole = Region(0, 0, slide.size.width, slide.size.height)
    return read_resampled(slide, region, frame=whole, working=slide.size.scaled(scale))


def read_resampled(slide: Slide, region: Region, *, frame: Region, working: Size) -> RgbImage:
    """Read a region of the working image: the part ``frame`` of the slide resampled to the size ``working``.

    Shrinking averages each working pixel's exact footprint, growing is bilinear (half-pixel centres), as in
    ``tiling.resample_image``, so the answer is the crop of the resampled whole, whatever the region's origin, to
    within 1 grey level. Beyond the frame the slide goes on; beyond the slide is white. The coarsest pyramid level
    at least as fine as the working image is the source.

    Args:
        slide: an open slide.
        region: in working pixels, origin at the frame's corner; may leave the frame.
        frame: in level-0 pixels.
        working: size of the frame in working pixels.

    Raises:
        Invalid: the pixels are damaged.
    """
    level = source_level(slide, frame, working)
    across = _axis(slide.levels[level].width, slide.size.width, (frame.x, frame.width), working.width)
    down = _axis(slide.levels[level].height, slide.size.height, (frame.y, frame.height), working.height)
    return _read(slide, level, down=down, across=across, region=region)


def pixels_to_read(slide: Slide, region: Region, *, frame: Region, working: Size) -> int:
    """Return how many pixels of the file ``read_resampled`` would decode."""
    level = slide.levels[source_level(slide, frame, working)]
    across = _axis(level.width, slide.size.width, (frame.x, frame.width), working.width)
    down = _axis(level.height, slide.size.height, (frame.y, frame.height), working.height)
    left, right = across.cover(region.x, region.width)
    top, bottom = down.cover(region.y, region.height)
    return (right - left) * (bottom - top)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where working pixel i begins along one axis, in pixels of the level: start + i * step."""

    start: float
    step: float
    length: int
    """Pixels of the level along this axis."""

    def cover(self, first: int, count: int) -> tuple[int, int]:
        """Return the level pixels [low, high) that ``count`` working pixels from ``first`` need."""
        low = self.start + first * self.step
        high = self.start + (first + count) * self.step
        margin = 1 if self.step < 1 else 0
        return int(np.floor(low + _ALMOST)) - margin, int(np.ceil(high - _ALMOST)) + margin

    def weights(self, first: int, count: int) -> csr_array:
        """Return (count, covered level pixels) weights that sum to 1 in each row."""
        low, high = self.cover(first, count)
        return self._area(first, count, low, high) if self.step >= 1 else self._linear(first, count, low, high)

    def _area(self, first: int, count: int, low: int, high: int) -> csr_array:
        edges = self.start + np.arange(first, first + count + 1) * self.step - low
        reach = int(np.ceil(self.step)) + 2
        columns = np.floor(edges[:-1]).astype(np.intp)[:, None] + np.arange(reach)
        overlap = np.minimum(columns + 1, edges[1:, None]) - np.maximum(columns, edges[:-1, None])
        return _rows(np.clip(overlap, 0, None), columns, high - low)

    def _linear(self, first: int, count: int, low: int, high: int) -> csr_array:
        centres = self.start + (np.arange(first, first + count) + 0.5) * self.step - 0.5
        inside = (centres > -1) & (centres < self.length)
        centres = np.where(inside, np.clip(centres, 0, self.length - 1), centres) - low
        lower = np.floor(centres).astype(np.intp)
        fraction = centres - lower
        return _rows(np.stack([1 - fraction, fraction], 1), np.stack([lower, lower + 1], 1), high - low)


def _axis(level_length: int, full_length: int, span: tuple[int, int], working_length: int) -> _Axis:
    ratio = level_length / full_length
    return _Axis(span[0] * ratio, span[1] / working_length * ratio, level_length)


def _rows(weights: NDArray[np.float64], columns: NDArray[np.intp], width: int) -> csr_array:
    """Build a sparse matrix row by row; weights of columns outside it are rounding dust and dropped."""
    kept = (columns >= 0) & (columns < width) & (weights > 0)
    weights = np.where(kept, weights, 0)
    weights = weights / weights.sum(1, keepdims=True)
    starts = np.concatenate([[0], np.cumsum(kept.sum(1))])
    return csr_array((weights[kept].astype(np.float32), columns[kept], starts), shape=(len(weights), width))


def source_level(slide: Slide, frame: Region, working: Size) -> int:
    """Return the coarsest level at least as fine as the working image (level 0 where none is)."""
    wanted_x, wanted_y = working.width / frame.width, working.height / frame.height
    fine = [
        index
        for index, size in enumerate(slide.levels)
        if size.width / slide.size.width >= wanted_x - _ALMOST and size.height / slide.size.height >= wanted_y - _ALMOST
    ]
    return max(fine, default=0)


def _read(slide: Slide, level: int, *, down: _Axis, across: _Axis, region: Region) -> RgbImage:
    """Read one region, in halves until the source of each is small enough to hold as floats."""
    top, bottom = down.cover(region.y, region.height)
    left, right = across.cover(region.x, region.width)
    source = Region(left, top, right - left, bottom - top)
    if source.size.pixels > _MAX_READ_PIXELS and max(region.width, region.height) > 1:
        halves = [_read(slide, level, down=down, across=across, region=half) for half in _halves(region)]
        return np.concatenate(halves, axis=1 if region.width >= region.height else 0)
    pixels = slide.read_level(level, source)
    if down.step == across.step == 1 and source.size == region.size:
        return pixels
    rows = down.weights(region.y, region.height) @ pixels.reshape(source.height, -1).astype(np.float32)
    columns = rows.reshape(region.height, source.width, 3).swapaxes(0, 1).reshape(source.width, -1)
    mixed = (across.weights(region.x, region.width) @ columns).reshape(region.width, region.height, 3)
    return np.ascontiguousarray(np.clip(np.rint(mixed), 0, 255).astype(np.uint8).swapaxes(0, 1))


def _halves(region: Region) -> tuple[Region, Region]:
    x, y, width, height = region.x, region.y, region.width, region.height
    if width >= height:
        half = width // 2
        return Region(x, y, half, height), Region(x + half, y, width - half, height)
    half = height // 2
    return Region(x, y, width, half), Region(x, y + half, width, height - half)
