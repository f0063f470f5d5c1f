"""Read at a working resolution, and read small images whole."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from intima.arrays import RgbImage
from intima.geometry import Region, Size
from intima.slides._guard import MAX_DECODE_PIXELS, check_pixels
from intima.slides.opening import Slide

_SUPPORT = 3
"""Margin around a read, in steps of the kernel; the triangle kernel reaches one."""
_MAX_READ_PIXELS = 32_000_000


def read_image(slide: Slide, *, max_pixels: int = MAX_DECODE_PIXELS) -> RgbImage:
    """Read a whole image at level 0. Raises Invalid "image_too_large" beyond ``max_pixels``."""
    check_pixels(slide.size.width, slide.size.height, most=max_pixels)
    return slide.read(Region(0, 0, slide.size.width, slide.size.height))


def read_working(slide: Slide, region: Region, *, scale: float) -> RgbImage:
    """Read a region of the slide resampled to ``scale`` working pixels per level-0 pixel.

    The working image is the whole slide resampled to ``slide.size.scaled(scale)`` by the triangle kernel widened
    to the step (every source pixel counts, none is skipped); the answer is the crop of that image, whatever the
    region's origin, to within 1 grey level. The coarsest pyramid level that is still as fine as the working
    image is the source. Outside the image is white. Raises Invalid for damaged pixels.
    """
    working = slide.size.scaled(scale)
    left, top = max(0, region.x), max(0, region.y)
    right = min(working.width, region.x + region.width)
    bottom = min(working.height, region.y + region.height)
    canvas = np.full((region.height, region.width, 3), 255, np.uint8)
    if right > left and bottom > top:
        grid = _grid(slide, working)
        part = _resampled(slide, grid, Region(left, top, right - left, bottom - top))
        canvas[top - region.y : bottom - region.y, left - region.x : right - region.x] = part
    return canvas


@dataclass(frozen=True, slots=True)
class _Grid:
    """The pyramid level to read, and its pixels per working pixel along x and y."""

    level: int
    size: Size
    step_x: float
    step_y: float


def _grid(slide: Slide, working: Size) -> _Grid:
    fine = [i for i, s in enumerate(slide.levels) if s.width >= working.width and s.height >= working.height]
    level = max(fine, default=0)
    size = slide.levels[level]
    return _Grid(level, size, size.width / working.width, size.height / working.height)


def _resampled(slide: Slide, grid: _Grid, region: Region) -> RgbImage:
    """Resample a region inside the working image; halves it until one read is small enough."""
    source = _source_region(grid, region)
    if source.size.pixels > _MAX_READ_PIXELS and max(region.width, region.height) > 1:
        return _resampled_halves(slide, grid, region)
    pixels = slide.read_level(grid.level, source)
    if grid.step_x == grid.step_y == 1:
        return pixels
    box = (
        region.x * grid.step_x - source.x,
        region.y * grid.step_y - source.y,
        min((region.x + region.width) * grid.step_x - source.x, source.width),
        min((region.y + region.height) * grid.step_y - source.y, source.height),
    )
    small = Image.fromarray(pixels).resize((region.width, region.height), Image.Resampling.BILINEAR, box=box)
    return np.asarray(small).copy()


def _source_region(grid: _Grid, region: Region) -> Region:
    if grid.step_x == grid.step_y == 1:
        return region
    left, right = _span(region.x, region.width, grid.step_x, grid.size.width)
    top, bottom = _span(region.y, region.height, grid.step_y, grid.size.height)
    return Region(left, top, right - left, bottom - top)


def _span(start: int, length: int, step: float, limit: int) -> tuple[int, int]:
    margin = int(_SUPPORT * max(step, 1)) + 1
    return max(0, int(start * step) - margin), min(limit, int((start + length) * step) + margin + 1)


def _resampled_halves(slide: Slide, grid: _Grid, region: Region) -> RgbImage:
    x, y, width, height = region.x, region.y, region.width, region.height
    if width >= height:
        half = width // 2
        parts = (Region(x, y, half, height), Region(x + half, y, width - half, height))
    else:
        half = height // 2
        parts = (Region(x, y, width, half), Region(x, y + half, width, height - half))
    return np.concatenate([_resampled(slide, grid, p) for p in parts], axis=1 if width >= height else 0)
