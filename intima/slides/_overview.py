"""A slide made small once, for the levels of its Deep Zoom image that would cost too much tile by tile."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from intima.arrays import RgbImage
from intima.deepzoom import DeepZoom
from intima.errors import Invalid, Unavailable
from intima.geometry import Region, Size
from intima.slides._guard import unreadable
from intima.slides.opening import Slide
from intima.slides.working import pixels_to_read, source_level

COSTLY_PX = 2**22
"""Pixels of the file from which on one tile is not read by itself: some 30 to 100 ms of decoding."""
MOST_SOURCE_PX = 2**32
"""Pixels of the level that an overview is made of: a minute of decoding tiles of JPEG."""
_LARGEST_TILE_PX = 256
_BAND_PX = 2**24
"""Pixels decoded at once; a sample may take 24 bytes on the way to 8 bits."""
_WIDEST_PX = 2**16
_ALMOST = 0.01


def no_overview(size: Size) -> Invalid:
    """Return the error for a view that takes an overview where there is none."""
    return Invalid(
        f"Got a slide of {size.width} x {size.height} pixels without the reduced levels that an overview needs.",
        code="no_overview",
        hint="Save it as a tiled pyramidal TIFF.",
    )


def is_costly(slide: Slide, working: Size) -> bool:
    """Tell whether a whole tile of a slide resampled to the size ``working`` takes too many pixels of the file."""
    tile = Region(0, 0, min(_LARGEST_TILE_PX, working.width), min(_LARGEST_TILE_PX, working.height))
    return pixels_to_read(slide, tile, frame=_whole(slide), working=working) >= COSTLY_PX


def write_overview(slide: Slide, out: Path) -> int:
    """Write the RGB pixels of every level from the finest costly one down to the first, and return the number of that.

    Each level is averaged from the one above, level 0 (one pixel) comes last.

    Raises:
        Invalid: "no_overview" where it would take too long, or no level is costly; the slide is damaged.
        Unavailable: "storage_full".
    """
    zoom = DeepZoom(slide.size, tile_px=_LARGEST_TILE_PX, overlap_px=0)
    costly = (at for at in range(zoom.last_level, -1, -1) if is_costly(slide, zoom.level_size(at)))
    first = next(costly, None)
    if first is None:
        raise no_overview(slide.size)
    image = Image.fromarray(_reduced(slide, zoom.level_size(first)))
    with out.open("wb") as file:
        for level in range(first, -1, -1):
            if image.size != (zoom.level_size(level).width, zoom.level_size(level).height):
                raise unreadable("", "levels of other sizes")
            _write(file, image)
            image = image.reduce(2)
    return first


def _write(file: BinaryIO, image: Image.Image) -> None:
    try:
        file.write(image.tobytes())
        file.flush()
    except OSError as error:
        raise Unavailable(
            "There is no room to make the overview of this slide.",
            code="storage_full",
            hint="Free space in the temporary folder (TMPDIR) and look again.",
        ) from error


def _reduced(slide: Slide, size: Size) -> RgbImage:
    """Return the whole slide at a size, averaged band by band from the coarsest level that is fine enough."""
    source = source_level(slide, _whole(slide), size)
    level = slide.levels[source]
    ratio = max(level.width, level.height) / max(size.width, size.height)
    factor = 2 ** int(np.log2(ratio) + _ALMOST)
    if level.pixels > MOST_SOURCE_PX or factor > _LARGEST_TILE_PX:
        raise no_overview(slide.size)
    canvas = np.empty((-(-level.height // factor), -(-level.width // factor), 3), np.uint8)
    for band in _bands(level):
        part = np.asarray(Image.fromarray(slide.read_level(source, band)).reduce(factor))
        top, left = band.y // factor, band.x // factor
        canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    if canvas.shape[:2] == (size.height, size.width):
        return canvas
    return np.asarray(Image.fromarray(canvas).resize((size.width, size.height), Image.Resampling.BOX))


def _bands(size: Size) -> list[Region]:
    """Cut a level into bands that begin at multiples of 256 pixels, as high as most tiles or twice that."""
    width = min(size.width, _WIDEST_PX)
    height = _LARGEST_TILE_PX * max(1, min(2, _BAND_PX // (_LARGEST_TILE_PX * width)))
    return [
        Region(x, y, min(width, size.width - x), min(height, size.height - y))
        for y in range(0, size.height, height)
        for x in range(0, size.width, width)
    ]


def _whole(slide: Slide) -> Region:
    return Region(0, 0, slide.size.width, slide.size.height)
