"""Margins from data: how far observers differ, and how far a metric moves an endpoint."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from intima.arrays import FloatMatrix
from intima.statistics.intervals import ConfidenceInterval
from intima.statistics.samples import has_spread, need_subjects

FEWEST_SUBJECTS = 5
"""A margin stands on its uncertainty; below this its interval is of no use."""


@dataclass(frozen=True, slots=True)
class EstimateWithInterval:
    """An estimate with its 95 % interval."""

    value: float
    interval: ConfidenceInterval


def within_subject_sd(scores: FloatMatrix) -> EstimateWithInterval | None:
    """Return the standard deviation between observers who scored the same subjects.

    s_w = sqrt(mean over subjects of the variance between observers), systematic differences between observers included
    (Bland & Altman 1996, BMJ 313:744). The interval takes n (k - 1) s_w^2 / sigma_w^2 as chi-square with n (k - 1)
    degrees of freedom, which holds for normal errors of equal size without systematic differences.

    Args:
        scores: (subjects, observers), at least five and two.

    Returns:
        None where observers agree on every subject.

    Raises:
        Invalid: fewer than five subjects.
    """
    subjects, observers = scores.shape
    need_subjects(subjects, FEWEST_SUBJECTS, purpose="a margin")
    if not any(has_spread(row) for row in scores):
        return None
    degrees = subjects * (observers - 1)
    value = math.sqrt(float(np.mean(np.var(scores, axis=1, ddof=1))))
    low, high = (value * math.sqrt(degrees / float(stats.chi2.ppf(q, degrees))) for q in (0.975, 0.025))
    return EstimateWithInterval(value, ConfidenceInterval(low, high))


def slope_within_subjects(metric: FloatMatrix, endpoint: FloatMatrix) -> EstimateWithInterval | None:
    """Return by how much an endpoint moves per unit of a metric, between models on the same subject.

    b = sum_i Sxy_i / sum_i Sxx_i over subjects i, each centred on its mean over models: the least-squares slope with
    one intercept per subject (fixed effects). The interval is the jackknife over subjects with Student's t on n - 1
    degrees of freedom, so that models on one subject do not count as independent. With slopes that differ between
    subjects it covers .91 (five subjects, two models) to .94 (nine, six), the lower limit alone .95 to .97 of .975.

    Args:
        metric: (subjects, models), at least five and two.
        endpoint: of the same shape.

    Returns:
        None where metric or endpoint differ between models on fewer than two subjects.

    Raises:
        Invalid: fewer than five subjects.
    """
    n = len(metric)
    need_subjects(n, FEWEST_SUBJECTS, purpose="a margin")
    x, y = (m - m.mean(axis=1, keepdims=True) for m in (metric, endpoint))
    xy, xx = np.sum(x * y, axis=1), np.sum(x * x, axis=1)
    if min(sum(has_spread(row) for row in table) for table in (metric, endpoint)) < 2:
        return None
    value = float(xy.sum() / xx.sum())
    others = ~np.eye(n, dtype=bool)
    left_out = np.array([xy[o].sum() / xx[o].sum() for o in others])
    error = math.sqrt((n - 1) / n * float(np.sum((left_out - left_out.mean()) ** 2)))
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return EstimateWithInterval(value, ConfidenceInterval(value - half, value + half))
