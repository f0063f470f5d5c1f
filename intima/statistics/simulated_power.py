"""Power of the two tests on simulated scores, where so few subjects make the normal formula err."""

import math

import numpy as np
from scipy import stats

from intima.arrays import FloatVector
from intima.contracts.statistics import SimulatedFigure
from intima.statistics.simulation import draw_scores, score_model
from intima.statistics.stability import simulated_share

MEAN, SD = 0.85, 0.08
"""Of the better model's scores, as Dice has them (statistics.md section 6)."""
DATA_SETS = 20_000


def power_of_tests(
    subjects: int, *, sd_difference: float, margin: float, true_difference: float, detect: float, alpha: float
) -> tuple[SimulatedFigure, SimulatedFigure]:
    """Return the simulated power of TOST at ``true_difference`` and of the paired t test at ``detect``.

    Scores are Beta with mean .85 and SD .08, tied by a copula so that paired differences have an SD of
    ``sd_difference`` (``statistics.simulation``); 20,000 data sets, seed fixed.

    Raises:
        Invalid: no scores between 0 and 1 are like that.
    """
    half = stats.t.ppf(1 - alpha, subjects - 1)
    mean, error = _paired(subjects, sd_difference=sd_difference, gap=abs(true_difference))
    equivalent = (np.abs(mean) + half * error) < margin
    mean, error = _paired(subjects, sd_difference=sd_difference, gap=detect)
    different = np.abs(mean) > stats.t.ppf(1 - alpha / 2, subjects - 1) * error
    return simulated_share(equivalent), simulated_share(different)


def _paired(subjects: int, *, sd_difference: float, gap: float) -> tuple[FloatVector, FloatVector]:
    """Return mean and standard error of the paired differences of every data set."""
    model = score_model((MEAN, MEAN - gap), sd=SD, sd_difference=sd_difference, failure_rates=(0.0, 0.0))
    scores = draw_scores(model, data_sets=DATA_SETS, subjects=subjects, random=np.random.default_rng([subjects, 3]))
    differences = scores[..., 0] - scores[..., 1]
    return differences.mean(axis=1), differences.std(axis=1, ddof=1) / math.sqrt(subjects)
