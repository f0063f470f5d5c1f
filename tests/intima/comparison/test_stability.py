"""The phase-transition study as a use case."""

import numpy as np
import pytest
from pydantic import ValidationError

from intima.comparison.stability import stream_stability, study_stability
from intima.contracts.statistics import StabilityAnswer, StabilityRequest
from intima.errors import Invalid

SPACED = [0.0, 0.02, 0.04, 0.06, 0.08, 0.10]


def study(**body: object) -> StabilityAnswer:
    return study_stability(StabilityRequest.model_validate({"data_sets": 400} | body))


def test_curves_rise_and_criteria_are_those_of_the_reference() -> None:
    """statistics.md section 6, spaced .02: P(win) .90 at 15 and .95 at 20, tau .90 at 9, b95 in 80 % at 50."""
    found = study(gaps=SPACED, sd_difference=0.0506, data_sets=2_000)
    wins = [p.best_first.value for p in found.points if p.best_first]
    assert wins == sorted(wins)
    met = {(c.figure, c.threshold): c.n for c in found.criteria}
    assert met["best_first", 0.9] in {9, 15}
    assert met["best_first", 0.95] in {15, 20}
    assert met["tau_truth", 0.9] == 9
    assert met["same_winner", 0.9] == 20
    assert met["winner_frequent", 0.8] == 50
    assert found.correlation == pytest.approx(0.8, abs=0.01)
    assert "95 % is first reached at" in found.sentence


def test_equal_models_have_no_right_winner() -> None:
    found = study(gaps=[0.0] * 4, numbers=[9, 30])
    assert all(p.best_first is None and p.tau_truth is None for p in found.points)
    assert all(c.n is None for c in found.criteria if c.figure in {"best_first", "tau_truth"})
    assert "no winner is right" in found.sentence


def test_a_pilot_gives_its_own_gaps_and_spread() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(0.8, 0.07, (9, 1)) + random.normal(0, 0.02, (9, 3)) - np.array([0.0, 0.02, 0.1])
    found = study(pilot=scores.tolist(), numbers=[9])
    means = scores.mean(axis=0)
    assert found.gaps == pytest.approx(tuple(means.max() - means))
    assert found.sd == pytest.approx(np.sqrt(scores.var(axis=0, ddof=1).mean()))
    assert "partly chance" in found.warnings[0]
    again = study(pilot=scores.tolist(), numbers=[9])
    assert again == found


def test_a_pilot_of_unrelated_models_counts_as_independent() -> None:
    pilot = [[0.8, 0.7], [0.7, 0.8], [0.9, 0.6], [0.6, 0.9]]
    found = study(pilot=pilot, numbers=[5])
    assert found.correlation == pytest.approx(0, abs=0.01)
    assert any("taken as independent" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"gaps": [0.01, 0.02]}, "/gaps"),
        ({"gaps": [0.0, 0.845]}, "/gaps/1"),
        ({"gaps": [0.0, 0.1], "sd_difference": 0.2}, "/sd_difference"),
        ({"gaps": [0.0] * 30, "numbers": [1000], "data_sets": 8000}, "/data_sets"),
        ({"gaps": [0.0] * 100, "numbers": [2], "data_sets": 8000}, "/data_sets"),
        ({"pilot": [[0.8, 0.7], [0.9, 0.8], [0.7, 0.6]]}, "/pilot"),
        ({"pilot": [[0.8, 0.7], [0.9], [0.7, 0.6]]}, "/pilot"),
    ],
)
def test_studies_that_make_no_sense_are_refused(body: dict[str, object], pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        study(**body)
    assert caught.value.pointer == pointer


@pytest.mark.parametrize(
    "body", [{}, {"gaps": [0.0]}, {"gaps": [0.0, 0.1], "pilot": [[0.5, 0.6]] * 3}, {"numbers": [1]}]
)
def test_incomplete_requests_are_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        study(**body)


def test_a_stream_may_be_long_but_no_point_of_it() -> None:
    body = {"gaps": [0.0, 0.1], "numbers": [2, 400], "data_sets": 8_000}
    points = stream_stability(StabilityRequest.model_validate(body))
    assert next(points).n == 2
    with pytest.raises(Invalid, match="simulated scores and pairs"):
        stream_stability(StabilityRequest.model_validate(body | {"gaps": [0.0] * 30}))
