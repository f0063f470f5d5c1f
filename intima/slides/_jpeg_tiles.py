"""Read regions of JPEG-tiled TIFF levels straight from the tile index, several times as fast as through a library.

Tiles that a region covers are decoded and copied into place. Tiles at its edge are kept, a few rows of the level, for
the neighbouring regions that need their other parts.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, PHOTOMETRIC, TiffPage

from intima.arrays import RgbImage
from intima.geometry import Region, Size

_MAX_KEPT_BYTES = 64 * 2**20
_KEPT_ROWS = 4
"""The row above, the row below, and the columns between the regions of one row of regions."""
REFUSALS = (ValueError, RuntimeError, OSError)
"""What a tile of another size or with bad bytes raises here; what it means is left to the slower reader."""
_COLORS = (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR)


@dataclass(frozen=True, slots=True)
class JpegLevel:
    """Where the tiles of one level lie in the file and how they are coded."""

    size: Size
    tile: Size
    offsets: NDArray[np.int64]
    """(rows, columns)."""
    lengths: NDArray[np.int64]
    """(rows, columns) bytes; 0 where the file has no tile."""
    tables: bytes | None
    stored_as: str | None
    """Colour model of the JPEG data where its markers do not count."""

    @property
    def row_bytes(self) -> int:
        """Decoded bytes of one row of tiles."""
        return int(self.lengths.shape[1]) * self.tile.pixels * 3


def jpeg_level(page: TiffPage) -> JpegLevel | None:
    """Return the tile index of a page of 8-bit colour JPEG tiles, None for any other page."""
    coded = page.compression == COMPRESSION.JPEG and page.photometric in _COLORS and page.jpegheader is None
    plain = page.bitspersample == 8 and page.samplesperpixel == 3 and int(page.planarconfig) == 1
    if not (coded and plain and page.is_tiled and page.imagedepth == 1 and page.fillorder == 1):
        return None
    size, tile = Size(page.imagewidth, page.imagelength), Size(page.tilewidth, page.tilelength)
    shape = (-(-size.height // tile.height), -(-size.width // tile.width))
    if len(page.dataoffsets) != shape[0] * shape[1] or len(page.databytecounts) != len(page.dataoffsets):
        return None
    return JpegLevel(
        size=size,
        tile=tile,
        offsets=np.array(page.dataoffsets, np.int64).reshape(shape),
        lengths=np.array(page.databytecounts, np.int64).reshape(shape),
        tables=page.jpegtables,
        stored_as="RGB" if page.photometric == PHOTOMETRIC.RGB and not page.is_jfif else None,
    )


def jpeg_levels(pages: Sequence[TiffPage]) -> tuple[JpegLevel, ...] | None:
    """Return the tile index of every page, None where one of them is of another kind."""
    found = [jpeg_level(page) for page in pages]
    levels = tuple(level for level in found if level is not None)
    return levels if len(levels) == len(found) else None


@dataclass(slots=True)
class JpegTiles:
    """An open file of JPEG-tiled levels. Not for several threads at once."""

    levels: tuple[JpegLevel, ...]
    file: BinaryIO
    file_bytes: int
    _kept: OrderedDict[tuple[int, int, int], RgbImage] = field(default_factory=OrderedDict)
    _kept_bytes: int = 0

    def read(self, level: int, region: Region) -> RgbImage:
        """Decode a region inside a level; tiles the file lacks are white."""
        canvas = np.empty((region.height, region.width, 3), np.uint8)
        index = self.levels[level]
        whole = np.empty((index.tile.height, index.tile.width, 3), np.uint8)
        for row, column in _tiles_under(index, region):
            y, x = row * index.tile.height - region.y, column * index.tile.width - region.x
            top, left = max(0, y), max(0, x)
            bottom, right = min(region.height, y + index.tile.height), min(region.width, x + index.tile.width)
            edge = (bottom - top, right - left) != whole.shape[:2]
            tile = self._edge_tile(level, row, column) if edge else self._decode(index, row, column, whole)
            canvas[top:bottom, left:right] = tile[top - y : bottom - y, left - x : right - x]
        return canvas

    def close(self) -> None:
        """Release the file and the kept tiles."""
        self.file.close()
        self._kept.clear()

    def _edge_tile(self, level: int, row: int, column: int) -> RgbImage:
        key, index = (level, row, column), self.levels[level]
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            return known
        tile = self._decode(index, row, column, np.empty((index.tile.height, index.tile.width, 3), np.uint8))
        self._kept[key] = tile
        self._kept_bytes += tile.nbytes
        most = min(_MAX_KEPT_BYTES, _KEPT_ROWS * index.row_bytes)
        while self._kept_bytes > most and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        return tile

    def _decode(self, index: JpegLevel, row: int, column: int, out: RgbImage) -> RgbImage:
        """Decode one tile into ``out``. Raises whatever the decoder raises for bad bytes, or for another size."""
        offset = int(index.offsets[row, column])
        length = min(int(index.lengths[row, column]), self.file_bytes - offset)
        if index.lengths[row, column] == 0:
            out[:] = 255
            return out
        self.file.seek(offset)
        data = self.file.read(length)
        imagecodecs.jpeg8_decode(data, tables=index.tables, colorspace=index.stored_as, outcolorspace="RGB", out=out)
        return out


def open_tiles(path: Path, pages: Sequence[TiffPage]) -> JpegTiles | None:
    """Open a file by the tile index of its levels; None where one of them is not of plain JPEG tiles."""
    levels = jpeg_levels(pages)
    return None if levels is None else JpegTiles(levels, path.open("rb", buffering=0), path.stat().st_size)


def _tiles_under(index: JpegLevel, region: Region) -> Iterator[tuple[int, int]]:
    height, width = index.tile.height, index.tile.width
    for row in range(region.y // height, -(-(region.y + region.height) // height)):
        for column in range(region.x // width, -(-(region.x + region.width) // width)):
            yield row, column
