"""Standardised effects of a paired difference. None where the spread they divide by is zero."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from intima.arrays import FloatVector
from intima.statistics.intervals import ConfidenceInterval
from intima.statistics.quadrature import noncentral_t_cdf
from intima.statistics.samples import has_spread, micro, need_subjects

_NO_VARIANCE = 1e-12


def d_z(a: FloatVector, b: FloatVector) -> float | None:
    """Return mean / SD of the paired differences."""
    d = _paired(a, b)
    return float(np.mean(d) / np.std(d, ddof=1)) if has_spread(d) else None


def d_av(a: FloatVector, b: FloatVector) -> float | None:
    """Return the mean difference over the root mean variance of the two sides."""
    d, sd = _paired(a, b), _mean_sd(a, b)
    return None if sd is None else float(np.mean(d) / sd)


def hedges_g_z(a: FloatVector, b: FloatVector) -> float | None:
    """Return d_z times the small-sample correction J(n - 1); J(8) = 0.9027. None below three subjects."""
    effect = d_z(a, b)
    return None if effect is None or len(a) < 3 else hedges_correction(len(a) - 1) * effect


def hedges_correction(degrees: int) -> float:
    """Return Hedges' J = Gamma(df/2) / (sqrt(df/2) Gamma((df-1)/2)), for two degrees of freedom or more."""
    log_ratio = special.gammaln(degrees / 2) - special.gammaln((degrees - 1) / 2)
    return math.exp(float(log_ratio)) / math.sqrt(degrees / 2)


def d_z_interval(effect: float, n: int, *, confidence: float = 0.95) -> ConfidenceInterval:
    """Return the noncentral-t interval of an observed d_z: [-0.21, 1.18] for 0.5 at nine subjects."""
    t, degrees = abs(effect) * math.sqrt(n), n - 1
    low = _noncentrality(t, degrees, (1 + confidence) / 2) / math.sqrt(n)
    high = _noncentrality(t, degrees, (1 - confidence) / 2) / math.sqrt(n)
    return ConfidenceInterval(low, high) if effect >= 0 else ConfidenceInterval(-high, -low)


def _noncentrality(t: float, degrees: int, probability: float) -> float:
    """Return the noncentrality at which P(T <= t) is ``probability``; t >= 0."""

    def gap(noncentrality: float) -> float:
        return noncentral_t_cdf(t, degrees, noncentrality) - probability

    return float(optimize.brentq(gap, -10.0, 10.0 + 5 * t, xtol=1e-10, rtol=1e-12))


def d_av_interval(a: FloatVector, b: FloatVector, *, confidence: float = 0.95) -> ConfidenceInterval | None:
    """Return the interval of d_av: that of d_z, times SD of the differences over the mean SD (Algina & Keselman 2003).

    None where the differences, or both sides, have no spread.
    """
    effect, sd = d_z(a, b), _mean_sd(a, b)
    if effect is None or sd is None:
        return None
    scale = float(np.std(a - b, ddof=1)) / sd
    found = d_z_interval(effect, len(a), confidence=confidence)
    return ConfidenceInterval(scale * found.low, scale * found.high)


def _mean_sd(a: FloatVector, b: FloatVector) -> float | None:
    """Return the root mean variance of the two sides; None where neither has spread."""
    if not (has_spread(a) or has_spread(b)):
        return None
    return math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / 2)


def cliffs_delta(a: FloatVector, b: FloatVector) -> float:
    """Return (#{a > b} - #{a < b}) / n^2 over all pairs; ignores the pairing."""
    return float(np.sum(_standing(micro(a), micro(b)))) / (len(a) * len(b))


