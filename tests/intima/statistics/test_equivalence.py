"""Tests of difference and equivalence against scipy, statsmodels, brute force and simulation."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from intima.errors import Invalid
from intima.statistics import equivalence as eq
from intima.statistics.equivalence import TrainingOverlap

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from statsmodels.stats.weightstats import ttost_paired

A = np.array([0.874, 0.861, 0.902, 0.815, 0.883, 0.846, 0.871, 0.838, 0.895])
B = np.array([0.861, 0.872, 0.877, 0.813, 0.852, 0.854, 0.844, 0.829, 0.879])
D = A - B
MARGINS = [0.005, 0.01, 0.02, 0.05]
vectors = st.lists(st.integers(-100, 100), min_size=2, max_size=9).map(lambda v: np.array(v) / 1000)


def paired(d: np.ndarray, overlap: TrainingOverlap | None = None) -> eq.PairedT:
    found = eq.paired_t(d, overlap=overlap)
    assert found is not None
    return found


def test_p_of_difference_is_scipys() -> None:
    assert paired(D).p_difference() == pytest.approx(stats.ttest_rel(A, B).pvalue, rel=1e-12)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("shift", [-0.03, 0.0, 0.015])
def test_tost_is_statsmodels_also_off_centre(margin: float, shift: float) -> None:
    """A sister function once took the smaller of the two p; only an off-centre case shows that."""
    expected = ttost_paired(A + shift, B, -margin, margin)[0]
    assert paired(D + shift).p_equivalence(margin) == pytest.approx(expected, rel=1e-10)


@settings(max_examples=200)
@given(d=vectors, margin=st.integers(1, 100), alpha=st.sampled_from([0.01, 0.05, 0.1]))
def test_p_and_intervals_say_the_same(d: np.ndarray, margin: int, alpha: float) -> None:
    test = eq.paired_t(d)
    if test is None:
        assert len(set(np.round(d, 6))) == 1
        return
    m = margin / 1000 + 1e-7
    assert (test.p_equivalence(m) < alpha) == test.interval(1 - 2 * alpha).inside(m)
    assert (test.p_difference() < alpha) == test.interval(1 - alpha).excludes_zero()


@pytest.mark.parametrize(
    ("p_equivalence", "p_difference", "mean", "verdict"),
    [
        (0.01, 0.5, 0.001, "equivalent"),
        (0.01, 0.01, 0.001, "different_but_negligible"),
        (0.5, 0.01, 0.1, "better_a"),
        (0.5, 0.01, -0.1, "better_b"),
        (0.5, 0.5, 0.1, "inconclusive"),
        (0.05, 0.05, 0.1, "inconclusive"),
    ],
)
def test_five_verdicts(p_equivalence: float, p_difference: float, mean: float, verdict: str) -> None:
    assert eq.decide(p_equivalence, p_difference, mean, alpha=0.05) == verdict


@pytest.mark.parametrize(
    ("overlap", "factor", "degrees"),
    [
        (TrainingOverlap(9, 1 / 8), 1.46, 8),
        (TrainingOverlap(3, 3 / 6), 1.58, 2),
        (TrainingOverlap(100, 1 / 9), 3.48, 8),
    ],
)
def test_correction_for_overlapping_training_sets(overlap: TrainingOverlap, factor: float, degrees: int) -> None:
    naive, corrected = paired(D), paired(D, overlap)
    assert corrected.standard_error / naive.standard_error == pytest.approx(factor, abs=0.005)
    assert corrected.degrees == degrees
    assert corrected.mean == naive.mean
    j = overlap.splits
    assert (corrected.standard_error / naive.standard_error) ** 2 == pytest.approx((1 / j + overlap.test_to_train) * j)


@settings(max_examples=60)
@given(d=vectors)
@example(d=np.array([0, 0, 0, 0, 0, 18, 41, -59]) / 1000)
def test_exact_sign_flip_is_scipys(d: np.ndarray) -> None:
    """Scipy is given whole thousandths: it takes 0.018 + 0.041 - 0.059 for something else than zero."""
    thousandths = np.rint(d * 1000)
    expected = stats.permutation_test((thousandths,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert eq.sign_flip_difference(d) == pytest.approx(min(1.0, expected), abs=1e-12)


@settings(max_examples=60)
@given(d=vectors, margin=st.integers(1, 60))
def test_sign_flip_tost_is_brute_force(d: np.ndarray, margin: int) -> None:
    units = np.rint(d * 1000).astype(int)

    def greater(x: np.ndarray) -> float:
        sums = [int(np.dot(signs, x)) for signs in itertools.product((1, -1), repeat=len(x))]
        return float(np.mean([s >= x.sum() for s in sums]))

    assert eq.sign_flip_equivalence(d, margin / 1000) == max(greater(units + margin), greater(margin - units))


@pytest.mark.parametrize(("n", "least"), [(5, 0.0625), (6, 0.03125), (9, 0.00390625)])
def test_smallest_exact_p(n: int, least: float) -> None:
    assert eq.sign_flip_difference(np.linspace(0.01, 0.02, n)) == least
    assert eq.wilcoxon_difference(np.linspace(0.01, 0.02, n)) == least


def test_monte_carlo_sign_flip_is_near_the_exact_one_and_never_zero() -> None:
    d = np.random.default_rng(5).normal(0.02, 0.05, 16)
    exact = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert eq.sign_flip_difference(d, seed=1) == pytest.approx(exact, abs=0.012)
    assert eq.sign_flip_difference(d, seed=1) == eq.sign_flip_difference(d, seed=1)
    assert eq.sign_flip_difference(np.full(200, 0.3)) == 1 / 10_000


def test_monte_carlo_counts_ties_with_what_was_seen() -> None:
    d = np.concatenate([np.full(15, 0.1), np.zeros(5)])
    assert eq.sign_flip_difference(d) < 0.002
    assert eq.sign_flip_difference(np.zeros(40)) == 1.0


@settings(max_examples=60)
@given(d=vectors)
def test_wilcoxon_is_scipys_automatic_one(d: np.ndarray) -> None:
    rounded = np.round(d, 6)
    expected = stats.wilcoxon(rounded, method="auto").pvalue if np.any(rounded) else 1.0
    assert eq.wilcoxon_difference(d) == pytest.approx(expected, abs=1e-9)


def test_wilcoxon_stays_exact_with_ties_and_a_zero() -> None:
    d = np.array([0.01, 0.01, 0.02, 0.02, 0.03, 0.03, 0.0, -0.01, 0.05])
    ranks = stats.rankdata(np.abs(d[d != 0])) * np.sign(d[d != 0])
    sums = [abs(np.dot(s, np.abs(ranks))) for s in itertools.product((1, -1), repeat=8)]
    assert eq.wilcoxon_difference(d) == np.mean([s >= abs(ranks.sum()) - 1e-9 for s in sums])


def test_rounding_makes_binary_noise_a_tie() -> None:
    d = np.array([0.9 - 0.8, 0.8 - 0.7, 0.7 - 0.6, 0.6 - 0.5, 0.3 - 0.4, 0.2 - 0.3, 0.4 - 0.3, 0.1 - 0.2, 1.0 - 0.9])
    assert eq.wilcoxon_difference(d) == eq.wilcoxon_difference(np.round(d, 3))


def test_large_samples_use_scipy() -> None:
    d = np.random.default_rng(2).normal(0.01, 0.05, 40)
    assert eq.wilcoxon_difference(d) == pytest.approx(stats.wilcoxon(np.round(d, 6)).pvalue)
    high = stats.wilcoxon(np.round(d + 0.02, 6), alternative="greater").pvalue
    low = stats.wilcoxon(np.round(d - 0.02, 6), alternative="less").pvalue
    assert eq.wilcoxon_equivalence(d, 0.02) == pytest.approx(max(high, low))


def test_bootstrap_t_p_agrees_with_its_interval() -> None:
    from intima.statistics.intervals import bootstrap_t_interval

    interval = bootstrap_t_interval(D, confidence=0.9)
    assert interval is not None
    edge = max(abs(interval.low), abs(interval.high))
    assert eq.bootstrap_t_equivalence(D, edge * 1.02) < 0.05 < eq.bootstrap_t_equivalence(D, edge * 0.98)
    assert eq.bootstrap_t_difference(D - interval.low * 1.02) > 0


@pytest.mark.parametrize("value", [0.0, 0.01, -0.3])
def test_without_spread_there_is_no_t(value: float) -> None:
    """statsmodels says p = 0 here, and t = 8e14 for a constant difference of 0.01."""
    assert eq.paired_t(np.full(9, 0.8 + value) - 0.8) is None


def test_one_subject_is_refused() -> None:
    with pytest.raises(Invalid, match="needs at least 2"):
        eq.paired_t(np.array([0.1]))


@settings(max_examples=100)
@given(d=st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=20).map(np.array), margin=st.floats(1e-6, 1e9))
def test_every_p_is_a_probability_above_zero(d: np.ndarray, margin: float) -> None:
    found = [eq.sign_flip_difference(d), eq.sign_flip_equivalence(d, margin), eq.wilcoxon_difference(d)]
    found.append(eq.wilcoxon_equivalence(d, margin))
    if (test := eq.paired_t(d)) is not None:
        found += [test.p_difference(), test.p_equivalence(margin)]
        if len(d) >= 5:
            found += [eq.bootstrap_t_difference(d), eq.bootstrap_t_equivalence(d, margin)]
    assert all(0 < p <= 1 for p in found)


def test_size_and_power_by_simulation() -> None:
    """Section 6 in small: differences of SD 0.0507 at nine subjects."""
    random = np.random.default_rng(20250905)
    tests = [paired(d) for d in random.normal(0, 0.0507, size=(4000, 9))]
    assert np.mean([t.p_difference() < 0.05 for t in tests]) == pytest.approx(0.05, abs=0.011)
    assert np.mean([t.p_equivalence(0.05) < 0.05 for t in tests]) == pytest.approx(0.708, abs=0.022)
    shifted = [paired(d + 0.05) for d in random.normal(0, 0.0507, size=(4000, 9))]
    assert np.mean([t.p_equivalence(0.05) < 0.05 for t in shifted]) <= 0.06
    assert np.mean([t.p_difference() < 0.05 for t in shifted]) == pytest.approx(0.74, abs=0.025)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("shift", [-0.03, 0.0, 0.015])
def test_non_inferiority_is_one_side_of_tost(margin: float, shift: float) -> None:
    test = paired(D + shift)
    expected = stats.ttest_1samp(D + shift, -margin, alternative="greater").pvalue
    assert test.p_not_below(margin) == pytest.approx(expected, rel=1e-10)
    both = max(test.p_not_below(margin), test.mirrored().p_not_below(margin))
    assert both == pytest.approx(test.p_equivalence(margin))


@pytest.mark.parametrize("n", [3, 15, 16, 900])
def test_many_sign_flips_at_once_are_those_of_each(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.004, 0.05, (n, 5))
    expected = [eq.sign_flip_difference(d, seed=3) for d in differences.T]
    assert eq.sign_flip_differences(differences, seed=3) == pytest.approx(expected, abs=1e-12)


def test_huge_scores_of_many_subjects_do_not_overflow() -> None:
    d = 2e9 + np.random.default_rng(0).normal(0, 1, 9_223)
    assert eq.sign_flip_difference(d) == pytest.approx(1e-4)
    assert eq.sign_flip_equivalence(d, 1e9) == 1.0
