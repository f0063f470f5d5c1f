"""Effect sizes against algebra, brute force and published values."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from intima.statistics import effects
from intima.statistics.quadrature import noncentral_t_cdf

A = np.array([0.9, 0.8, 0.85, 0.7, 0.95])
B = np.array([0.85, 0.82, 0.8, 0.65, 0.9])
pairs = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 20), min_size=n, max_size=n).map(lambda v: np.array(v) / 20),) * 2)
)


def test_d_z_and_d_av() -> None:
    d = A - B
    assert effects.d_z(A, B) == pytest.approx(d.mean() / d.std(ddof=1))
    assert effects.d_av(A, B) == pytest.approx(d.mean() / np.sqrt((A.var(ddof=1) + B.var(ddof=1)) / 2))


@pytest.mark.parametrize(("degrees", "expected"), [(8, 0.9027), (2, 0.5642), (100, 0.99248)])
def test_hedges_correction(degrees: int, expected: float) -> None:
    assert effects.hedges_correction(degrees) == pytest.approx(expected, abs=5e-5)


def test_interval_of_d_z_is_the_published_one_and_inverts_scipy() -> None:
    found = effects.d_z_interval(0.5, 9)
    assert (round(found.low, 2), round(found.high, 2)) == (-0.21, 1.18)
    assert stats.nct.cdf(1.5, 8, 3 * found.low) == pytest.approx(0.975, abs=1e-8)
    assert stats.nct.cdf(1.5, 8, 3 * found.high) == pytest.approx(0.025, abs=1e-8)


@settings(max_examples=60)
@given(st.floats(-1e9, 1e9), st.integers(2, 2000))
def test_interval_of_d_z_holds_the_median_unbiased_effect(effect: float, n: int) -> None:
    found, mirrored = effects.d_z_interval(effect, n), effects.d_z_interval(-effect, n)
    narrow = effects.d_z_interval(effect, n, confidence=0.5)
    assert np.isfinite([found.low, found.high]).all()
    assert found.low < narrow.low < narrow.high < found.high
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


@settings(max_examples=100)
@given(st.floats(0, 30), st.integers(1, 200), st.floats(-5, 35))
def test_noncentral_t_is_scipys_where_that_has_a_value(t: float, degrees: int, noncentrality: float) -> None:
    expected = stats.nct.cdf(t, degrees, noncentrality)
    assume(np.isfinite(expected))
    assert noncentral_t_cdf(t, degrees, noncentrality) == pytest.approx(expected, abs=2e-7)


def test_a_huge_effect_leaves_the_spread_of_sd_only() -> None:
    found = effects.d_z_interval(1e6, 9)
    low, high = np.sqrt(stats.chi2.ppf([0.025, 0.975], 8) / 8)
    assert (found.low, found.high) == pytest.approx((1e6 * low, 1e6 * high), rel=1e-6)


@given(pairs)
def test_cliffs_delta_is_brute_force(sides: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = sides
    expected = np.mean([np.sign(x - y) for x, y in itertools.product(a, b)])
    assert effects.cliffs_delta(a, b) == pytest.approx(expected)
    assert effects.cliffs_delta(a, b) == -effects.cliffs_delta(b, a)


@given(pairs)
def test_superiority_of_the_two_sides_adds_to_one(sides: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = sides
    assert effects.probability_of_superiority(a, b) + effects.probability_of_superiority(b, a) == pytest.approx(1)


def test_nothing_is_divided_by_no_spread() -> None:
    same = np.full(9, 0.8)
    assert effects.d_z(same, same) is None
    assert effects.hedges_g_z(same, same) is None
    assert effects.d_av(same, same) is None
    assert effects.cliffs_delta(same, same) == 0
    assert effects.probability_of_superiority(same, same) == 0.5
    assert effects.hedges_g_z(A[:2], B[:2]) is None


@given(pairs)
def test_matched_rank_biserial_is_a_share_of_signed_ranks(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = drawn
    found, d = effects.matched_rank_biserial(a, b), np.round(a - b, 6)
    if not np.any(d):
        assert found is None
        return
    least = stats.wilcoxon(d[d != 0], method="approx").statistic
    n = int(np.sum(d != 0))
    assert abs(found) == pytest.approx(1 - 4 * least / (n * (n + 1)))  # type: ignore[arg-type]
    assert found == pytest.approx(-effects.matched_rank_biserial(b, a))  # type: ignore[operator]


def test_no_interval_stands_beside_an_effect_that_is_none() -> None:
    a = 0.8 + np.array([4e-7, -4e-7, 4e-7])
    b = 1.6 - a
    assert effects.d_z(a, b) is not None
    assert (effects.d_av(a, b), effects.d_av_interval(a, b)) == (None, None)


BOUNDED = {
    "cliffs_delta": (-1, 1),
    "matched_rank_biserial": (-1, 1),
    "probability_of_superiority": (0, 1),
}


@pytest.mark.parametrize("name", BOUNDED)
@given(pairs)
def test_a_bounded_effect_lies_in_its_interval_and_turns_with_the_sides(
    name: str, drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    a, b = drawn
    interval_of = getattr(effects, f"{name}_interval")
    found, turned, half = interval_of(a, b), interval_of(b, a), interval_of(a, b, confidence=0.5)
    assume(found is not None)
    low, high = BOUNDED[name]
    assert low <= found.low <= half.low <= half.high <= found.high <= high
    assert found.low - 1e-12 <= getattr(effects, name)(a, b) <= found.high + 1e-12
    assert (turned.low, turned.high) == pytest.approx((low + high - found.high, low + high - found.low))


@pytest.mark.parametrize("wins", range(10))
def test_interval_of_superiority_is_scipys_exact_one(wins: int) -> None:
    a, b = np.where(np.arange(9) < wins, 0.9, 0.7), np.full(9, 0.8)
    found, expected = effects.probability_of_superiority_interval(a, b), stats.binomtest(wins, 9).proportion_ci()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def korn_graubard(effect: float, per_subject: list[float], pairs_of: int) -> tuple[float, float]:
    """The interval by statsmodels, from the share's linearised variance."""
    n, share = len(per_subject), (1 + effect) / 2
    variance = sum((h - effect) ** 2 for h in per_subject) / (n - 1) / n / 4 * pairs_of**2
    effective = share * (1 - share) / variance * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, n - 1)) ** 2
    low, high = proportion_confint(share * effective, effective, method="beta")
    return 2 * low - 1, 2 * high - 1


