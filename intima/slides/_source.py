"""What a private reader gives: levels of RGB pixels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from intima.arrays import RgbImage
from intima.contracts.segmentation import SlideInfo
from intima.geometry import Region, Size


class Source(Protocol):
    """An open image file; level 0 is the full resolution."""

    @property
    def info(self) -> SlideInfo:
        """What the file says about itself."""

    @property
    def levels(self) -> tuple[Size, ...]:
        """Size of each pyramid level, largest first."""

    def read_level(self, level: int, region: Region, /) -> RgbImage:
        """Decode a region that lies inside the level, in that level's pixels."""

    def close(self) -> None:
        """Release the file."""


@dataclass(slots=True)
class WholeImage:
    """A source that can only be decoded whole; it is decoded once, at the first read."""

    info: SlideInfo
    decode: Callable[[], RgbImage]
    _pixels: RgbImage | None = field(default=None, init=False)

    @property
    def levels(self) -> tuple[Size, ...]:
        """One level."""
        return (Size(self.info.width, self.info.height),)

    def read_level(self, _level: int, region: Region, /) -> RgbImage:
        """Return a copy of the region."""
        if self._pixels is None:
            self._pixels = self.decode()
        rows = slice(region.y, region.y + region.height)
        return self._pixels[rows, region.x : region.x + region.width].copy()

    def close(self) -> None:
        """Drop the pixels."""
        self._pixels = None
