"""Simulated scores and the phase-transition study against the reference of statistics.md section 6."""

import numpy as np
import pytest

from intima.contracts.statistics import SimulatedFigure, StabilityPoint
from intima.errors import Invalid
from intima.statistics.simulation import ScoreModel, draw_scores, score_model
from intima.statistics.stability import stability_at

SD_DIFFERENCE = 0.08 * np.sqrt(2 * (1 - 0.80))
LAYOUTS = {
    "equal": (0.0,) * 6,
    "spaced 0.01": tuple(0.01 * i for i in range(6)),
    "spaced 0.02": tuple(0.02 * i for i in range(6)),
    "one best 0.02": (0.0, *(0.02,) * 5),
}


def layout(name: str, *, failures: float = 0.0) -> ScoreModel:
    means = tuple(0.85 - gap for gap in LAYOUTS[name])
    return score_model(means, sd=0.08, sd_difference=SD_DIFFERENCE, failure_rates=(failures,) * 6)


def at(name: str, subjects: int, *, failures: float = 0.0, data_sets: int = 2_000) -> StabilityPoint:
    return stability_at(layout(name, failures=failures), subjects, data_sets=data_sets, seed=20250905)


def near(found: SimulatedFigure | None, expected: float, *, points: float = 0.03) -> bool:
    assert found is not None
    assert found.low <= found.value <= found.high
    return bool(abs(found.value - expected) <= points + (found.high - found.low) / 2)


def test_scores_have_the_moments_asked_for() -> None:
    drawn = draw_scores(layout("equal"), data_sets=1, subjects=200_000, random=np.random.default_rng(0))[0]
    assert drawn.mean(axis=0) == pytest.approx([0.85] * 6, abs=0.001)
    assert drawn.std(axis=0) == pytest.approx([0.08] * 6, abs=0.001)
    assert np.corrcoef(drawn[:, :2].T)[0, 1] == pytest.approx(0.80, abs=0.005)
    difference = drawn[:, 0] - drawn[:, 1]
    assert difference.std() == pytest.approx(0.0507, abs=0.0007)
    skewness = np.mean((drawn[:, 0] - 0.85) ** 3) / 0.08**3
    assert skewness == pytest.approx(-0.85, abs=0.1)
    assert np.all((drawn >= 0) & (drawn <= 1))


def test_failures_are_those_of_the_reference() -> None:
    model = layout("equal", failures=0.05)
    drawn = draw_scores(model, data_sets=1, subjects=200_000, random=np.random.default_rng(0))[0]
    assert drawn.mean(axis=0) == pytest.approx(model.expected, abs=0.002)
    assert (drawn[:, 0] - drawn[:, 1]).std() == pytest.approx(0.169, abs=0.005)


@pytest.mark.parametrize(
    ("name", "subjects", "best", "same", "truth", "between", "order", "unchanged", "frequent"),
    [
        ("spaced 0.01", 9, 0.66, 0.51, 0.73, 0.58, 0.11, 0.54, 0.13),
        ("spaced 0.01", 50, 0.91, 0.84, 0.94, 0.89, 0.62, 0.88, 0.38),
        ("spaced 0.02", 9, 0.88, 0.78, 0.92, 0.85, 0.51, 0.77, 0.39),
        ("spaced 0.02", 20, 0.96, 0.92, 0.97, 0.95, 0.81, 0.91, 0.56),
    ],
)
def test_spaced_models_settle_as_in_the_reference(
    name: str,
    subjects: int,
    best: float,
    same: float,
    truth: float,
    between: float,
    order: float,
    unchanged: float,
    frequent: float,
) -> None:
    found = at(name, subjects)
    assert near(found.best_first, best)
    assert near(found.same_winner, same)
    assert near(found.tau_truth, truth)
    assert near(found.tau_between, between)
    assert near(found.whole_order, order)
    assert near(found.winner_never_changes, unchanged)
    assert near(found.winner_frequent, frequent)


def test_one_best_and_failures_and_nothing_at_all() -> None:
    one = at("one best 0.02", 20)
    assert near(one.best_first, 0.87)
    assert near(one.winner_never_changes, 0.76)
    assert near(one.winner_separated, 0.01)
    assert one.whole_order is None
    failing = at("spaced 0.02", 20, failures=0.05)
    assert near(failing.best_first, 0.67)
    assert near(failing.tau_truth, 0.71)
    equal = at("equal", 9)
    assert equal.best_first is None
    assert equal.tau_truth is None
    assert near(equal.same_winner, 0.17)
    assert near(equal.winner_frequent, 0.014, points=0.01)
    assert near(equal.winner_never_changes, 0.27)


def test_the_same_seed_gives_the_same_study() -> None:
    assert at("spaced 0.01", 5, data_sets=50) == at("spaced 0.01", 5, data_sets=50)


def test_impossible_scores_are_refused() -> None:
    with pytest.raises(Invalid, match="scores lie between 0 and 1"):
        score_model((0.9, 1.1), sd=0.08, sd_difference=0.05, failure_rates=(0.0, 0.0))
    with pytest.raises(Invalid, match="vary by less than"):
        score_model((0.9, 0.8), sd=0.05, sd_difference=0.1, failure_rates=(0.0, 0.0))
