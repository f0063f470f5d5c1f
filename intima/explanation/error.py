"""The error layer: where prediction and truth differ, by class pair and by distance to the nearest true boundary.

A true boundary is the crack between two neighbouring pixels of different true class. The distance of a pixel is that
of its centre to the nearest pixel of another true class, less half a pixel: .5 px for the pixels on both sides of a
boundary, 1.5 px for those behind them. The band within t of a boundary holds the pixels with a distance of at most t.

A layer thinner than 2 t lies within the band as a whole, so that missing it altogether would look like an error of its
borders. An error is therefore called a displaced border only where the predicted class is true within t of the pixel
and the true class is predicted within t of it; every other error is one of substance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from intima.arrays import BinaryMask, LabelMask
from intima.contracts.explanation import BandShare, ErrorLayer, LengthUnit, PairError
from intima.errors import Invalid
from intima.labels import LabelSchema

STEPS = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
"""Distances at which the share of errors is given, µm or px."""


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


def explain_errors(
    truth: LabelMask, predicted: LabelMask, *, distance: NDArray[np.float32], schema: LabelSchema, scale: Scale
) -> ErrorLayer:
    """Count errors by class pair and by distance to the nearest true boundary.

    Args:
        truth: (height, width) at native resolution.
        predicted: of the same shape.
        distance: ``boundary_distance`` of the truth, in the unit of ``scale``.
        schema: classes of both masks.
        scale: unit and width of the boundary band.

    Raises:
        Invalid: the shapes differ.
    """
    wrong = error_mask(truth, predicted)
    total = int(np.count_nonzero(wrong))
    in_band = int(np.count_nonzero(wrong & (distance <= scale.band)))
    return ErrorLayer(
        pixels=total,
        share=total / truth.size,
        unit=scale.unit,
        band=scale.band,
        band_errors=in_band,
        displaced_errors=int(np.count_nonzero(displaced_borders(truth, predicted, scale=scale))),
        by_distance=_shares(distance, wrong, at=sorted({*STEPS, scale.band})),
        pairs=_pairs(truth[wrong], predicted[wrong], schema=schema),
    )


def error_mask(truth: LabelMask, predicted: LabelMask) -> BinaryMask:
    """Return where two masks differ. Raises Invalid where their shapes do."""
    if truth.shape != predicted.shape:
        raise Invalid(f"Got masks of shape {truth.shape} and {predicted.shape}; need two equal (height, width).")
    wrong: BinaryMask = truth != predicted
    return wrong


def displaced_borders(truth: LabelMask, predicted: LabelMask, *, scale: Scale) -> BinaryMask:
    """Return the errors that a border displaced by at most the band's half width explains. Raises Invalid."""
    wrong = error_mask(truth, predicted)
    return wrong & _within(truth, predicted, wrong, scale=scale) & _within(predicted, truth, wrong, scale=scale)


def _within(labels: LabelMask, wanted: LabelMask, where: BinaryMask, *, scale: Scale) -> BinaryMask:
    """Tell for pixels of ``where`` whether their wanted class occurs in ``labels`` within the band's half width."""
    found = np.zeros(labels.shape, dtype=bool)
    for index in np.unique(wanted[where]):
        asking = where & (wanted == index)
        if (labels == index).any():
            distance = ndimage.distance_transform_edt(labels != index)[asking] - 0.5
            found[asking] = distance * scale.pixel <= scale.band
    return found


def _shares(distance: NDArray[np.float32], wrong: BinaryMask, *, at: list[float]) -> tuple[BandShare, ...]:
    bounded = bool(np.isfinite(distance).all())
    of_errors = np.sort(distance[wrong])
    of_image = np.sort(distance, axis=None)

    def share(ordered: NDArray[np.float32], within: float) -> float | None:
        if not bounded or not len(ordered):
            return None
        return int(np.searchsorted(ordered, np.float32(within), side="right")) / len(ordered)

    return tuple(BandShare(within=t, errors=share(of_errors, t), image=share(of_image, t)) for t in at)


def _pairs(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], *, schema: LabelSchema) -> tuple[PairError, ...]:
    count = len(schema)
    table = np.bincount(truth.astype(np.intp) * count + predicted, minlength=count**2)
    order = sorted(np.flatnonzero(table).tolist(), key=lambda k: (-int(table[k]), k))
    return tuple(
        PairError(
            truth=schema.names[k // count],
            predicted=schema.names[k % count],
            pixels=int(table[k]),
            share=int(table[k]) / len(truth),
        )
        for k in order
    )
