"""Power and sample size of the paired t test and of TOST, exact for normal differences.

Everything is expressed by the standard error of the mean difference and its degrees of freedom, so that designs
with and without the Nadeau-Bengio correction share one formula.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from intima.arrays import FloatVector
from intima.errors import Invalid
from intima.statistics.quadrature import mean_over_spread
from intima.statistics.samples import need_subjects

MOST_UNITS = 1_000_000
"""Designs that need more subjects than this are answered with None."""


@dataclass(frozen=True, slots=True)
class Design:
    """What decides the power of a comparison of n subjects: standard error and degrees of freedom."""

    standard_error: float
    degrees: int


DesignOf = Callable[[int], Design]
"""A design for every number of subjects."""


def independent_design(sd: float) -> DesignOf:
    """Return the design of n independent subjects whose differences have standard deviation ``sd``."""
    return lambda n: Design(sd / math.sqrt(n), n - 1)


def leave_one_out_design(sd: float) -> DesignOf:
    """Return the design of leave-one-subject-out scores: variance times 1 + n/(n - 1)."""
    return lambda n: Design(sd * math.sqrt((1 + n / (n - 1)) / n), n - 1)


def fixed_splits_design(sd: float, *, splits: int, test_to_train: float) -> DesignOf:
    """Return the design of k-fold scores: variance times 1 + J n_test/n_train, J - 1 degrees of freedom."""
    factor = math.sqrt(1 + splits * test_to_train)
    return lambda n: Design(sd * factor / math.sqrt(n), min(n, splits) - 1)


def tost_power(design: Design, *, margin: float, difference: float = 0.0, alpha: float = 0.05) -> float:
    """Return the probability that TOST at ``margin`` declares equivalence when the truth is ``difference``.

    Integrates [Phi((m - delta)/se - t s) - Phi(-(m + delta)/se + t s)] over s = S/sigma, df s^2 ~ chi2(df),
    s < m / (se t). Accurate to about 1e-8.
    """
    critical = -float(special.stdtrit(design.degrees, alpha))

    def passes(s: FloatVector) -> FloatVector:
        upper = special.ndtr((margin - difference) / design.standard_error - critical * s)
        lower = special.ndtr(-(margin + difference) / design.standard_error + critical * s)
        return np.asarray(np.maximum(upper - lower, 0.0), dtype=np.float64)

    return mean_over_spread(passes, design.degrees, below=margin / (design.standard_error * critical))


def t_power(design: Design, *, difference: float, alpha: float = 0.05) -> float:
    """Return the probability that the two-sided paired t test finds a true ``difference``."""
    critical = -float(special.stdtrit(design.degrees, alpha / 2))
    shift = difference / design.standard_error

    def rejects(s: FloatVector) -> FloatVector:
        return np.asarray(special.ndtr(shift - critical * s) + special.ndtr(-shift - critical * s), dtype=np.float64)

    return mean_over_spread(rejects, design.degrees, below=math.inf)


def units_for_equivalence(
    design_of: DesignOf, *, margin: float, difference: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return the fewest subjects with which TOST reaches ``power``; None beyond a million."""
    return _fewest(lambda n: tost_power(design_of(n), margin=margin, difference=difference, alpha=alpha) >= power)


def units_for_difference(
    design_of: DesignOf, *, difference: float, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return the fewest subjects with which the paired t test finds ``difference``; None beyond a million."""
    return _fewest(lambda n: t_power(design_of(n), difference=difference, alpha=alpha) >= power)


def smallest_margin(design: Design, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest margin TOST can confirm with ``power`` when the true difference is zero."""
    error = design.standard_error
    unit = Design(1.0, design.degrees)
    return error * _root(lambda m: tost_power(unit, margin=m, alpha=alpha) - power)


def smallest_difference(design: Design, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest true difference the paired t test finds with ``power``; 0 where alpha reaches it."""
    unit = Design(1.0, design.degrees)
    return design.standard_error * _root(lambda d: t_power(unit, difference=d, alpha=alpha) - power)


def failure_rate_upper_bound(n: int) -> float:
    """Return the one-sided 95 % upper bound of a failure rate when none of n subjects failed: 1 - 0.05^(1/n)."""
    need_subjects(n, 1, purpose="a failure rate")
    return float(-np.expm1(math.log(0.05) / n))


def sd_range(sd: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a standard deviation measured on n subjects: 0.68 to 1.92 times at nine."""
    need_subjects(n, 2, purpose="a standard deviation")
    high, low = (float(stats.chi2.ppf(q, n - 1)) for q in (0.025, 0.975))
    return sd * math.sqrt((n - 1) / low), sd * math.sqrt((n - 1) / high)


def _root(gap: Callable[[float], float]) -> float:
    if gap(0.0) >= 0:
        return 0.0
    high = 1.0
    while gap(high) < 0:
        high *= 2
        if high > 1e9:
            raise Invalid("No margin reaches this power.", hint="Ask for less power.", pointer="/power")
    return float(optimize.brentq(gap, 0.0, high, xtol=1e-9))


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """Return the smallest n >= 2 for which ``enough`` holds; it must be monotone in n."""
    high = 2
    while not enough(high):
        if high >= MOST_UNITS:
            return None
        high = min(2 * high, MOST_UNITS)
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
