"""How well an uncertainty finds the pixels that are wrong.

AUROC: the chance that a wrong pixel is more uncertain than a right one (Mann-Whitney). Risk-coverage: the error rate of
the k most certain pixels, for every k; AURC is its mean over k (Geifman & El-Yaniv 2017), the excess AURC what it has
above that of a perfect order (Geifman et al. 2019). Deferral: the share of all errors among the most uncertain part of
the pixels, which a person would look at. Pixels of equal uncertainty stand for the mean over all their orders.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from intima.arrays import BinaryMask, FloatVector
from intima.errors import Invalid

DEFERRED = (0.12, 0.25)
"""Parts of the pixels a person looks at."""


@dataclass(frozen=True, slots=True)
class ErrorDetection:
    """Of one image."""

    error_rate: float
    auroc: float | None
    """None where nothing is wrong, or everything."""
    aurc: float
    excess_aurc: float
    removed: tuple[float, ...] | None
    """Share of the errors among the most uncertain ``DEFERRED`` of the pixels; None where nothing is wrong."""


def detect_errors(uncertainty: NDArray[np.float32], wrong: BinaryMask) -> ErrorDetection:
    """Return how well an uncertainty finds errors; both of one shape, with at least one pixel.

    Raises:
        Invalid: an uncertainty is not finite.
    """
    if not np.isfinite(uncertainty).all():
        raise Invalid("Got an uncertainty that is not finite.")
    risks = _expected_errors(uncertainty, wrong)
    count, errors = len(risks), int(np.count_nonzero(wrong))
    kept = np.arange(1, count + 1)
    aurc = float(np.mean(np.cumsum(risks) / kept))
    perfect = float(np.mean(np.maximum(0, kept - (count - errors)) / kept))
    removed = None
    if errors:
        removed = tuple(float(risks[count - round(part * count) :].sum() / errors) for part in DEFERRED)
    return ErrorDetection(
        error_rate=errors / count,
        auroc=detection_auroc(uncertainty, wrong),
        aurc=aurc,
        excess_aurc=max(0.0, aurc - perfect),
        removed=removed,
    )


def detection_auroc(score: NDArray[np.float32], wrong: BinaryMask) -> float | None:
    """Return the chance that a wrong pixel scores higher than a right one, ties counting half; None without both.

    This is the area under the ROC curve of finding errors by the score (Mann-Whitney).
    """
    positives = int(np.count_nonzero(wrong))
    negatives = wrong.size - positives
    if not positives or not negatives:
        return None
    ranks = rankdata(score, axis=None)
    return float((ranks[wrong.ravel()].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _expected_errors(uncertainty: NDArray[np.float32], wrong: BinaryMask) -> FloatVector:
    """Return the chance of an error of every pixel, most certain first; pixels of equal uncertainty share theirs."""
    _, group, sizes = np.unique(uncertainty, return_inverse=True, return_counts=True)
    means = np.bincount(group.ravel(), weights=wrong.ravel()) / sizes
    return np.repeat(means, sizes)
