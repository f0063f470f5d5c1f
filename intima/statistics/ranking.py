"""Rank tests and rank stability of K models on N subjects. Scores are (subjects, models), larger is better.

Ranks within a subject run from 1 (best) to K with mid-ranks for ties at six decimals.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from intima.arrays import FloatMatrix, FloatVector
from intima.statistics.intervals import resamples_of
from intima.statistics.samples import AT_A_TIME, SMALLEST_P, floor_p, micro, rounded

NULL_DATA_SETS = 200
NULL_RESAMPLES = 1_000
PERMUTATIONS = 9_999
_MOST_SHUFFLED = 30_000_000
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_Z = 9.0
"""The normal distribution holds 1e-19 beyond."""


@dataclass(frozen=True, slots=True)
class Friedman:
    """Friedman's test of equal ranks, tie-corrected."""

    chi2: float
    p: float
    iman_davenport_f: float | None
    """None where all subjects rank the models in the same order: F is infinite."""
    iman_davenport_p: float
    """Exact where F is infinite: the probability that all subjects agree by chance."""
    kendall_w: float
    """Agreement between subjects, 0..1."""


@dataclass(frozen=True, slots=True)
class RankStability:
    """How ranks of the mean score move when subjects are resampled or left out."""

    distribution: FloatMatrix
    """(models, ranks): probability of each rank; ties share their ranks evenly."""
    p_best: FloatVector
    """(models,): probability of having the best mean score."""
    exact: bool
    resamples: int
    null_frequency: float
    """Mean winner frequency of N subjects and K models that are exchangeable: what no difference looks like."""
    null_p: float
    """Share of exchangeable data sets whose winner is at least as frequent: (b+1)/(B+1)."""
    leave_one_out_ranks: FloatMatrix
    """(subjects, models): ranks of the mean score without that subject."""


def within_ranks(scores: FloatMatrix) -> FloatMatrix:
    """Return (subjects, models) ranks within each subject, 1 = largest, mid-ranks."""
    ranks: FloatMatrix = stats.rankdata(-micro(scores), axis=1, method="average")
    return ranks


def friedman(scores: FloatMatrix) -> Friedman:
    """Return Friedman's chi-square with tie correction, Iman-Davenport's F and Kendall's W.

    All models tied on all subjects: chi2 0, p 1.
    """
    ranks = within_ranks(scores)
    n, k = ranks.shape
    ties = _tie_sum(ranks)
    room = 1 - ties / (n * k * (k * k - 1))
    if room <= 1e-12:
        return Friedman(0.0, 1.0, 0.0, 1.0, 0.0)
    mean_ranks = ranks.mean(axis=0)
    raw = 12 * n / (k * (k + 1)) * float(np.sum((mean_ranks - (k + 1) / 2) ** 2))
    chi2 = min(raw / room, n * (k - 1.0))
    p = floor_p(float(special.chdtrc(k - 1, chi2)))
    remaining = n * (k - 1) - chi2
    if remaining < 1e-9 * n * k:
        return Friedman(chi2, p, None, _p_of_agreement(ranks), 1.0)
    f = (n - 1) * chi2 / remaining
    f_p = floor_p(float(special.fdtrc(k - 1, (k - 1) * (n - 1), f)))
    return Friedman(chi2, p, f, f_p, chi2 / (n * (k - 1)))


def _tie_sum(ranks: FloatMatrix) -> float:
    """Return the sum of t^3 - t over all groups of t tied models within a subject."""
    counts = [np.unique(row, return_counts=True)[1].astype(np.float64) for row in ranks]
    return float(sum(np.sum(c**3 - c) for c in counts))


def _p_of_agreement(ranks: FloatMatrix) -> float:
    """Return the chance that n - 1 shuffled subjects all repeat the order of the first."""
    n, k = ranks.shape
    groups = np.unique(ranks[0], return_counts=True)[1]
    log_orders = special.gammaln(k + 1) - float(np.sum(special.gammaln(groups + 1)))
    return floor_p(math.exp(-(n - 1) * float(log_orders)))


