"""Paired difference and equivalence: t, exact sign flip, Wilcoxon and bootstrap-t, and the five verdicts.

d is the vector of paired differences a - b, one per subject; every test is about its mean (Wilcoxon: about its
centre of symmetry). Equivalence is shown by two one-sided tests (Schuirmann 1987): p = max(p_low, p_high).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from intima.arrays import FloatMatrix, FloatVector
from intima.contracts.comparison import VerdictName
from intima.statistics.intervals import ConfidenceInterval, bootstrap_pivots
from intima.statistics.samples import AT_A_TIME, floor_p, has_spread, micro, need_subjects, rounded

EXACT_SIGN_FLIPS_UP_TO = 15
FEWEST_FOR_VERDICT = 3
"""Two subjects have one degree of freedom: intervals are shown, nothing is decided."""
MONTE_CARLO_FLIPS = 9_999
_COLUMNS = 500
"""Comparisons whose flips are summed at a time."""


@dataclass(frozen=True, slots=True)
class TrainingOverlap:
    """How the training sets behind cross-validated scores overlap."""

    splits: int
    """J, the number of train/test splits of one repeat; at least 2."""
    test_to_train: float
    """n_test / n_train."""

    @property
    def standard_error_factor(self) -> float:
        """sqrt((1/J + n_test/n_train) / (1/J)), Nadeau & Bengio 2003: 1.46 for 9-fold leave-one-out."""
        return math.sqrt(1 + self.splits * self.test_to_train)


@dataclass(frozen=True, slots=True)
class PairedT:
    """The paired t statistic, with its standard error corrected where training sets overlap."""

    mean: float
    standard_error: float
    degrees: int

    def interval(self, confidence: float) -> ConfidenceInterval:
        """Return the interval of the mean difference."""
        half = -float(special.stdtrit(self.degrees, (1 - confidence) / 2)) * self.standard_error
        return ConfidenceInterval(self.mean - half, self.mean + half)

    def p_difference(self) -> float:
        """Return the two-sided p of a mean difference of zero."""
        return floor_p(2 * float(special.stdtr(self.degrees, -abs(self.mean) / self.standard_error)))

    def p_equivalence(self, margin: float) -> float:
        """Return the larger of the two one-sided p of a mean difference beyond the margin."""
        distance = (margin - abs(self.mean)) / self.standard_error
        return floor_p(float(special.stdtr(self.degrees, -distance)))

    def p_not_below(self, margin: float) -> float:
        """Return the one-sided p of a mean difference of -margin or less: small where a is not inferior to b."""
        return floor_p(float(special.stdtr(self.degrees, -(self.mean + margin) / self.standard_error)))

    def mirrored(self) -> "PairedT":
        """Return the statistic of b - a."""
        return PairedT(-self.mean, self.standard_error, self.degrees)


def paired_t(differences: FloatVector, *, overlap: TrainingOverlap | None = None) -> PairedT | None:
    """Return the paired t statistic; None where the differences have no spread.

    With ``overlap`` the standard error grows by the Nadeau-Bengio factor and the degrees of freedom are J - 1.

    Raises:
        Invalid: fewer than two differences.
    """
    n = len(differences)
    need_subjects(n, 2, purpose="a comparison")
    if not has_spread(differences):
        return None
    error = float(np.std(differences, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(differences))
    if overlap is None:
        return PairedT(mean, error, n - 1)
    return PairedT(mean, error * overlap.standard_error_factor, min(n, overlap.splits) - 1)


def decide(p_equivalence: float, p_difference: float, mean: float, *, alpha: float) -> VerdictName:
    """Return the verdict: p < alpha is the 1 - 2 alpha interval inside the margin, or the 1 - alpha one off zero.

    ``mean`` is oriented so that positive favours a. Both tests passed: different but negligible; neither: inconclusive.
    """
    if p_equivalence < alpha:
        return "different_but_negligible" if p_difference < alpha else "equivalent"
    if p_difference < alpha:
        return "better_a" if mean > 0 else "better_b"
    return "inconclusive"


def sign_flip_difference(differences: FloatVector, *, seed: int = 0) -> float:
    """Return the two-sided sign-flip p of no difference: exact up to 15 subjects, else (b+1)/(B+1) of 9,999 flips."""
    d = micro(differences)
    sums, exact = _flipped_sums(d, seed)
    return _share(np.abs(sums) >= _reached(abs(_total(d, exact)), exact), exact)


def sign_flip_differences(differences: FloatMatrix, *, seed: int = 0) -> FloatVector:
    """Return ``sign_flip_difference`` of each column of (subjects, comparisons), with the same flips for all."""
    n, comparisons = differences.shape
    if n <= EXACT_SIGN_FLIPS_UP_TO:
        return np.array([sign_flip_difference(d, seed=seed) for d in differences.T])
    units = micro(differences).astype(np.float64)
    reached, hits = np.abs(units.sum(axis=0)) - 0.5, np.zeros(comparisons)
    for signs in _random_signs(n, seed):
        for start in range(0, comparisons, _COLUMNS):
            block = slice(start, start + _COLUMNS)
            hits[block] += np.sum(np.abs(signs @ units[:, block]) >= reached[block], axis=0)
    return (hits + 1) / (MONTE_CARLO_FLIPS + 1)


def sign_flip_equivalence(differences: FloatVector, margin: float, *, seed: int = 0) -> float:
    """Return the sign-flip TOST p: the larger of the two one-sided tests of d + margin and margin - d."""
    return max(_sign_flip_greater(d, seed) for d in _shifted(differences, margin))


def _sign_flip_greater(d: FloatVector, seed: int) -> float:
    units = micro(d)
    sums, exact = _flipped_sums(units, seed)
    return _share(sums >= _reached(_total(units, exact), exact), exact)


def _flipped_sums(d: NDArray[np.int64], seed: int) -> tuple[NDArray[np.float64] | NDArray[np.int64], bool]:
    """Return the sums under all 2^n sign patterns (whole millionths, exact), or under seeded random ones."""
    if len(d) <= EXACT_SIGN_FLIPS_UP_TO:
        sums = np.zeros(1, dtype=np.int64)
        for value in d:
            sums = np.concatenate([sums + value, sums - value])
        return sums, True
    values = d.astype(np.float64)
    return np.concatenate([signs @ values for signs in _random_signs(len(d), seed)]), False


def _random_signs(n: int, seed: int) -> Iterator[FloatMatrix]:
    """Yield chunks of (flips, n) signs, 9,999 in all."""
    random, chunk = np.random.default_rng(seed), max(1, AT_A_TIME // n)
    for start in range(0, MONTE_CARLO_FLIPS, chunk):
        size = min(chunk, MONTE_CARLO_FLIPS - start)
        yield 2 * random.integers(0, 2, size=(size, n), dtype=np.int8).astype(np.float64) - 1


def _total(d: NDArray[np.int64], exact: bool) -> float:
    """Return the sum, in floating point where 64 bits might not hold it."""
    return int(d.sum()) if exact else float(np.sum(d, dtype=np.float64))


def _reached(total: float, exact: bool) -> float:
    """Return the threshold a sum must reach; half a millionth lower where sums are floating point."""
    return total if exact else total - 0.5


def _share(hits: NDArray[np.bool_], exact: bool) -> float:
    return float(np.mean(hits)) if exact else (int(hits.sum()) + 1) / (len(hits) + 1)


def wilcoxon_difference(differences: FloatVector) -> float:
    """Return the two-sided Wilcoxon signed-rank p: the typical subject, not the mean. 1 where nothing differs."""
    return _wilcoxon(rounded(differences), "two-sided")


def wilcoxon_equivalence(differences: FloatVector, margin: float) -> float:
    """Return the Wilcoxon TOST p. It calls a model that fails rarely but badly equivalent: never the deciding test."""
    return max(_wilcoxon(d, "greater") for d in _shifted(differences, margin))


def _wilcoxon(d: FloatVector, alternative: Literal["two-sided", "greater"]) -> float:
    """Drop zeros, rank |d| with mid-ranks, and count signs: exactly up to 15 subjects, by scipy beyond."""
    kept = d[d != 0]
    if not kept.size:
        return 1.0
    if len(kept) > EXACT_SIGN_FLIPS_UP_TO:
        return floor_p(float(stats.wilcoxon(kept, alternative=alternative, method="auto").pvalue))
    doubled = np.rint(2 * stats.rankdata(np.abs(kept)) * np.sign(kept)).astype(np.int64)
    sums, _ = _flipped_sums(doubled, 0)
    seen = int(doubled.sum())
    return float(np.mean(np.abs(sums) >= abs(seen) if alternative == "two-sided" else sums >= seen))


def bootstrap_t_difference(differences: FloatVector, *, seed: int = 0) -> float:
    """Return the two-sided bootstrap-t p of a mean difference of zero (five subjects or more, with spread)."""
    below, above = _pivot_tails(differences, 0.0, seed)
    return floor_p(min(1.0, 2 * min(below, above)))


def bootstrap_t_equivalence(differences: FloatVector, margin: float, *, seed: int = 0) -> float:
    """Return the bootstrap-t TOST p. It is liberal below 30 subjects, so it is shown and does not decide."""
    _, above = _pivot_tails(differences, -margin, seed)
    below, _ = _pivot_tails(differences, margin, seed)
    return floor_p(max(above, below))


def _pivot_tails(differences: FloatVector, null: float, seed: int) -> tuple[float, float]:
    """Return P(t* <= t) and P(t* >= t) for the t of a mean of ``null``."""
    pivots, weights = bootstrap_pivots(differences, seed=seed)
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    t = (float(np.mean(differences)) - null) / error
    slack = 1e-9 * max(1.0, abs(t))
    return float(weights[pivots <= t + slack].sum()), float(weights[pivots >= t - slack].sum())


def _shifted(differences: FloatVector, margin: float) -> tuple[FloatVector, FloatVector]:
    return rounded(differences + margin), rounded(margin - differences)
