"""How far a net's probabilities can be believed. Lower is better for all of it.

A pixel's confidence is its largest probability. The expected calibration error sorts pixels into 15 bins of equal width
by confidence and averages |share of right pixels - mean confidence| over bins, weighted by their pixels (Naeini et al.
2015; Guo et al. 2017). Most of an image is background that every net is sure of, so it is given over pixels that are
foreground in truth or prediction too. The Brier score is the mean over pixels of the squared distance between the
probabilities and the truth, 0 to 2; unlike the calibration error it cannot be small for a net that knows nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intima.arrays import BinaryMask, LabelMask
from intima.errors import Invalid

BINS = 15


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of one case."""

    ece: float
    ece_foreground: float | None
    """None where neither truth nor prediction has foreground."""
    brier: float


def measure_calibration(probabilities: NDArray[np.float32], truth: LabelMask) -> Calibration:
    """Return the calibration of one case.

    Args:
        probabilities: (classes, height, width), summing to one over classes.
        truth: (height, width) class indices.

    Raises:
        Invalid: the net has diverged: a probability is not finite.
    """
    if not np.isfinite(probabilities).all():
        raise Invalid("The net has diverged: its probabilities are not finite.", code="diverged")
    predicted, confidence = probabilities.argmax(axis=0), probabilities.max(axis=0)
    right = predicted == truth
    foreground = (predicted > 0) | (truth > 0)
    of_truth = np.take_along_axis(probabilities, truth[None].astype(np.intp), axis=0)[0]
    squares = np.einsum("chw,chw->hw", probabilities, probabilities, dtype=np.float64)
    return Calibration(
        ece=expected_calibration_error(confidence.ravel(), right.ravel()),
        ece_foreground=(
            expected_calibration_error(confidence[foreground], right[foreground]) if foreground.any() else None
        ),
        brier=max(0.0, float(np.mean(squares - 2 * of_truth + 1))),
    )


def expected_calibration_error(confidence: NDArray[np.float32], right: BinaryMask) -> float:
    """Return the expected calibration error of pixels, at least one; bins are open below and closed above."""
    bins = np.clip(np.ceil(confidence * BINS).astype(np.intp) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=right, minlength=BINS) - np.bincount(bins, weights=confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
