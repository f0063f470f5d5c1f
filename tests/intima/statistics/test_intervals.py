"""Intervals against scipy, brute force, algebra and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from intima.errors import Invalid
from intima.statistics.intervals import (
    COVERAGE,
    INTERVALS,
    bca_interval,
    bootstrap_pivots,
    bootstrap_t_interval,
    coverage_at_n,
    expanded_percentile_interval,
    percentile_interval,
    resamples_of,
    t_interval,
    weighted_quantile,
)

DIFFERENCES = np.array([0.013, -0.021, 0.045, 0.002, 0.031, -0.008, 0.027, 0.019, -0.004])
samples = st.lists(st.integers(-1000, 1000), min_size=5, max_size=9).map(lambda v: np.array(v) / 1000)


@pytest.mark.parametrize(("n", "count"), [(2, 3), (3, 10), (9, 24_310), (10, 92_378)])
def test_all_resamples_are_enumerated(n: int, count: int) -> None:
    found = resamples_of(n, seed=0)
    assert found.exact
    assert len(found.weights) == count == math.comb(2 * n - 1, n)
    assert found.weights.sum() == pytest.approx(1)
    assert (found.counts.sum(axis=1) == n).all()
    assert len(np.unique(found.counts, axis=0)) == count


def test_enumeration_is_the_brute_force_bootstrap() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])
    draws = [sum(draw) for draw in itertools.product(values, repeat=4)]
    found = resamples_of(4, seed=0)
    sums = found.counts @ values
    for total in set(draws):
        assert found.weights[np.isclose(sums, total)].sum() == pytest.approx(draws.count(total) / 4**4)


def test_above_ten_resamples_are_seeded() -> None:
    first, again, other = (resamples_of(11, seed=s) for s in (1, 1, 2))
    assert not first.exact
    assert (first.counts == again.counts).all()
    assert not (first.counts == other.counts).all()


def test_t_interval_is_scipys() -> None:
    expected = stats.ttest_1samp(DIFFERENCES, 0).confidence_interval(0.9)
    found = t_interval(DIFFERENCES, confidence=0.9)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.parametrize(("mine", "method"), [(percentile_interval, "percentile"), (bca_interval, "BCa")])
def test_exact_bootstrap_agrees_with_scipys_random_one(mine: object, method: str) -> None:
    expected = stats.bootstrap((DIFFERENCES,), np.mean, n_resamples=60_000, method=method, rng=1).confidence_interval
    found = INTERVALS["percentile" if method == "percentile" else "bca"](DIFFERENCES, confidence=0.95, seed=0)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=4e-4)


def test_bootstrap_t_agrees_with_a_loop_over_random_resamples() -> None:
    random = np.random.default_rng(3)
    drawn = random.choice(DIFFERENCES, size=(60_000, 9))
    t = (drawn.mean(axis=1) - DIFFERENCES.mean()) / (drawn.std(axis=1, ddof=1) / 3)
    error = DIFFERENCES.std(ddof=1) / 3
    low, high = DIFFERENCES.mean() - np.quantile(t, [0.975, 0.025]) * error
    found = bootstrap_t_interval(DIFFERENCES)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)


def test_expanded_percentile_is_wider_than_percentile() -> None:
    plain, wide = percentile_interval(DIFFERENCES), expanded_percentile_interval(DIFFERENCES)
    assert plain is not None
    assert wide is not None
    assert wide.low < plain.low < plain.high < wide.high


@settings(max_examples=40)
@given(values=samples, method=st.sampled_from(sorted(INTERVALS)))
def test_intervals_follow_shift_scale_and_reflection(values: np.ndarray, method: str) -> None:
    assume(len(set(values.tolist())) > 2)
    interval = INTERVALS[method]  # type: ignore[index]
    found = interval(values, confidence=0.95, seed=0)
    assume(found is not None)
    assert found is not None
    assert found.low <= values.mean() + 1e-12
    assert found.high >= values.mean() - 1e-12
    moved = interval(3 * values + 1, confidence=0.95, seed=0)
    assert moved is not None
    assert (moved.low, moved.high) == pytest.approx((3 * found.low + 1, 3 * found.high + 1), abs=1e-6)
    if method != "bca":  # its bias correction halves ties, quantiles are one-sided
        mirrored = interval(-values, confidence=0.95, seed=0)
        assert mirrored is not None
        assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-9)


@pytest.mark.parametrize("method", sorted(INTERVALS))
@pytest.mark.parametrize("value", [0.0, 0.1, 0.8 - 0.7, -3.0])
def test_no_spread_gives_no_interval(method: str, value: float) -> None:
    assert INTERVALS[method](np.full(9, value), confidence=0.95, seed=0) is None  # type: ignore[index]


def test_differences_that_are_equal_but_for_rounding_have_no_spread() -> None:
    values = np.array([0.9 - 0.8, 0.8 - 0.7, 0.3 - 0.2, 0.5 - 0.4, 0.7 - 0.6])
    assert np.ptp(values) > 0
    assert t_interval(values) is None


def test_a_studentised_limit_that_is_infinite_is_no_interval() -> None:
    assert bootstrap_t_interval(np.array([0.0, 0, 0, 0, 1])) is None


@pytest.mark.parametrize("method", sorted(set(INTERVALS) - {"t"}))
def test_bootstrap_refuses_tiny_samples(method: str) -> None:
    with pytest.raises(Invalid, match="Got 4 subjects; a bootstrap interval needs at least 5"):
        INTERVALS[method](DIFFERENCES[:4], confidence=0.95, seed=0)  # type: ignore[index]


def test_t_refuses_one() -> None:
    with pytest.raises(Invalid, match="Got 1 subject; an interval needs at least 2"):
        t_interval(np.array([0.5]))


def test_pivots_have_no_nan_even_when_resamples_are_flat() -> None:
    pivots, weights = bootstrap_pivots(np.array([0.1, 0.1, 0.1, 0.1, 0.2]), seed=0)
    assert not np.isnan(pivots).any()
    assert weights[np.isinf(pivots)].sum() == pytest.approx((4**5 + 1) / 5**5)


@pytest.mark.parametrize(
    ("method", "target", "n", "expected"),
    [
        ("t", "difference", 9, 0.950),
        ("percentile", "difference", 9, 0.890),
        ("bca", "mean", 5, 0.827),
        ("bootstrap_t", "mean", 100, 0.951),
        ("percentile", "mean", 12, 0.896),
        ("t", "difference", 4, None),
        ("t", "difference", 101, None),
        ("expanded_percentile", "mean", 9, None),
    ],
)
def test_coverage_is_the_table_and_linear_between(method: str, target: str, n: int, expected: float | None) -> None:
    assert coverage_at_n(method, n, target=target) == expected  # type: ignore[arg-type]


def test_coverage_table_is_complete() -> None:
    assert all(len(row) == 7 and all(0.8 < v < 1 for v in row) for row in COVERAGE.values())


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=20), st.floats(0.001, 0.999))
def test_weighted_quantile_is_numpys_inverted_cdf(values: list[int], q: float) -> None:
    array = np.array(values, dtype=float)
    assume(abs(q * len(values) - round(q * len(values))) > 1e-9)
    weights = np.full(len(values), 1 / len(values))
    assert weighted_quantile(array, weights, q) == np.quantile(array, q, method="inverted_cdf")


def test_coverage_of_the_defaults_by_simulation() -> None:
    """S1 and S2 in small: t of a normal difference and bootstrap-t of a skewed mean at nine subjects."""
    random = np.random.default_rng(20250905)
    normal = random.normal(0, 0.05, size=(4000, 9))
    hits = [(i := t_interval(d)) is not None and i.low <= 0 <= i.high for d in normal]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.011)
    skewed = random.beta(16, 2.8, size=(400, 9))
    truth = 16 / 18.8
    hits = [(i := bootstrap_t_interval(d)) is not None and i.low <= truth <= i.high for d in skewed]
    assert np.mean(hits) >= 0.92
    hits = [(i := percentile_interval(d)) is not None and i.low <= truth <= i.high for d in skewed]
    assert np.mean(hits) < 0.93
