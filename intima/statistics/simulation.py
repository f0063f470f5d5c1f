"""Simulated scores of several models on the same subjects: Beta margins tied together by a Gaussian copula.

What a subject is like moves all models alike: mean .85, SD .08 and a correlation of .80 between models make paired
differences with an SD of .05. A model that fails on a subject has its score multiplied by U(.2, .6).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from intima.arrays import FloatVector
from intima.errors import Invalid

FAILED_SHARE = (0.2, 0.6)
"""A failed score is this share of what it would have been."""
_GRID = np.linspace(-6.5, 6.5, 2_601)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(40)


@dataclass(frozen=True, slots=True)
class ScoreModel:
    """How scores of models with given means vary over subjects."""

    means: tuple[float, ...]
    """Mean score of each model where it does not fail; 0 to 1."""
    sd: float
    """Standard deviation of one model's scores over subjects."""
    correlation: float
    """Pearson correlation between two models over subjects, 0 to 1."""
    failure_rates: tuple[float, ...]
    """Per model: probability that it fails on a subject."""

    @property
    def expected(self) -> FloatVector:
        """True mean score of each model, failures included."""
        lost = 1 - sum(FAILED_SHARE) / 2
        return np.array(self.means) * (1 - lost * np.array(self.failure_rates))


def score_model(
    means: tuple[float, ...], *, sd: float, sd_difference: float, failure_rates: tuple[float, ...]
) -> ScoreModel:
    """Return the model whose paired differences have an SD of ``sd_difference`` where nothing fails.

    Raises:
        Invalid: a mean and an SD that no score between 0 and 1 can have, or differences that vary more than scores of
            independent models.
    """
    for i, mean in enumerate(means):
        if not 0 < mean < 1 or sd**2 >= 0.999 * mean * (1 - mean):
            raise Invalid(
                f"Got a mean score of {mean:.3g} with a standard deviation of {sd:.3g}; scores lie between 0 and 1.",
                hint="Give smaller gaps, a smaller sd, or another mean.",
                pointer=f"/gaps/{i}",
            )
    correlation = 1 - sd_difference**2 / (2 * sd**2)
    if not 0 <= correlation < 1:
        raise Invalid(
            f"Got sd_difference {sd_difference:.3g} and sd {sd:.3g}; differences of scores that have something in"
            f" common vary by less than {math.sqrt(2) * sd:.3g}.",
            pointer="/sd_difference",
        )
    return ScoreModel(means, sd, correlation, failure_rates)


def draw_scores(
    model: ScoreModel, *, data_sets: int, subjects: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return (data_sets, subjects, models) scores."""
    shape = (data_sets, subjects, len(model.means))
    tie = math.sqrt(_latent_correlation(model.means[0], model.sd, model.correlation))
    latent = tie * random.standard_normal((data_sets, subjects, 1)) + math.sqrt(1 - tie**2) * random.standard_normal(
        shape
    )
    scores = np.stack(
        [np.interp(latent[..., j], _GRID, _quantiles(mean, model.sd)) for j, mean in enumerate(model.means)], axis=-1
    )
    if any(model.failure_rates):
        fails = random.random(shape) < np.array(model.failure_rates)
        scores *= np.where(fails, random.uniform(*FAILED_SHARE, size=shape), 1.0)
    return scores


@lru_cache(maxsize=256)
def _quantiles(mean: float, sd: float) -> FloatVector:
    """Return Beta quantiles of this mean and SD at the standard normal values of the grid."""
    concentration = mean * (1 - mean) / sd**2 - 1
    values: FloatVector = special.betaincinv(mean * concentration, (1 - mean) * concentration, special.ndtr(_GRID))
    return values


@lru_cache(maxsize=256)
def _latent_correlation(mean: float, sd: float, correlation: float) -> float:
    """Return the correlation of the normal values behind two Beta scores that correlate by ``correlation``."""
    if correlation == 0:
        return 0.0
    weights = _WEIGHTS / _WEIGHTS.sum()
    quantiles = _quantiles(mean, sd)
    scores = np.interp(_NODES, _GRID, quantiles)
    centre = float(weights @ scores)
    spread = float(weights @ (scores - centre) ** 2)

    def gap(latent: float) -> float:
        other = latent * _NODES[:, None] + math.sqrt(1 - latent**2) * _NODES[None, :]
        given = (np.interp(other, _GRID, quantiles) - centre) @ weights
        return float(weights @ ((scores - centre) * given)) / spread - correlation

    return float(optimize.brentq(gap, 0.0, 1.0, xtol=1e-6))
