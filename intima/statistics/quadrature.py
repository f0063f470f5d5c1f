"""Integrals over the sampling distribution of a standard deviation, by Gauss-Legendre quadrature."""

import math
from collections.abc import Callable

import numpy as np
from scipy import special, stats

from intima.arrays import FloatVector

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)
_Z = 8.5
"""The normal distribution holds 1e-17 beyond."""


def mean_over_spread(value: Callable[[FloatVector], FloatVector], degrees: int, *, below: float) -> float:
    """Return the mean of ``value(s)`` over s = S/sigma with df s^2 ~ chi2(df), counting s < ``below`` only."""
    low, high = (math.sqrt(float(stats.chi2.ppf(q, degrees)) / degrees) for q in (1e-14, 1 - 1e-14))
    high = min(high, below)
    if high <= low:
        return 0.0
    s = low + (high - low) * (_NODES + 1) / 2
    density = 2 * degrees * s * stats.chi2.pdf(degrees * s**2, degrees)
    mean = float(np.sum(_WEIGHTS * density * value(s)) * (high - low) / 2)
    return min(1.0, max(0.0, mean))


def noncentral_t_cdf(t: float, degrees: int, noncentrality: float) -> float:
    """Return P(T <= t) of the noncentral t distribution for t >= 0; libraries give NaN far from the centre.

    T = (Z + noncentrality) / s: integrates over s where t is small against the spread of s, else over Z.
    """
    if t < math.sqrt(2 * degrees):
        return mean_over_spread(
            lambda s: np.asarray(special.ndtr(t * s - noncentrality), dtype=np.float64), degrees, below=math.inf
        )
    start = min(_Z, max(-_Z, -noncentrality))
    half = (_Z - start) / 2
    z = start + half * (_NODES + 1)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    above = special.chdtrc(degrees, degrees * (np.maximum(z + noncentrality, 0.0) / t) ** 2)
    return float(special.ndtr(-noncentrality) + half * np.sum(_WEIGHTS * density * above))
