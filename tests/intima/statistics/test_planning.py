"""Power and sample size against the published tables, statsmodels, scipy and simulation."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from intima.errors import Invalid
from intima.statistics import planning as p
from intima.statistics.planning import Design, independent_design

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from statsmodels.stats.power import TTestPower

DETECT = {0.02: (34, 10, 4), 0.03: (73, 20, 6), 0.05: (199, 52, 10), 0.08: (505, 128, 23), 0.12: (1133, 285, 48)}
TOST = {
    0.02: (36, 11, 4, 3),
    0.03: (79, 21, 5, 3),
    0.05: (216, 55, 11, 4),
    0.08: (550, 139, 24, 8),
    0.12: (None, 310, 51, 14),
}


@pytest.mark.parametrize("sd", DETECT)
def test_table_of_sample_sizes(sd: float) -> None:
    design = independent_design(sd)
    assert tuple(p.units_for_difference(design, difference=d) for d in (0.01, 0.02, 0.05)) == DETECT[sd]
    found = [p.units_for_equivalence(design, margin=m) for m in (0.01, 0.02, 0.05, 0.10)]
    assert [f for f, e in zip(found, TOST[sd], strict=True) if e] == [e for e in TOST[sd] if e]


@pytest.mark.parametrize(
    ("n", "difference", "margin"),
    [
        (5, 1.68, 1.61),
        (9, 1.07, 1.08),
        (15, 0.78, 0.80),
        (20, 0.66, 0.68),
        (30, 0.53, 0.55),
        (50, 0.40, 0.42),
        (100, 0.28, 0.30),
    ],
)
def test_table_of_what_n_subjects_can_do(n: int, difference: float, margin: float) -> None:
    design = independent_design(1.0)(n)
    assert p.smallest_difference(design) == pytest.approx(difference, abs=0.0055)
    assert p.smallest_margin(design) == pytest.approx(margin, abs=0.0105)
    assert p.tost_power(design, margin=p.smallest_margin(design)) == pytest.approx(0.8, abs=1e-6)
    assert p.t_power(design, difference=p.smallest_difference(design)) == pytest.approx(0.8, abs=1e-6)


def test_exact_tost_power_where_the_normal_formula_is_off() -> None:
    assert p.units_for_equivalence(independent_design(1.0), margin=0.3) == 97
    assert p.tost_power(independent_design(0.0507)(9), margin=0.05) == pytest.approx(0.708, abs=1e-3)
    assert p.tost_power(independent_design(0.0507)(50), margin=0.02) == pytest.approx(0.731, abs=1e-3)


@settings(max_examples=60)
@given(st.integers(2, 300), st.floats(0.01, 2.0), st.sampled_from([0.01, 0.05, 0.2]))
def test_t_power_is_the_noncentral_t(n: int, effect: float, alpha: float) -> None:
    expected = TTestPower().power(effect, n, alpha)
    assume(np.isfinite(expected))  # it gives NaN near a power of 1
    assert p.t_power(independent_design(1.0)(n), difference=effect, alpha=alpha) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("n", "margin", "difference"), [(4, 1.5, 0.0), (9, 1.0, 0.4), (25, 0.6, -0.2)])
def test_tost_power_by_simulation(n: int, margin: float, difference: float) -> None:
    d = np.random.default_rng(7).normal(difference, 1.0, size=(40_000, n))
    reach = stats.t.ppf(0.95, n - 1) * d.std(axis=1, ddof=1) / np.sqrt(n)
    inside = (d.mean(axis=1) + reach < margin) & (d.mean(axis=1) - reach > -margin)
    power = p.tost_power(independent_design(1.0)(n), margin=margin, difference=difference)
    assert power == pytest.approx(inside.mean(), abs=0.008)


@settings(max_examples=60)
@given(st.integers(1, 1_000_000), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(-1e6, 1e6))
def test_powers_are_probabilities(degrees: int, error: float, margin: float, difference: float) -> None:
    design = Design(error, degrees)
    assert 0 <= p.tost_power(design, margin=margin, difference=difference) <= 1
    assert 0 <= p.t_power(design, difference=difference) <= 1


def test_power_of_no_difference_is_alpha() -> None:
    assert p.t_power(Design(0.1, 8), difference=0.0) == pytest.approx(0.05, abs=1e-9)
    assert p.tost_power(Design(1e-3, 8), margin=1.0, difference=1.0) == pytest.approx(0.05, abs=1e-6)


def test_dependence_costs_subjects() -> None:
    naive = p.units_for_equivalence(independent_design(0.05), margin=0.05)
    loo = p.units_for_equivalence(p.leave_one_out_design(0.05), margin=0.05)
    fold = p.units_for_equivalence(p.fixed_splits_design(0.05, splits=3, test_to_train=0.5), margin=0.05)
    assert naive is not None
    assert loo is not None
    assert fold is not None
    assert naive < loo < fold
    assert p.leave_one_out_design(1.0)(9).standard_error * 3 == pytest.approx(1.4577, abs=1e-4)


def test_more_than_a_million_is_none() -> None:
    assert p.units_for_equivalence(independent_design(1.0), margin=1e-6) is None
    assert p.units_for_equivalence(independent_design(1.0), margin=0.1, difference=0.2) is None


def test_failure_bound() -> None:
    assert p.failure_rate_upper_bound(9) == pytest.approx(0.2831, abs=1e-4)
    assert p.failure_rate_upper_bound(1) == pytest.approx(0.95)
    assert 0 < p.failure_rate_upper_bound(10**9) < 1e-8
    with pytest.raises(Invalid):
        p.failure_rate_upper_bound(0)


def test_range_of_a_pilots_sd() -> None:
    assert p.sd_range(1.0, 9) == pytest.approx((0.6755, 1.9158), abs=1e-4)
