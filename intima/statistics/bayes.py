"""Posterior probabilities of a paired difference below, within and above a region of practical equivalence (ROPE).

Benavoli, Corani, Demsar & Zaffalon 2017, JMLR 18:77. They stand beside the deciding test: 95 % of posterior
probability is no error rate.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from intima.arrays import FloatMatrix, FloatVector
from intima.contracts.comparison import VerdictName
from intima.statistics.equivalence import PairedT
from intima.statistics.samples import AT_A_TIME, DECIMALS, micro, need_subjects

PRIOR_STRENGTH = 0.5
"""Weight of the pseudo-difference of zero beside one for each subject."""
DRAWS = 20_000
"""Of the posterior: the standard error of a probability is at most .0036."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """Probabilities that a difference lies below -margin, within the margin, and above it; they sum to one."""

    below: float
    within: float
    above: float


def correlated_t_posterior(test: PairedT, margin: float) -> Posterior:
    """Return the ROPE probabilities of the mean difference under the correlated Bayesian t test (flat prior).

    The posterior is Student's t with location, scale and degrees of freedom of ``test``: with rho = n_test / (n_test +
    n_train) that scale is the standard error of Nadeau & Bengio (Corani & Benavoli 2015), which ``test`` carries.
    """
    below = float(special.stdtr(test.degrees, (-margin - test.mean) / test.standard_error))
    above = float(special.stdtr(test.degrees, (test.mean - margin) / test.standard_error))
    return Posterior(below, max(0.0, 1.0 - below - above), above)


def signed_rank_posterior(differences: FloatVector, margin: float, *, seed: int = 0, draws: int = DRAWS) -> Posterior:
    """Return how probable it is that a typical difference lies below, within or above the margin.

    Bayesian signed-rank test (Benavoli et al. 2014, ICML): Dirichlet weights w over {0, d_1 .. d_n}, prior strength
    0.5 on the zero; a draw is won by the largest of the three sums of w_i w_j over pairs whose mean (d_i + d_j) / 2
    lies below, within or above the margin; a mean on the margin counts half to either side.

    Raises:
        Invalid: no differences.
    """
    need_subjects(len(differences), 1, purpose="a posterior")
    values = np.sort(np.append(micro(differences), 0))
    strength = np.ones(len(values))
    strength[int(np.searchsorted(values, 0))] = PRIOR_STRENGTH
    reach = 2 * round(margin * 10**DECIMALS)
    random, wins, chunk = np.random.default_rng(seed), np.zeros(3), max(1, AT_A_TIME // len(values))
    for start in range(0, draws, chunk):
        weights = random.dirichlet(strength, size=min(chunk, draws - start))
        below = _mass_of_pairs_below(weights, values, -reach)
        above = _mass_of_pairs_below(weights[:, ::-1], -values[::-1], -reach)
        wins += np.bincount(np.argmax([below, 1 - below - above, above], axis=0), minlength=3)
    return Posterior(*(float(w) for w in wins / draws))


def _mass_of_pairs_below(weights: FloatMatrix, values: np.ndarray, bound: int) -> FloatVector:
    """Return the sum of w_i w_j over pairs with v_i + v_j < bound, half of it at the bound; values ascend."""
    reached = np.pad(np.cumsum(weights, axis=1), ((0, 0), (1, 0)))
    under = np.searchsorted(values, bound - values, side="left")
    up_to = np.searchsorted(values, bound - values, side="right")
    partner = (reached[:, under] + reached[:, up_to]) / 2
    return np.asarray(np.einsum("ij,ij->i", weights, partner), dtype=np.float64)


def decide_by_posterior(posterior: Posterior, *, higher_is_better: bool, alpha: float) -> VerdictName:
    """Return the verdict whose region holds at least 1 - alpha of the posterior, else inconclusive.

    A posterior of the three regions cannot say "different but negligible".
    """
    if posterior.within >= 1 - alpha:
        return "equivalent"
    a, b = (posterior.above, posterior.below) if higher_is_better else (posterior.below, posterior.above)
    if a >= 1 - alpha:
        return "better_a"
    return "better_b" if b >= 1 - alpha else "inconclusive"
