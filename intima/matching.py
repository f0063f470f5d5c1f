"""Which vessel of one mask is which of another: by the overlap of their boxes."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from intima.contracts.segmentation import RegionSpec, VesselMeasures

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom."""

SAME_VESSEL = 0.3
"""Least overlap of the boxes of one vessel in two masks."""


def box_of(bounds: RegionSpec) -> Box:
    """Return the box of a rectangle of pixels."""
    return bounds.x, bounds.y, bounds.x + bounds.width, bounds.y + bounds.height


def box_overlap(a: Box, b: Box) -> float:
    """Return the intersection of two boxes over their union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def match_vessels(
    truth: Sequence[VesselMeasures], predicted: Sequence[VesselMeasures], *, least: float
) -> Iterator[tuple[VesselMeasures, VesselMeasures | None]]:
    """Pair every true vessel with the predicted one whose box overlaps its own most.

    Largest true vessel first; each predicted one is taken once, of equal overlaps the larger; None where none overlaps,
    or by less than ``least``.
    """
    free = list(predicted)
    for vessel in truth:
        box = box_of(vessel.bounds)
        overlaps = [box_overlap(box, box_of(other.bounds)) for other in free]
        best = max(overlaps, default=0.0)
        yield vessel, free.pop(overlaps.index(best)) if best > 0 and best >= least else None
