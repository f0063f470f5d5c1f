"""Margins from observers and endpoints against statsmodels, algebra and simulation."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from intima.errors import Invalid
from intima.statistics.margins import slope_within_subjects, within_subject_sd


def test_two_observers_against_the_textbook() -> None:
    """With two observers s_w = sqrt(sum d^2 / 2n) (Bland & Altman 1996)."""
    table = np.random.default_rng(0).normal(0.9, 0.03, (9, 2))
    found = within_subject_sd(table)
    assert found is not None
    assert found.value == pytest.approx(np.sqrt(np.sum((table[:, 0] - table[:, 1]) ** 2) / 18))
    assert found.interval.low == pytest.approx(found.value * np.sqrt(9 / stats.chi2.ppf(0.975, 9)))


def test_the_spread_is_that_of_a_one_way_analysis_of_variance() -> None:
    table = np.random.default_rng(1).normal(0.9, 0.03, (7, 4))
    groups = np.repeat(np.arange(7), 4)
    fit = sm.OLS(table.ravel(), (groups[:, None] == np.arange(7)).astype(float)).fit()
    found = within_subject_sd(table)
    assert found is not None
    assert found.value == pytest.approx(np.sqrt(fit.mse_resid))


def test_the_interval_of_the_spread_covers() -> None:
    draws = np.random.default_rng(2).normal(0.9, 0.02, (1000, 9, 3))
    found = [within_subject_sd(d) for d in draws]
    assert np.mean([f is not None and f.interval.low <= 0.02 <= f.interval.high for f in found]) == pytest.approx(
        0.95, abs=0.025
    )


def test_a_straight_line_is_found_exactly() -> None:
    metric = np.random.default_rng(3).normal(0.8, 0.05, (6, 3))
    offset = np.arange(6)[:, None]
    found = slope_within_subjects(metric, offset - 1.5 * metric)
    assert found is not None
    assert found.value == pytest.approx(-1.5)
    assert found.interval.high - found.interval.low == pytest.approx(0, abs=1e-9)


def test_the_slope_is_that_of_least_squares_with_subject_intercepts() -> None:
    random = np.random.default_rng(4)
    metric = random.normal(0.8, 0.05, (9, 4))
    endpoint = 1 - metric + random.normal(0, 0.05, (9, 4))
    groups = np.repeat(np.arange(9), 4)
    design = np.column_stack([metric.ravel(), groups[:, None] == np.arange(9)]).astype(float)
    fit = sm.OLS(endpoint.ravel(), design).fit(cov_type="cluster", cov_kwds={"groups": groups})
    found = slope_within_subjects(metric, endpoint)
    assert found is not None
    assert found.value == pytest.approx(fit.params[0])
    half = (found.interval.high - found.interval.low) / 2
    assert half / stats.t.ppf(0.975, 8) == pytest.approx(fit.bse[0], rel=0.25)


def test_the_upper_limit_of_the_slope_holds_though_subjects_differ() -> None:
    """The limit that decides the margin: at least .95 of a nominal .975 with slopes of their own per subject."""
    random, held = np.random.default_rng(5), []
    for _ in range(1000):
        metric = random.normal(0.85, 0.05, (9, 1)) + random.normal(0, 0.03, (1, 4)) - random.gamma(2, 0.02, (9, 4))
        endpoint = -random.normal(1.5, 0.5, (9, 1)) * metric + random.normal(0, 0.03, (9, 4))
        found = slope_within_subjects(-metric, endpoint)
        assert found is not None
        held.append(found.interval.high >= 1.5)
    assert np.mean(held) >= 0.94


def test_without_spread_there_is_nothing_to_say() -> None:
    flat = np.full((6, 2), 0.8)
    assert within_subject_sd(flat) is None
    assert slope_within_subjects(flat, np.random.default_rng(6).normal(size=(6, 2))) is None
    one = flat.copy()
    one[0, 0] = 0.7
    assert slope_within_subjects(one, flat) is None


def test_too_few_subjects() -> None:
    for four in (within_subject_sd, lambda m: slope_within_subjects(m, m)):
        with pytest.raises(Invalid, match="at least 5"):
            four(np.random.default_rng(7).normal(size=(4, 2)))
