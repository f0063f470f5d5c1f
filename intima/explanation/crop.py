"""The part of an image that a net looks at in one go, and maps of it laid over the native image."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intima.architectures.net import STRIDE, SegmentationNet
from intima.arrays import BinaryMask, RgbImage
from intima.contracts.explanation import MapShare
from intima.contracts.segmentation import RegionSpec
from intima.geometry import Size
from intima.resampling import resample_planes


@dataclass(frozen=True, slots=True)
class Crop:
    """A window of the working image."""

    top: int
    left: int
    height: int
    width: int
    working: Size
    native: Size

    @classmethod
    def around(cls, foreground: BinaryMask, *, working: Size, tile_px: int) -> "Crop":
        """Return the whole image where it fits a tile, else a tile around the middle of the foreground.

        Args:
            foreground: (height, width) at native resolution; where it is empty, the middle of the image counts.
            working: size of the image the net sees.
            tile_px: longest side.
        """
        native = Size(foreground.shape[1], foreground.shape[0])
        height, width = min(tile_px, working.height), min(tile_px, working.width)
        rows, columns = np.nonzero(foreground) if foreground.any() else np.indices(foreground.shape).reshape(2, -1)
        middle = (
            float(rows.mean()) * working.height / native.height,
            float(columns.mean()) * working.width / native.width,
        )
        top = int(np.clip(round(middle[0] - height / 2), 0, working.height - height))
        left = int(np.clip(round(middle[1] - width / 2), 0, working.width - width))
        return cls(top, left, height, width, working, native)

    @property
    def region(self) -> RegionSpec:
        """The window in native pixels."""
        y, x = self._native_row(self.top), self._native_column(self.left)
        bottom, right = self._native_row(self.top + self.height), self._native_column(self.left + self.width)
        return RegionSpec(x=x, y=y, width=max(1, right - x), height=max(1, bottom - y))

    def tile_of(self, image: RgbImage) -> Tensor:
        """Return the window of the working image as (1, 3, height, width) RGB in 0..1."""
        part = image[self.top : self.top + self.height, self.left : self.left + self.width]
        scaled = np.ascontiguousarray(part.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
        return torch.from_numpy(scaled)[None].clone()

    def spread(self, values: NDArray[np.float32], net: SegmentationNet) -> NDArray[np.float32]:
        """Lay a map of the net's padded input over the native image, NaN outside the window.

        Args:
            values: (rows, columns) over the input after the net's own padding, of any resolution.
            net: decides the padding.
        """
        height, width = padded_size(net, Size(self.width, self.height))
        return self.lay(resample_planes(values[None], Size(width, height))[0, : self.height, : self.width])

    def lay(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Lay a (height, width) map of the window over the native image, NaN outside."""
        region = self.region
        canvas = np.full((self.native.height, self.native.width), np.nan, np.float32)
        part = resample_planes(values[None].astype(np.float32), Size(region.width, region.height))[0]
        canvas[region.y : region.y + region.height, region.x : region.x + region.width] = part
        return canvas

    def _native_row(self, row: int) -> int:
        return round(row * self.native.height / self.working.height)

    def _native_column(self, column: int) -> int:
        return round(column * self.native.width / self.working.width)


def padded_size(net: SegmentationNet, size: Size) -> tuple[int, int]:
    """Return height and width of a net's input after its own padding."""
    if net.fixed_px is not None:
        return net.fixed_px, net.fixed_px
    return size.height + -size.height % STRIDE, size.width + -size.width % STRIDE


def share_of_map(values: NDArray[np.float32], *, on_class: BinaryMask, in_band: BinaryMask) -> MapShare:
    """Return which part of a map of one sign lies on a class and in the boundary band; null of an empty map."""
    known = np.nan_to_num(np.abs(values)).astype(np.float64)
    total = float(known.sum())
    if total == 0:
        return MapShare(on_class=None, in_band=None)
    return MapShare(on_class=float(known[on_class].sum()) / total, in_band=float(known[in_band].sum()) / total)
