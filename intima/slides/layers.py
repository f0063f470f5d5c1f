"""The stored pyramids of a segmentation, read by region: our own files, so they are decoded in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage

from intima.arrays import LabelMask
from intima.geometry import Region, Size
from intima.slides._tiff import pyramid, read_samples


@dataclass(frozen=True, slots=True)
class Layer:
    """An open pyramid of one channel whose level k has ceil(side / 2^k) pixels along each side."""

    pages: tuple[TiffPage, ...]

    @property
    def size(self) -> Size:
        """Size of level 0."""
        return Size(self.pages[0].imagewidth, self.pages[0].imagelength)

    @property
    def levels(self) -> int:
        """How many levels are stored."""
        return len(self.pages)

    @property
    def colors(self) -> NDArray[np.uint8] | None:
        """(256, 3) colours of the values of an index image; None for a map."""
        table = self.pages[0].colormap
        return None if table is None else (np.asarray(table).T // 257).astype(np.uint8)

    def read(self, level: int, region: Region) -> NDArray[Any]:
        """Return (height, width) of a region inside a stored level."""
        return read_samples(self.pages[level], region)[0][:, :, 0]

    def read_level(self, level: int) -> NDArray[Any]:
        """Return a whole stored level."""
        page = self.pages[level]
        return self.read(level, Region(0, 0, page.imagewidth, page.imagelength))


@dataclass(frozen=True, slots=True)
class LayerRaster:
    """Level 0 of a class image as a raster."""

    layer: Layer

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.layer.size.height, self.layer.size.width

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Type of a pixel."""
        return np.dtype(np.uint8)

    def read(self, rows: slice, columns: slice, /) -> LabelMask:
        """Return a window."""
        region = Region(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        return self.layer.read(0, region).astype(np.uint8, copy=False)


@contextmanager
def open_layer(path: Path) -> Iterator[Layer]:
    """Open mask.ome.tiff, entropy.ome.tiff or disagreement.ome.tiff; reads the header only."""
    with TiffFile(path) as file:
        yield Layer(pyramid(file))
