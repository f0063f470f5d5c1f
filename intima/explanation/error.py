"""The error layer: where prediction and truth differ, by class pair and by distance to the nearest true boundary."""

import numpy as np
from numpy.typing import NDArray

from intima.arrays import BinaryMask, LabelMask
from intima.borders import Scale, displaced_borders, error_mask
from intima.contracts.explanation import BandShare, ErrorLayer, PairError
from intima.labels import LabelSchema

STEPS = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
"""Distances at which the share of errors is given, µm or px."""


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
