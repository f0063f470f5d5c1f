"""Confidence intervals of a mean, each with its simulated coverage at this number of subjects."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from intima.arrays import FloatMatrix, FloatVector
from intima.statistics.samples import has_spread, need_subjects

Method = Literal["t", "bootstrap_t", "percentile", "expanded_percentile", "bca"]
Target = Literal["difference", "mean"]

ENUMERATED_UP_TO = 10
"""Up to here all resamples are enumerated: 24,310 at 9 subjects, 92,378 at 10."""
FEWEST_FOR_BOOTSTRAP = 5
RESAMPLES = 10_000

_N = (5, 9, 15, 20, 30, 50, 100)
COVERAGE: dict[tuple[Target, Method], tuple[float, ...]] = {
    ("mean", "percentile"): (0.820, 0.882, 0.910, 0.924, 0.931, 0.943, 0.945),
    ("mean", "bca"): (0.827, 0.887, 0.915, 0.928, 0.935, 0.948, 0.947),
    ("mean", "t"): (0.926, 0.934, 0.940, 0.945, 0.943, 0.951, 0.950),
    ("mean", "bootstrap_t"): (0.945, 0.950, 0.953, 0.955, 0.950, 0.957, 0.951),
    ("difference", "percentile"): (0.831, 0.890, 0.915, 0.922, 0.931, 0.937, 0.945),
    ("difference", "bca"): (0.826, 0.880, 0.906, 0.916, 0.926, 0.935, 0.944),
    ("difference", "expanded_percentile"): (0.919, 0.942, 0.944, 0.946, 0.945, 0.948, 0.948),
    ("difference", "t"): (0.951, 0.950, 0.951, 0.950, 0.949, 0.949, 0.949),
    ("difference", "bootstrap_t"): (0.944, 0.939, 0.938, 0.941, 0.939, 0.945, 0.947),
}
"""Simulated coverage of nominal 95 % intervals (clean Dice-like scores, 6,000 data sets per cell)."""


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """An interval of a mean."""

    low: float
    high: float

    def inside(self, margin: float) -> bool:
        """Tell whether the interval lies strictly within (-margin, margin)."""
        return -margin < self.low and self.high < margin

    def excludes_zero(self) -> bool:
        """Tell whether zero lies outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Resamples:
    """Bootstrap resamples of n subjects as counts, each with its probability."""

    counts: FloatMatrix
    """(resamples, n): how often each subject was drawn; rows sum to n."""
    weights: FloatVector
    """(resamples,): probabilities, sum 1."""
    exact: bool
    """True where all resamples are enumerated, so that there is no seed."""


def coverage_at_n(method: Method, n: int, *, target: Target = "difference") -> float | None:
    """Return the simulated coverage of the nominal 95 % interval, linear in n between simulated sizes.

    None outside 5..100 subjects and for methods that were not simulated for this target.
    """
    table = COVERAGE.get((target, method))
    if table is None or not _N[0] <= n <= _N[-1]:
        return None
    return round(float(np.interp(n, _N, table)), 4)


def resamples_of(n: int, *, seed: int, draws: int = RESAMPLES) -> Resamples:
    """Return all resamples of n subjects where n <= 10, else ``draws`` seeded ones."""
    if n <= ENUMERATED_UP_TO:
        return _all_resamples(n)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    return Resamples(counts.astype(np.float64), np.full(draws, 1 / draws), exact=False)


@lru_cache(maxsize=ENUMERATED_UP_TO)
def _all_resamples(n: int) -> Resamples:
    """Enumerate the C(2n-1, n) multisets of n draws by stars and bars."""
    bars = np.array(list(combinations(range(2 * n - 1), n - 1)), dtype=np.int64).reshape(-1, n - 1)
    edges = np.hstack([np.full((len(bars), 1), -1), bars, np.full((len(bars), 1), 2 * n - 1)])
    counts = np.diff(edges, axis=1) - 1
    log_weights = math.lgamma(n + 1) - special.gammaln(counts + 1).sum(axis=1) - n * math.log(n)
    weights = np.exp(log_weights)
    return Resamples(counts.astype(np.float64), weights / weights.sum(), exact=True)


