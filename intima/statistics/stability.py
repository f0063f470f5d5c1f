"""At which number of subjects a ranking settles: the "phase transition", simulated for a score model.

For every number of subjects data sets are drawn and ranked by their mean score; what is counted follows challengeR
(Wiesenfarth et al. 2021) and statistics.md section 6. Nothing but the sampling of subjects is random in them.
"""

import math

import numpy as np
from numpy.typing import NDArray

from intima.arrays import FloatMatrix, FloatVector
from intima.contracts.statistics import SimulatedFigure, StabilityPoint
from intima.statistics.agreement import tau_b
from intima.statistics.ranking import nemenyi_critical_difference, within_ranks
from intima.statistics.samples import AT_A_TIME
from intima.statistics.simulation import ScoreModel, draw_scores

RESAMPLES = 500
"""Bootstrap resamples per data set."""
STABLE_FREQUENCY = 0.95
_Z = 1.959964


def stability_at(model: ScoreModel, subjects: int, *, data_sets: int, seed: int) -> StabilityPoint:
    """Simulate rankings of so many subjects; ``data_sets`` is even, as they are also compared in pairs."""
    random = np.random.default_rng([seed, subjects])
    models = len(model.means)
    chunk = max(2, 2 * (AT_A_TIME // (2 * models * (subjects + models))))
    parts = [
        _counted(
            draw_scores(model, data_sets=min(chunk, data_sets - start), subjects=subjects, random=random), model, random
        )
        for start in range(0, data_sets, chunk)
    ]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    truth = model.expected
    ties, all_tie = len(np.unique(truth)) < len(truth), len(np.unique(truth)) == 1
    shared_best = int(np.sum(truth == truth.max())) > 1
    return StabilityPoint(
        n=subjects,
        best_first=None if shared_best else simulated_share(found["best_first"]),
        same_winner=simulated_share(found["same_winner"]),
        tau_truth=None if all_tie else _average(found["tau_truth"]),
        tau_between=_average(found["tau_between"]),
        whole_order=None if ties else simulated_share(found["whole_order"]),
        winner_never_changes=simulated_share(found["winner_never_changes"]),
        winner_frequent=simulated_share(found["winner_frequent"]),
        winner_separated=simulated_share(found["winner_separated"]),
    )


def _counted(
    scores: NDArray[np.float64], model: ScoreModel, random: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    truth, means = model.expected, scores.mean(axis=1)
    winners, half = means.argmax(axis=1), len(scores) // 2
    return {
        "best_first": (winners == truth.argmax()).astype(np.float64),
        "same_winner": (winners[:half] == winners[half : 2 * half]).astype(np.float64),
        "tau_truth": np.nan_to_num(tau_b(means, np.broadcast_to(truth, means.shape))),
        "tau_between": np.nan_to_num(tau_b(means[:half], means[half : 2 * half])),
        "whole_order": np.all(np.argsort(-means, axis=1) == np.argsort(-truth, kind="stable"), axis=1).astype(
            np.float64
        ),
        "winner_never_changes": _unchanged(scores, winners),
        "winner_frequent": (_winner_frequency(scores, winners, random) >= STABLE_FREQUENCY).astype(np.float64),
        "winner_separated": _separated(scores),
    }


def _unchanged(scores: NDArray[np.float64], winners: NDArray[np.intp]) -> FloatVector:
    without = scores.sum(axis=1, keepdims=True) - scores
    return np.asarray(np.all(without.argmax(axis=2) == winners[:, None], axis=1), dtype=np.float64)


def _winner_frequency(
    scores: NDArray[np.float64], winners: NDArray[np.intp], random: np.random.Generator
) -> FloatVector:
    sets, subjects, models = scores.shape
    counts = random.multinomial(subjects, np.full(subjects, 1 / subjects), size=RESAMPLES).astype(np.float64)
    chunk = max(1, AT_A_TIME // (RESAMPLES * models))
    found = [
        np.mean((counts @ scores[start : start + chunk]).argmax(axis=2) == winners[start : start + chunk, None], axis=1)
        for start in range(0, sets, chunk)
    ]
    return np.concatenate(found)


def _separated(scores: NDArray[np.float64]) -> FloatVector:
    _, subjects, models = scores.shape
    ranks = within_ranks(scores.reshape(-1, models)).reshape(scores.shape)
    average: FloatMatrix = np.sort(ranks.mean(axis=1), axis=1)
    return (average[:, 1] - average[:, 0] > nemenyi_critical_difference(models, subjects)).astype(np.float64)


def simulated_share(hits: FloatVector | NDArray[np.bool_]) -> SimulatedFigure:
    """Return a share with Wilson's interval."""
    n, p = len(hits), float(np.mean(hits))
    centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return SimulatedFigure(value=p, low=max(0.0, centre - half), high=min(1.0, centre + half))


def _average(values: FloatVector) -> SimulatedFigure:
    mean, half = float(np.mean(values)), _Z * float(np.std(values)) / math.sqrt(len(values))
    return SimulatedFigure(value=mean, low=max(-1.0, mean - half), high=min(1.0, mean + half))
