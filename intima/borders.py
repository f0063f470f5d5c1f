"""Borders between classes: how far a pixel is from one, and which errors are borders drawn a little elsewhere.

A true boundary is the crack between two neighbouring pixels of different true class. The distance of a pixel is that
of its centre to the nearest pixel of another true class, less half a pixel: .5 px for the pixels on both sides of a
boundary, 1.5 px for those behind them. The band within t of a boundary holds the pixels with a distance of at most t.

A layer thinner than 2 t lies within the band as a whole, so that missing it altogether would look like an error of its
borders. An error is therefore called a displaced border only where the predicted class is true within t of the pixel
and the true class is predicted within t of it; every other error is one of substance.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from intima.arrays import BinaryMask, LabelMask
from intima.contracts.explanation import LengthUnit
from intima.errors import Invalid

Reading = Literal["equal", "boundary", "substance"]
EQUAL_BELOW = 0.005
BOUNDARY_FROM = 0.5


def read_difference(difference: float, forgiven: float) -> Reading:
    """Say what a difference in Dice is made of: the paradox of competence (science.md 5).

    By the share of it that displaced borders explain, 1 - forgiven / difference: "equal" where the difference is below
    .005; "boundary" where they explain at least half of it: the worse one draws its borders a little elsewhere, and a
    ranking by Dice overstates its failure; "substance" otherwise: it misses or invents tissue. Half is a convention.

    Args:
        difference: Dice of the better minus Dice of the worse.
        forgiven: the same once displaced borders count as right.
    """
    if difference < EQUAL_BELOW:
        return "equal"
    return "boundary" if 1 - forgiven / difference >= BOUNDARY_FROM else "substance"


@dataclass(frozen=True, slots=True)
class Scale:
    """What one pixel measures."""

    pixel: float
    """Side of a pixel in ``unit``."""
    unit: LengthUnit
    band: float
    """Half width of the boundary band in ``unit``."""

    @classmethod
    def of(cls, mpp: float | None, *, band_um: float, band_px: float) -> "Scale":
        """Return µm where the pixel size is known, else pixels."""
        return cls(1.0, "px", band_px) if mpp is None else cls(mpp, "µm", band_um)


def boundary_distance(truth: LabelMask, *, pixel: float) -> NDArray[np.float32]:
    """Return the distance of every pixel to the nearest true boundary.

    Args:
        truth: (height, width).
        pixel: side of a pixel, µm or 1.

    Returns:
        (height, width) in the unit of ``pixel``; infinite everywhere where there is one class only.
    """
    distance = np.full(truth.shape, np.inf, np.float32)
    present = np.unique(truth)
    if len(present) < 2:
        return distance
    for index in present:
        inside = truth == index
        distance[inside] = ndimage.distance_transform_edt(inside)[inside] - 0.5
    return distance * np.float32(pixel)


def error_mask(truth: LabelMask, predicted: LabelMask) -> BinaryMask:
    """Return where two masks differ. Raises Invalid where their shapes do."""
    if truth.shape != predicted.shape:
        raise Invalid(f"Got masks of shape {truth.shape} and {predicted.shape}; need two equal (height, width).")
    wrong: BinaryMask = truth != predicted
    return wrong


def displaced_borders(truth: LabelMask, predicted: LabelMask, *, scale: Scale) -> BinaryMask:
    """Return the errors that a border displaced by at most the band's half width explains. Raises Invalid."""
    displaced = error_mask(truth, predicted)
    if not displaced.any():
        return displaced
    box = _around(displaced, pixels=math.ceil(scale.band / scale.pixel) + 1)
    near, seen, wrong = truth[box], predicted[box], displaced[box]
    displaced[box] &= _within(near, seen, wrong, scale=scale) & _within(seen, near, wrong, scale=scale)
    return displaced


def _around(mask: BinaryMask, *, pixels: int) -> tuple[slice, ...]:
    """Return the box of a mask that is not empty, so many pixels larger on each side."""
    box: tuple[slice, ...] = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(max(0, side.start - pixels), side.stop + pixels) for side in box)


def _within(labels: LabelMask, wanted: LabelMask, where: BinaryMask, *, scale: Scale) -> BinaryMask:
    """Tell for pixels of ``where`` whether their wanted class occurs in ``labels`` within the band's half width."""
    found = np.zeros(labels.shape, dtype=bool)
    for index in np.unique(wanted[where]):
        asking = where & (wanted == index)
        if (labels == index).any():
            distance = ndimage.distance_transform_edt(labels != index)[asking] - 0.5
            found[asking] = distance * scale.pixel <= scale.band
    return found