def cliffs_delta_interval(a: FloatVector, b: FloatVector, *, confidence: float = 0.95) -> ConfidenceInterval:
    """Return the interval of Cliff's delta with subjects as units: a and b of a subject are drawn together.

    Clopper-Pearson at the effective number of subjects, see ``_bounded_interval``.
    """
    _paired(a, b)
    per_subject = (_standing(micro(a), micro(b)) - _standing(micro(b), micro(a))) / len(a)
    return _bounded_interval(cliffs_delta(a, b), per_subject, confidence)


def probability_of_superiority(a: FloatVector, b: FloatVector) -> float:
    """Return the share of subjects on which a scores higher, ties counted half."""
    d = micro(_paired(a, b))
    return float((np.sum(d > 0) + np.sum(d == 0) / 2) / len(d))


def probability_of_superiority_interval(
    a: FloatVector, b: FloatVector, *, confidence: float = 0.95
) -> ConfidenceInterval:
    """Return the interval of Clopper & Pearson (1934): exact without ties, conservative with them."""
    return _clopper_pearson(probability_of_superiority(a, b), len(a), confidence)


def matched_rank_biserial(a: FloatVector, b: FloatVector) -> float | None:
    """Return (R+ - R-) / (R+ + R-) of the signed ranks of a - b (Kerby 2014); None where no subject differs."""
    d = micro(_paired(a, b))
    d = d[d != 0]
    if not d.size:
        return None
    ranks = stats.rankdata(np.abs(d))
    return float(np.sum(ranks * np.sign(d)) / np.sum(ranks))


def matched_rank_biserial_interval(
    a: FloatVector, b: FloatVector, *, confidence: float = 0.95
) -> ConfidenceInterval | None:
    """Return the interval of the matched rank-biserial correlation; None below two subjects that differ.

    Its population value is P(d + d' > 0) - P(d + d' < 0) of two subjects, and signed ranks are sums over pairs of
    subjects and over each with itself. The interval is taken from pairs alone, without bias of few subjects:
    Clopper-Pearson at the effective number of subjects, see ``_bounded_interval``.
    """
    d = micro(_paired(a, b))
    d = d[d != 0]
    n = len(d)
    if n < 2:
        return None
    with_others = (_standing(d, -d) - np.sign(d)) / (n - 1)
    return _bounded_interval(float(np.mean(with_others)), 2 * with_others, confidence)


def _standing(values: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each value how many others lie below it, minus how many lie above."""
    ordered = np.sort(others)
    below, not_above = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray(below + not_above - len(ordered), dtype=np.int64)


def _bounded_interval(effect: float, per_subject: FloatVector, confidence: float) -> ConfidenceInterval:
    """Return the interval of an effect in [-1, 1] whose variance is that of a mean of ``per_subject``.

    The exact binomial interval of (1 + effect) / 2 at the number of subjects that has this variance, lowered by
    (z / t)^2 for the degrees of freedom (Korn & Graubard 1998). Without variance, as where one side always wins, it is
    the number of subjects.
    """
    n, tail = len(per_subject), (1 - confidence) / 2
    share, variance = (1 + effect) / 2, float(np.var(per_subject, ddof=1)) / (4 * n)
    effective = float(n)
    if variance > _NO_VARIANCE and abs(effect) < 1:
        shrunk = float(special.ndtri(tail) / special.stdtrit(n - 1, tail)) ** 2
        effective = shrunk * share * (1 - share) / variance
    found = _clopper_pearson(share, effective, confidence)
    return ConfidenceInterval(2 * found.low - 1, 2 * found.high - 1)


def _clopper_pearson(share: float, n: float, confidence: float) -> ConfidenceInterval:
    tail, seen = (1 - confidence) / 2, share * n
    low = 0.0 if share <= 0 else float(special.betaincinv(seen, n - seen + 1, tail))
    high = 1.0 if share >= 1 else float(special.betaincinv(seen + 1, n - seen, 1 - tail))
    return ConfidenceInterval(low, high)


def _paired(a: FloatVector, b: FloatVector) -> FloatVector:
    need_subjects(len(a), 2, purpose="an effect size")
    return a - b
