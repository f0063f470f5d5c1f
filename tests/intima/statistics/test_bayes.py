"""ROPE posteriors against baycomp's numbers, an integral by brute force, and symmetry."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intima.errors import Invalid
from intima.statistics import bayes
from intima.statistics.bayes import Posterior
from intima.statistics.equivalence import PairedT, TrainingOverlap, paired_t

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "posteriors.json").read_text(encoding="utf-8"))
CASES = [pytest.param(case, id=f"{case['name']}-{case['margin']}") for case in GOLDEN["cases"]]
vectors = st.lists(st.integers(-100, 100), min_size=1, max_size=9).map(lambda v: np.array(v) / 1000)


@pytest.mark.parametrize("case", CASES)
def test_signed_rank_is_baycomps(case: dict[str, object]) -> None:
    found = bayes.signed_rank_posterior(np.array(case["differences"]), float(case["margin"]))  # type: ignore[arg-type]
    assert [found.below, found.within, found.above] == pytest.approx(case["signed_rank"], abs=0.013)


@pytest.mark.parametrize("case", CASES)
def test_correlated_t_is_baycomps(case: dict[str, object]) -> None:
    d = np.array(case["differences"])
    test = paired_t(d, overlap=TrainingOverlap(len(d), 1 / (len(d) - 1)))
    assert test is not None
    found = bayes.correlated_t_posterior(test, float(case["margin"]))  # type: ignore[arg-type]
    assert [found.below, found.within, found.above] == pytest.approx(case["correlated_t"], abs=1e-9)


@settings(max_examples=25)
@given(d=vectors, margin=st.integers(1, 100))
def test_signed_rank_is_a_sum_over_all_pairs(d: np.ndarray, margin: int) -> None:
    """The share of won draws, by the double sum that defines it."""
    draws = 300
    found = bayes.signed_rank_posterior(d, margin / 1000, seed=4, draws=draws)
    values = np.sort(np.append(np.rint(d * 1e6).astype(int), 0))
    strength = np.ones(len(values))
    strength[np.searchsorted(values, 0)] = bayes.PRIOR_STRENGTH
    weights = np.random.default_rng(4).dirichlet(strength, size=draws)
    sums, reach = values[:, None] + values[None, :], 2000 * margin
    above = (sums > reach) + 0.5 * (sums == reach)
    below = (sums < -reach) + 0.5 * (sums == -reach)
    regions = np.array([[np.sum(np.outer(w, w) * r) for r in (below, 1 - below - above, above)] for w in weights])
    expected = np.bincount(np.argmax(np.round(regions, 9), axis=1), minlength=3) / draws
    assert [found.below, found.within, found.above] == pytest.approx(expected, abs=2 / draws)


@settings(max_examples=25)
@given(d=vectors, margin=st.integers(1, 100))
def test_swapped_sides_swap_the_regions(d: np.ndarray, margin: int) -> None:
    one = bayes.signed_rank_posterior(d, margin / 1000, draws=4_000)
    other = bayes.signed_rank_posterior(-d, margin / 1000, draws=4_000)
    assert one.below + one.within + one.above == pytest.approx(1)
    assert [one.below, one.within, one.above] == pytest.approx([other.above, other.within, other.below], abs=0.06)


def test_the_posterior_of_the_mean_is_the_interval_read_backwards() -> None:
    test = PairedT(0.01, 0.008, 8)
    low, high = test.interval(0.9).low, test.interval(0.9).high
    found = bayes.correlated_t_posterior(test, max(abs(low), abs(high)))
    assert found.above == pytest.approx(0.05)
    assert found.below < 0.05


def test_many_subjects_are_drawn_in_chunks() -> None:
    d = np.random.default_rng(0).normal(0.01, 0.05, 1_000)
    assert bayes.signed_rank_posterior(d, 0.02, draws=2_000).within > 0.99


@pytest.mark.parametrize(
    ("posterior", "higher", "verdict"),
    [
        (Posterior(0.01, 0.96, 0.03), True, "equivalent"),
        (Posterior(0.01, 0.03, 0.96), True, "better_a"),
        (Posterior(0.01, 0.03, 0.96), False, "better_b"),
        (Posterior(0.96, 0.03, 0.01), True, "better_b"),
        (Posterior(0.01, 0.49, 0.5), True, "inconclusive"),
    ],
)
def test_verdict_of_a_posterior(posterior: Posterior, higher: bool, verdict: str) -> None:
    assert bayes.decide_by_posterior(posterior, higher_is_better=higher, alpha=0.05) == verdict


def test_no_differences_are_refused() -> None:
    with pytest.raises(Invalid, match="Got 0 subjects"):
        bayes.signed_rank_posterior(np.array([]), 0.02)
