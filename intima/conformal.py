"""Conformal margins: how far a predicted mask is dilated to cover the truth of a new subject.

The reach of a case is the smallest dilation (Euclidean, in pixels) of the predicted mask that holds 99 % of the true
pixels. Subjects are exchangeable, pixels and sections are not: a subject counts once, by its largest reach, so that
the promise is for all sections of a new subject with as many. Of n subjects the k-th smallest reach with
k = ceil((n + 1) (1 - alpha)) covers a new one with probability at least 1 - alpha (Vovk et al. 2005); k > n, which is
alpha < 1 / (n + 1), has no finite answer.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy import ndimage

from intima.arrays import BinaryMask
from intima.errors import Invalid

COVERED = 0.99
"""Share of the true pixels that the dilated prediction holds."""


def reach(truth: BinaryMask, predicted: BinaryMask, *, covered: float = COVERED) -> float:
    """Return the smallest dilation in pixels that covers the truth; infinite where nothing was predicted.

    Raises:
        Invalid: the truth is empty, or shapes differ.
    """
    if truth.shape != predicted.shape or not truth.any():
        raise Invalid(f"Got masks of shape {truth.shape} and {predicted.shape}; need equal ones, the first not empty.")
    if not predicted.any():
        return math.inf
    box = ndimage.find_objects((truth | predicted).astype(np.uint8))[0]
    distances = ndimage.distance_transform_edt(~predicted[box])[truth[box]]
    return float(np.quantile(distances, covered, method="higher"))


def smallest_alpha(subjects: int) -> float:
    """Return the smallest attainable alpha of so many subjects."""
    return 1 / (subjects + 1)


def conformal_quantile(scores: Sequence[float], *, alpha: float) -> float | None:
    """Return what a new score stays below with probability 1 - alpha; None where so few scores cannot say.

    Scores may be infinite, and so may the answer.

    Raises:
        Invalid: a score is NaN, or alpha is not between 0 and 1.
    """
    if any(math.isnan(s) for s in scores) or not 0 < alpha < 1:
        raise Invalid(f"Got an alpha of {alpha} and scores {scores!r}; need alpha within 0..1 and no NaN.")
    rank = math.ceil((len(scores) + 1) * (1 - Fraction(str(alpha))))
    return sorted(scores)[rank - 1] if rank <= len(scores) else None
