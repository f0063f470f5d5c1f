"""Images too large to hold: read in windows and from top to bottom in blocks of rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
Scalar_co = TypeVar("Scalar_co", bound=np.generic, covariant=True)

BLOCK_PIXELS = 2**22
"""Pixels that readers from top to bottom hold at once, or one row."""


class Raster(Protocol[Scalar_co]):
    """A (height, width) image somewhere; it does not change while it is read."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""

    @property
    def dtype(self) -> np.dtype[Scalar_co]:
        """Type of a pixel."""

    def read(self, rows: slice, columns: slice, /) -> NDArray[Scalar_co]:
        """Return a window; both slices are inside the image and have a start and a stop."""


@dataclass(frozen=True, slots=True)
class HeldRaster(Generic[Scalar]):
    """An array in memory as a raster."""

    pixels: NDArray[Scalar]
    """(height, width)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.pixels.shape
        return height, width

    @property
    def dtype(self) -> np.dtype[Scalar]:
        """Type of a pixel."""
        return self.pixels.dtype

    def read(self, rows: slice, columns: slice, /) -> NDArray[Scalar]:
        """Return a view of the window."""
        return self.pixels[rows, columns]


LabelRaster: TypeAlias = Raster[np.uint8]
"""Class indices of a LabelSchema."""

MapRaster: TypeAlias = Raster[np.float32]
"""A map of 0..1."""


def as_raster(image: "NDArray[Scalar] | Raster[Scalar]") -> Raster[Scalar]:
    """Return a raster as it is, and an array as one."""
    return HeldRaster(image) if isinstance(image, np.ndarray) else image


def read_blocks(
    raster: Raster[Scalar], *, multiple: int = 1, pixels: int = BLOCK_PIXELS
) -> Iterator[tuple[int, NDArray[Scalar]]]:
    """Yield the first row and the pixels of blocks of whole rows, from top to bottom.

    Args:
        raster: what to read.
        multiple: rows of every block but the last are a multiple of this.
        pixels: a block has at most so many, or ``multiple`` rows.
    """
    height, width = raster.shape
    rows = max(1, pixels // max(1, width) // multiple) * multiple
    for top in range(0, height, rows):
        yield top, raster.read(slice(top, min(top + rows, height)), slice(0, width))


def read_whole(raster: Raster[Any]) -> NDArray[Any]:
    """Return all pixels."""
    height, width = raster.shape
    return raster.read(slice(0, height), slice(0, width))
