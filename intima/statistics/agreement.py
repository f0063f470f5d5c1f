"""How far rankings of the same models agree: between protocols, metrics, seeds or datasets, and over folds.

Every figure stands beside its null: models are shuffled within each subject, with the same shuffle wherever that
subject appears, so that all that differs between models is gone and what ties two scores of a subject together stays.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intima.arrays import FloatMatrix, FloatVector
from intima.statistics.ranking import within_ranks
from intima.statistics.samples import AT_A_TIME, micro

NULL_DRAWS = 1_000


@dataclass(frozen=True, slots=True)
class ScoreView:
    """Scores of the same models, in the same order, on some subjects; larger is better."""

    name: str
    subjects: tuple[str, ...]
    scores: FloatMatrix
    """(subjects, models)"""


@dataclass(frozen=True, slots=True)
class AgreementOfTwo:
    """Kendall's tau-b of two rankings by mean score."""

    tau: float | None
    """Null where a ranking ties all models."""
    null_mean: float
    null_p: float
    """Share of shuffled data with at least this tau, (b+1)/(B+1); 1 where tau is null."""


@dataclass(frozen=True, slots=True)
class Volatility:
    """Ranks of the mean score in each of several views."""

    ranks: FloatMatrix
    """(views, models), 1 = best, mid-ranks."""
    mean_range: float
    """Mean over models of highest minus lowest rank."""
    null_mean_range: float
    null_p: float
    """Share of shuffled data whose ranks move as little or less, (b+1)/(B+1)."""


def tau_b(a: FloatMatrix, b: FloatMatrix) -> FloatVector:
    """Return Kendall's tau-b of each row of a with that of b, (rows, models) scores; NaN where a row is all ties."""
    first, second = np.triu_indices(a.shape[1], 1)
    signs = [np.sign(m[:, first] - m[:, second]) for m in (micro(a), micro(b))]
    untied = [np.sum(s != 0, axis=1).astype(np.float64) for s in signs]
    room = np.sqrt(untied[0] * untied[1])
    concordance = np.sum(signs[0] * signs[1], axis=1)
    return np.where(room > 0, concordance / np.where(room > 0, room, 1.0), np.nan)


def agreement_of_two(a: ScoreView, b: ScoreView, *, seed: int = 0, draws: int = NULL_DRAWS) -> AgreementOfTwo:
    """Return the agreement of the rankings of two views, beside that of models without any difference.

    Shuffled data that tie all models count as no agreement, tau 0.
    """
    tau = float(tau_b(*(v.scores.mean(axis=0, keepdims=True) for v in (a, b)))[0])
    null = np.nan_to_num(np.concatenate([tau_b(*means) for means in _shuffled_means((a, b), seed=seed, draws=draws)]))
    if math.isnan(tau):
        return AgreementOfTwo(None, float(np.mean(null)), 1.0)
    return AgreementOfTwo(tau, float(np.mean(null)), (int(np.sum(null >= tau - 1e-9)) + 1) / (draws + 1))


def rank_volatility(views: Sequence[ScoreView], *, seed: int = 0, draws: int = NULL_DRAWS) -> Volatility:
    """Return how ranks of the mean score move over views: folds, repeats or seeds."""
    ranks = within_ranks(np.array([v.scores.mean(axis=0) for v in views]))
    moved = float(np.mean(np.ptp(ranks, axis=0)))
    null = np.concatenate([_mean_ranges(means) for means in _shuffled_means(views, seed=seed, draws=draws)])
    return Volatility(ranks, moved, float(np.mean(null)), (int(np.sum(null <= moved + 1e-9)) + 1) / (draws + 1))


def _mean_ranges(means: Sequence[FloatMatrix]) -> FloatVector:
    """Return the mean rank range of each draw, from one (draws, models) matrix of means per view."""
    ranks = np.stack([within_ranks(m) for m in means])
    return np.asarray(np.ptp(ranks, axis=0).mean(axis=1), dtype=np.float64)


def _shuffled_means(views: Sequence[ScoreView], *, seed: int, draws: int) -> Iterator[tuple[FloatMatrix, ...]]:
    """Yield chunks of mean scores, one (chunk, models) matrix per view, with models shuffled within subjects."""
    subjects = sorted({s for view in views for s in view.subjects})
    places = [np.array([bisect_left(subjects, s) for s in view.subjects]) for view in views]
    models, random = views[0].scores.shape[1], np.random.default_rng([seed, 2])
    chunk = max(1, AT_A_TIME // (len(subjects) * models))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        orders = random.permuted(np.tile(np.arange(models), (size, len(subjects), 1)), axis=2)
        yield tuple(_means(view.scores, orders[:, where]) for view, where in zip(views, places, strict=True))


def _means(scores: FloatMatrix, orders: NDArray[np.int64]) -> FloatMatrix:
    shuffled = np.take_along_axis(np.broadcast_to(scores, orders.shape), orders, axis=2)
    return np.asarray(shuffled.mean(axis=1), dtype=np.float64)
