"""Tiled, pyramidal, OME-, Big- and plain TIFF by tifffile, tile by tile."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage, TiffPageSeries

from intima.arrays import RgbImage
from intima.contracts.segmentation import SlideInfo
from intima.geometry import Region, Size
from intima.slides import _jpeg_tiles
from intima.slides import _tiff_color as color
from intima.slides import _tiff_meta as meta
from intima.slides._guard import (
    MAX_LEVELS,
    MAX_SEGMENT_BYTES,
    MAX_SEGMENTS,
    check_pixels,
    check_side,
    too_large,
    unreadable,
)
from intima.slides._jpeg_tiles import JpegTiles
from intima.slides._pixels import Samples, oriented
from intima.slides._source import Source, WholeImage

_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def recognises(_path: Path, head: bytes) -> bool:
    """Tell by the first bytes whether this family reads the file."""
    return head.startswith(_HEADS)


def open_tiff(path: Path) -> Source:
    """Open the main image of a TIFF file with its pyramid; reads the header only."""
    file = TiffFile(path)
    try:
        return _open(file, path)
    except BaseException:
        file.close()
        raise


def _open(file: TiffFile, path: Path) -> Source:
    pages = pyramid(file)
    for page in pages:
        check_page(page)
        color.check(page)
    orientation = meta.orientation(pages[0])
    if orientation == 1:
        levels = tuple(_size(page) for page in pages)
        return TiffSlide(meta.slide_info(file, pages), levels, file, pages, _jpeg_tiles.open_tiles(path, pages))
    check_pixels(pages[0].imagewidth, pages[0].imagelength)
    upright = meta.slide_info(file, pages[:1], turned=orientation >= 5)
    return _Turned(upright, lambda: _read_upright(pages[0], orientation), file=file)


@dataclass(frozen=True, slots=True)
class TiffSlide:
    """A TIFF file whose main image is read by region."""

    info: SlideInfo
    levels: tuple[Size, ...]
    file: TiffFile
    pages: tuple[TiffPage, ...]
    tiles: JpegTiles | None = None
    """The faster way, where every level is of plain JPEG tiles."""

    def read_level(self, level: int, region: Region) -> RgbImage:
        """Decode the tiles under a region inside the level."""
        if self.tiles is not None:
            with suppress(*_jpeg_tiles.REFUSALS):
                return self.tiles.read(level, region)
        return read_rgb(self.pages[level], region)

    def close(self) -> None:
        """Release the file."""
        self.file.close()
        if self.tiles is not None:
            self.tiles.close()


@dataclass(slots=True, kw_only=True)
class _Turned(WholeImage):
    """A TIFF whose orientation tag is not 1: decoded whole and turned upright."""

    file: TiffFile

    def close(self) -> None:
        """Release the pixels and the file."""
        WholeImage.close(self)
        self.file.close()


def pyramid(file: TiffFile) -> tuple[TiffPage, ...]:
    """Return the pages of the main image, largest first. Raises Invalid for multi-channel images."""
    series = meta.main_series(file)
    color.check_axes(series)
    first = _first_page(series)
    lower = [_first_page(level) for level in series.levels[1 : MAX_LEVELS + 1]]
    return (first, *(page for page in lower if is_reduction(page, first)))


def check_page(page: TiffPage) -> None:
    """Check dimensions, number, stored and decoded bytes of tiles from the header. Raises Invalid."""
    check_side(page.imagewidth, page.imagelength)
    count = len(page.dataoffsets)
    if count > MAX_SEGMENTS:
        raise too_large(f"a TIFF page of {count} tiles", f"at most {MAX_SEGMENTS}")
    if page.dtype is None or count < int(np.prod(page.chunked)):
        raise unreadable("", "incomplete TIFF tags")
    if not any(page.databytecounts):
        raise unreadable("", "no pixels stored")
    size = int(np.prod([max(1, side) for side in page.chunks])) * page.dtype.itemsize
    if size > MAX_SEGMENT_BYTES:
        raise too_large(f"a TIFF tile or strip of {size} bytes", f"at most {MAX_SEGMENT_BYTES}")


def read_samples(page: TiffPage, region: Region) -> tuple[Samples, NDArray[np.bool_]]:
    """Decode a region inside the page.

    Returns (height, width, samples) as stored, and (height, width) bool, False where the file has no tile.
    """
    canvas = np.zeros((region.height, region.width, page.samplesperpixel), page.dtype)
    present = np.zeros((region.height, region.width), np.bool_)
    for index in _segments_under(page, region):
        _paste(page, index, region, canvas, present)
    return canvas, present


def _first_page(series: TiffPageSeries) -> TiffPage:
    page = series.keyframe
    if not isinstance(page, TiffPage):
        raise unreadable("", "no TIFF page")
    return page


def is_reduction(page: TiffPage, first: TiffPage) -> bool:
    """Tell whether a page is the same picture at a lower resolution (aspect within 2 % and a pixel)."""
    kind = (page.samplesperpixel, page.dtype, page.photometric)
    if kind != (first.samplesperpixel, first.dtype, first.photometric) or page.imagewidth >= first.imagewidth:
        return False
    expected = first.imagelength * page.imagewidth / first.imagewidth
    return abs(page.imagelength - expected) <= 1 + 0.02 * expected


def _size(page: TiffPage) -> Size:
    return Size(page.imagewidth, page.imagelength)


def _segments_under(page: TiffPage, region: Region) -> list[int]:
    """Return the indices of all tiles or strips that touch the region, in every sample plane."""
    height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    across, down = -(-page.imagewidth // width), -(-page.imagelength // height)
    rows = range(region.y // height, min(down, -(-(region.y + region.height) // height)))
    columns = range(region.x // width, min(across, -(-(region.x + region.width) // width)))
    planes = page.samplesperpixel if int(page.planarconfig) == 2 else 1
    return [(plane * down + row) * across + column for plane in range(planes) for row in rows for column in columns]


def _paste(page: TiffPage, index: int, region: Region, canvas: Samples, present: NDArray[np.bool_]) -> None:
    segment, (plane, _, top, left, _), shape = _decode(page, index)
    if segment is None:
        return
    pixels = segment[0, : shape[1], : shape[2]]
    y, x = max(top, region.y), max(left, region.x)
    bottom = min(top + pixels.shape[0], region.y + region.height)
    right = min(left + pixels.shape[1], region.x + region.width)
    part = pixels[y - top : bottom - top, x - left : right - left]
    rows, columns = slice(y - region.y, bottom - region.y), slice(x - region.x, right - region.x)
    channels = slice(plane, plane + 1) if int(page.planarconfig) == 2 else slice(None)
    canvas[rows, columns, channels] = part
    present[rows, columns] = True


def _decode(page: TiffPage, index: int) -> tuple[NDArray[Any] | None, tuple[int, ...], tuple[int, ...]]:
    length = page.databytecounts[index]
    data = None
    if length:
        handle = page.parent.filehandle
        handle.seek(page.dataoffsets[index])
        data = handle.read(length)
    return page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)


def read_rgb(page: TiffPage, region: Region) -> RgbImage:
    """Decode a region inside the page as 8-bit RGB, white where the file has no tile."""
    samples, present = read_samples(page, region)
    pixels = color.to_rgb(page, samples)
    pixels[~present] = 255
    return pixels


def _read_upright(page: TiffPage, orientation: int) -> RgbImage:
    whole = Region(0, 0, page.imagewidth, page.imagelength)
    return oriented(read_rgb(page, whole), orientation)
