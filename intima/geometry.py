"""Sizes, regions and pixel sizes. Frame of reference: level-0 pixels, origin top left, x right, y down."""

import math
from dataclasses import dataclass

from intima.errors import Invalid

_MPP_MIN, _MPP_MAX = 0.01, 1000.0


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels, both at least 1."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise Invalid(f"Got size {self.width} x {self.height}; need at least 1 x 1 pixel.")

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    def scaled(self, factor: float) -> "Size":
        """Return this size times factor, rounded, at least 1 x 1."""
        return Size(max(1, round(self.width * factor)), max(1, round(self.height * factor)))


@dataclass(frozen=True, slots=True)
class Region:
    """A half-open rectangle [x, x + width) x [y, y + height) in pixels; x and y may be negative."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise Invalid(f"Got region {self.width} x {self.height}; need at least 1 x 1 pixel.")

    @property
    def size(self) -> Size:
        """Size of the rectangle."""
        return Size(self.width, self.height)

    def inside(self, size: Size) -> bool:
        """Tell whether the rectangle lies fully inside an image of the given size."""
        return self.x >= 0 and self.y >= 0 and self.x + self.width <= size.width and self.y + self.height <= size.height

    def overlaps(self, other: "Region") -> bool:
        """Tell whether both have a pixel in common."""
        return self.shared(other) is not None

    def shared(self, other: "Region") -> "Region | None":
        """Return the rectangle that both have in common; None where there is none."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right, bottom = (
            min(self.x + self.width, other.x + other.width),
            min(self.y + self.height, other.y + other.height),
        )
        return Region(left, top, right - left, bottom - top) if right > left and bottom > top else None


@dataclass(frozen=True, slots=True)
class MicronsPerPixel:
    """Pixel size in micrometres per pixel along x and y."""

    x: float
    y: float

    def __post_init__(self) -> None:
        for value in (self.x, self.y):
            if not (math.isfinite(value) and _MPP_MIN <= value <= _MPP_MAX):
                raise Invalid(
                    f"Got a pixel size of {value} µm; need {_MPP_MIN} to {_MPP_MAX} µm per pixel.",
                    code="bad_pixel_size",
                    hint="Give the side of one pixel in micrometres, e.g. 0.5 for a 20x scan.",
                    pointer="/mpp",
                )

    @property
    def mean(self) -> float:
        """Geometric mean of both axes, µm per pixel."""
        return math.sqrt(self.x * self.y)

    @property
    def area_um2(self) -> float:
        """Area of one pixel in µm²."""
        return self.x * self.y