def test_interval_of_cliffs_delta_is_korn_and_graubards() -> None:
    n, delta = len(A), effects.cliffs_delta(A, B)
    of_a = [np.mean([np.sign(x - y) for y in B]) for x in A]
    of_b = [np.mean([np.sign(x - y) for x in A]) for y in B]
    found = effects.cliffs_delta_interval(A, B)
    expected = korn_graubard(delta, [(of_a[i] + of_b[i]) / 2 for i in range(n)], 2)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


def test_interval_of_rank_biserial_is_that_of_pairs_of_subjects() -> None:
    b = B + np.array([0, 0, 0.09, 0.04, 0])
    d, n = np.round(A - b, 6), len(A)
    signs = [np.mean([np.sign(d[i] + d[j]) for j in range(n) if j != i]) for i in range(n)]
    found = effects.matched_rank_biserial_interval(A, b)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(korn_graubard(float(np.mean(signs)), signs, 2), abs=1e-9)


def test_a_side_that_always_wins_leaves_doubt_after_nine_subjects() -> None:
    a, b = np.linspace(0.90, 0.95, 9), np.linspace(0.80, 0.85, 9)
    lowest = 2 * 0.025 ** (1 / 9) - 1
    for found in (effects.cliffs_delta_interval(a, b), effects.matched_rank_biserial_interval(a, b)):
        assert found is not None
        assert (found.low, found.high) == pytest.approx((lowest, 1))
    assert effects.matched_rank_biserial_interval(b, b) is None
    assert effects.matched_rank_biserial_interval(A[:2], np.array([A[0], 0.1])) is None


@settings(max_examples=30)
@given(pairs)
def test_interval_of_d_av_is_that_of_d_z_in_other_units(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = drawn
    found, d_z = effects.d_av_interval(a, b), effects.d_z(a, b)
    assert (found is None) == (d_z is None or effects.d_av(a, b) is None)
    assume(found is not None and d_z is not None and abs(d_z) > 1e-6)
    same_units = effects.d_z_interval(d_z, len(a))  # type: ignore[arg-type]
    assert found.low / effects.d_av(a, b) == pytest.approx(same_units.low / d_z)  # type: ignore[union-attr,operator]
    assert found.high / effects.d_av(a, b) == pytest.approx(same_units.high / d_z)  # type: ignore[union-attr,operator]