def friedman_permutation_p(scores: FloatMatrix, *, seed: int = 0) -> float:
    """Return Friedman's p by shuffles of the ranks within each subject, (b+1)/(B+1): valid at any N and K.

    The sum of squared rank sums is all that shuffles change of the statistic. There are 9,999 shuffles, and of more
    than 3,000 scores as many as 30 million ranks make, at least 99. All models tied: 1.
    """
    doubled = np.rint(2 * within_ranks(scores)).astype(np.int64)
    seen, random, hits = _squared_sums(doubled[None])[0], np.random.default_rng([seed, 3]), 0
    shuffles = min(PERMUTATIONS, max(99, _MOST_SHUFFLED // doubled.size))
    chunk = max(1, AT_A_TIME // doubled.size)
    for start in range(0, shuffles, chunk):
        size = min(chunk, shuffles - start)
        hits += int(np.sum(_squared_sums(random.permuted(np.tile(doubled, (size, 1, 1)), axis=2)) >= seen))
    return (hits + 1) / (shuffles + 1)


def _squared_sums(doubled: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum over models of squared (doubled) rank sums, of (shuffles, subjects, models)."""
    return np.asarray((doubled.sum(axis=1) ** 2).sum(axis=1), dtype=np.int64)


def tiers(means: FloatVector, p_adjusted: FloatMatrix, *, alpha: float = 0.05) -> list[list[int]]:
    """Return models in tiers: whatever is not shown to be worse than the best of those left shares a tier with it.

    Args:
        means: oriented so that larger is better.
        p_adjusted: (models, models) p-values of differences, adjusted for their number.
        alpha: level of the adjusted tests.
    """
    left, found = list(np.argsort(-rounded(means), kind="stable")), []
    while left:
        best = left[0]
        tier = [int(m) for m in left if m == best or p_adjusted[best, m] >= alpha]
        found.append(tier)
        left = [m for m in left if m not in tier]
    return found


def nemenyi_critical_difference(models: int, subjects: int, *, alpha: float = 0.05) -> float:
    """Return the difference of average ranks two models need: q sqrt(K(K+1)/(6N)), infinite degrees of freedom."""
    quantile = float(stats.studentized_range.ppf(1 - alpha, models, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(models * (models + 1) / (6 * subjects))


def nemenyi_p(average_ranks: FloatVector, subjects: int) -> FloatMatrix:
    """Return the (models, models) matrix of Nemenyi p-values; 1 on the diagonal."""
    k = len(average_ranks)
    distance = np.abs(average_ranks[:, None] - average_ranks[None, :])
    upper = np.triu_indices(k, 1)
    q = distance[upper] / math.sqrt(k * (k + 1) / (6 * subjects)) * math.sqrt(2)
    p = np.ones((k, k))
    p[upper] = np.clip(studentized_range_sf(q, k), SMALLEST_P, 1.0)
    return np.asarray(np.minimum(p, p.T), dtype=np.float64)


def studentized_range_sf(q: FloatVector, models: int) -> FloatVector:
    """Return P(Q > q) of the studentised range of so many means with infinite degrees of freedom.

    1 - K int phi(z) [Phi(z) - Phi(z - q)]^(K - 1) dz by Gauss-Legendre quadrature: scipy's own takes some milliseconds
    a value, and a hundred models have 4,950 pairs. Accurate to 1e-12.
    """
    z = _Z * _NODES
    weights = _Z * _WEIGHTS * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = special.ndtr(z) - special.ndtr(z - q[:, None])
    return np.asarray(1 - models * (below ** (models - 1) @ weights), dtype=np.float64)


def holm(p_values: FloatVector) -> FloatVector:
    """Return Holm's adjusted p-values: running maximum of p_(i) (m - i + 1), at most 1."""
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def smallest_exact_p(subjects: int) -> float:
    """Return the smallest two-sided p that a sign-flip or Wilcoxon test of n subjects can give: 2/2^n."""
    return min(1.0, 2.0 ** (1 - subjects))


def subjects_for_attainable(comparisons: int, *, alpha: float = 0.05) -> int:
    """Return the fewest subjects with which an exact test survives Holm's first step: 10 for 15 comparisons."""
    n = 1
    while smallest_exact_p(n) * comparisons > alpha:
        n += 1
    return n


def rank_stability(scores: FloatMatrix, *, seed: int = 0, draws: int = 10_000) -> RankStability:
    """Resample subjects (all resamples where N <= 10) and re-rank the mean scores; the null stands beside it."""
    n = len(scores)
    resamples = resamples_of(n, seed=seed, draws=draws)
    means = rounded(resamples.counts @ scores / n)
    distribution = _rank_distribution(means, resamples.weights)
    frequency = _winner_frequency(distribution[:, 0], scores)
    null = _null_frequencies(scores, seed)
    return RankStability(
        distribution=distribution,
        p_best=distribution[:, 0],
        exact=resamples.exact,
        resamples=len(resamples.weights),
        null_frequency=float(np.mean(null)),
        null_p=(int(np.sum(null >= frequency - 1e-9)) + 1) / (len(null) + 1),
        leave_one_out_ranks=_leave_one_out_ranks(scores),
    )


def mean_ranks(scores: FloatMatrix) -> FloatVector:
    """Return the ranks of the mean scores, 1 = best, mid-ranks."""
    means: FloatVector = within_ranks(scores.mean(axis=0, keepdims=True))[0]
    return means


def _rank_distribution(means: FloatMatrix, weights: FloatVector) -> FloatMatrix:
    """Return (models, ranks) probabilities; t models tied for places share them evenly."""
    k = means.shape[1]
    units = micro(means)
    found = np.zeros((k, k))
    for model in range(k):
        better = np.sum(units > units[:, [model]], axis=1)
        tied = np.sum(units == units[:, [model]], axis=1)
        for rank in range(k):
            holds = (better <= rank) & (rank < better + tied)
            found[model, rank] = np.sum(weights * holds / tied)
    return found


def _winner_frequency(p_best: FloatVector, scores: FloatMatrix) -> float:
    return float(p_best[int(np.argmax(rounded(scores.mean(axis=0))))])


def _null_frequencies(scores: FloatMatrix, seed: int) -> FloatVector:
    """Return the winner frequency of data sets whose scores are shuffled between models within each subject."""
    random = np.random.default_rng([seed, 1])
    n, _ = scores.shape
    counts = random.multinomial(n, np.full(n, 1 / n), size=NULL_RESAMPLES).astype(np.float64)
    return np.array([_null_frequency(random.permuted(scores, axis=1), counts) for _ in range(NULL_DATA_SETS)])


def _null_frequency(scores: FloatMatrix, counts: FloatMatrix) -> float:
    means = rounded(counts @ scores / len(scores))
    best = means == means.max(axis=1, keepdims=True)
    share = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    return _winner_frequency(share, scores)


def _leave_one_out_ranks(scores: FloatMatrix) -> FloatMatrix:
    n = len(scores)
    means = (scores.sum(axis=0, keepdims=True) - scores) / (n - 1)
    return within_ranks(means)
