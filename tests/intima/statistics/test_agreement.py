"""Agreement of rankings against scipy and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from intima.statistics.agreement import ScoreView, agreement_of_two, rank_volatility, tau_b

SUBJECTS = tuple(f"m{i}" for i in range(9))
rows = st.integers(2, 6).flatmap(lambda k: st.tuples(*(st.lists(st.integers(0, 5), min_size=k, max_size=k),) * 2))


def equal_models(seed: int, subjects: tuple[str, ...] = SUBJECTS, models: int = 6) -> ScoreView:
    return ScoreView("x", subjects, np.random.default_rng(seed).normal(0.8, 0.05, (len(subjects), models)))


@settings(max_examples=100)
@given(rows)
def test_tau_is_scipys(drawn: tuple[list[int], list[int]]) -> None:
    a, b = (np.array(v) / 10 for v in drawn)
    found = tau_b(a[None], b[None])[0]
    if len(set(drawn[0])) == 1 or len(set(drawn[1])) == 1:
        assert np.isnan(found)
        return
    assert found == pytest.approx(stats.kendalltau(a, b).statistic)


def test_the_same_scores_agree_wholly_and_so_do_they_when_shuffled() -> None:
    """One subject's scores are shuffled together wherever it appears: a copy proves nothing."""
    view = equal_models(0)
    found = agreement_of_two(view, view, draws=200)
    assert (found.tau, found.null_mean, found.null_p) == (1.0, 1.0, 1.0)


def test_other_subjects_without_a_difference_agree_by_chance() -> None:
    other = tuple(f"x{i}" for i in range(9))
    p = [agreement_of_two(equal_models(s), equal_models(s + 1000, other), draws=199).null_p for s in range(100)]
    assert np.mean(np.array(p) <= 0.05) <= 0.12
    assert agreement_of_two(equal_models(0), equal_models(1, other)).null_mean == pytest.approx(0, abs=0.05)


def test_a_true_order_is_found_again_in_other_subjects() -> None:
    gaps = np.linspace(0, 0.2, 6)
    views = [ScoreView("x", s, equal_models(i, s).scores + gaps) for i, s in enumerate((SUBJECTS, ("a", "b", "c")))]
    found = agreement_of_two(*views)
    assert found.tau is not None
    assert found.tau > 0.8
    assert found.null_p < 0.01


def test_all_ties_have_no_tau() -> None:
    flat = ScoreView("x", SUBJECTS, np.full((9, 3), 0.8))
    assert agreement_of_two(flat, equal_models(0, models=3), draws=50).tau is None


def test_ranks_of_equal_models_move_as_their_null_and_true_gaps_less() -> None:
    """statistics.md section 6: over three folds of nine, ranks of six equal models range over 2.9 places."""
    folds = [SUBJECTS[:3], SUBJECTS[3:6], SUBJECTS[6:]]
    moved = [rank_volatility([equal_models(10 * s + i, f) for i, f in enumerate(folds)], draws=20) for s in range(150)]
    assert np.mean([m.mean_range for m in moved]) == pytest.approx(2.9, abs=0.15)
    assert np.mean([m.null_mean_range for m in moved]) == pytest.approx(2.9, abs=0.15)
    gaps = np.linspace(0, 0.3, 6)
    steady = rank_volatility([ScoreView("x", f, equal_models(i, f).scores + gaps) for i, f in enumerate(folds)])
    assert steady.mean_range < 1
    assert steady.null_p < 0.01
    assert steady.ranks.shape == (3, 6)


def test_many_subjects_are_shuffled_in_chunks() -> None:
    many = tuple(f"m{i}" for i in range(900))
    found = agreement_of_two(equal_models(0, many, 30), equal_models(1, many, 30), draws=200)
    assert found.null_mean == pytest.approx(0, abs=0.1)