def t_interval(values: FloatVector, *, confidence: float = 0.95) -> ConfidenceInterval | None:
    """Return Student's t interval of the mean; None where the spread is zero.

    Raises:
        Invalid: fewer than two values.
    """
    need_subjects(len(values), 2, purpose="an interval")
    if not has_spread(values):
        return None
    n = len(values)
    half = -float(special.stdtrit(n - 1, (1 - confidence) / 2)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return ConfidenceInterval(mean - half, mean + half)


def percentile_interval(values: FloatVector, *, confidence: float = 0.95, seed: int = 0) -> ConfidenceInterval | None:
    """Return the percentile bootstrap interval of the mean. It covers .89 instead of .95 at nine subjects."""
    return _bootstrap(values, seed, lambda means, weights: _between(means, weights, (1 - confidence) / 2))


def expanded_percentile_interval(
    values: FloatVector, *, confidence: float = 0.95, seed: int = 0
) -> ConfidenceInterval | None:
    """Return the percentile interval with Hesterberg's widened tails, Phi(sqrt(n/(n-1)) t)."""
    n = len(values)
    t = float(special.stdtrit(max(1, n - 1), (1 - confidence) / 2))
    tail = float(special.ndtr(math.sqrt(n / max(1, n - 1)) * t))
    return _bootstrap(values, seed, lambda means, weights: _between(means, weights, tail))


def bca_interval(values: FloatVector, *, confidence: float = 0.95, seed: int = 0) -> ConfidenceInterval | None:
    """Return Efron's bias-corrected and accelerated interval of the mean. It does not help below 30 subjects."""
    centred = values - np.mean(values)
    squares = float(np.sum(centred**2))

    def limits(means: FloatVector, weights: FloatVector) -> ConfidenceInterval:
        acceleration = float(np.sum(centred**3)) / (6 * squares**1.5)
        ties = np.isclose(means, 0, rtol=0, atol=1e-12)
        bias = float(special.ndtri(weights[(means < 0) & ~ties].sum() + weights[ties].sum() / 2))
        z = bias + special.ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
        low, high = special.ndtr(bias + z / (1 - acceleration * z))
        return ConfidenceInterval(weighted_quantile(means, weights, low), weighted_quantile(means, weights, high))

    return _bootstrap(values, seed, limits)


def bootstrap_t_interval(values: FloatVector, *, confidence: float = 0.95, seed: int = 0) -> ConfidenceInterval | None:
    """Return the studentised bootstrap interval of the mean (Efron), exact up to ten values.

    None where the spread is zero, and where so many values are equal that a limit is infinite.

    Raises:
        Invalid: fewer than five values.
    """
    _need_enough(values)
    if not has_spread(values):
        return None
    pivots, weights = bootstrap_pivots(values, seed=seed)
    tail = (1 - confidence) / 2
    low, high = weighted_quantile(pivots, weights, tail), -weighted_quantile(-pivots, weights, tail)
    if not math.isfinite(low + high):
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return ConfidenceInterval(mean - high * error, mean - low * error)


INTERVALS: dict[Method, Callable[..., ConfidenceInterval | None]] = {
    "t": lambda values, *, confidence, seed: t_interval(values, confidence=confidence),  # noqa: ARG005
    "bootstrap_t": bootstrap_t_interval,
    "percentile": percentile_interval,
    "expanded_percentile": expanded_percentile_interval,
    "bca": bca_interval,
}
"""Interval of a mean by method name: (values, *, confidence, seed)."""


def bootstrap_pivots(values: FloatVector, *, seed: int) -> tuple[FloatVector, FloatVector]:
    """Return the studentised resampled means t* = (mean* - mean) sqrt(n) / S* and their probabilities.

    Resamples without spread give -inf, 0 or +inf.
    """
    n, draws = len(values), resamples_of(len(values), seed=seed)
    centred = values - np.mean(values)
    means = draws.counts @ centred / n
    variances = np.maximum(draws.counts @ centred**2 / n - means**2, 0.0) * n / (n - 1)
    flat = variances <= 1e-12 * float(np.var(values))
    errors = np.sqrt(np.where(flat, 1.0, variances) / n)
    still = np.isclose(means, 0, rtol=0, atol=1e-12 * float(np.max(np.abs(centred))))
    infinite = np.where(still, 0.0, np.copysign(np.inf, means))
    return np.where(flat, infinite, means / errors), draws.weights


def weighted_quantile(values: FloatVector, weights: FloatVector, q: float) -> float:
    """Return the smallest value whose cumulative weight reaches q."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    place = int(np.searchsorted(reached, q - 1e-12))
    return float(values[order[min(place, len(values) - 1)]])


def _between(means: FloatVector, weights: FloatVector, tail: float) -> ConfidenceInterval:
    return ConfidenceInterval(weighted_quantile(means, weights, tail), -weighted_quantile(-means, weights, tail))


def _bootstrap(
    values: FloatVector, seed: int, limits: Callable[[FloatVector, FloatVector], ConfidenceInterval]
) -> ConfidenceInterval | None:
    """Apply ``limits`` to the resampled means, taken relative to the mean."""
    _need_enough(values)
    if not has_spread(values):
        return None
    draws = resamples_of(len(values), seed=seed)
    mean = float(np.mean(values))
    found = limits(draws.counts @ (values - mean) / len(values), draws.weights)
    return ConfidenceInterval(mean + found.low, mean + found.high)


def _need_enough(values: NDArray[np.float64]) -> None:
    need_subjects(len(values), FEWEST_FOR_BOOTSTRAP, purpose="a bootstrap interval")
