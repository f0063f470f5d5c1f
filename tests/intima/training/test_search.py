"""A trial is a pure function of the trials before it, and the search beats chance."""

import math

import pytest

from intima.architectures import ARCHITECTURES
from intima.contracts.benchmark import TrialResult
from intima.training.search import best_parameters, default_parameters, space_of, suggest_parameters

SAMPLERS = ["gp", "tpe", "random"]


def result(parameters, value):
    return TrialResult(parameters=parameters, value=value, seconds=1.0)


def bowl(parameters) -> float:
    return -((parameters["dropout"] - 0.35) ** 2) - (math.log10(parameters["learning_rate"]) + 2.5) ** 2


def run_search(sampler: str, trials: int, *, seed: int = 0) -> list[TrialResult]:
    results: list[TrialResult] = []
    for number in range(trials):
        chosen = suggest_parameters("unet", earlier=results, sampler=sampler, seed=1000 * seed + number)
        results.append(result(chosen, bowl(chosen)))
    return results


def test_every_architecture_has_a_space_with_its_default_inside():
    for name in ARCHITECTURES:
        assert all(p.low <= p.default <= p.high for p in space_of(name))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_first_trial_is_the_default(sampler):
    assert suggest_parameters("unet", earlier=[], sampler=sampler, seed=3) == default_parameters("unet")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_history_gives_the_same_trial_in_range(sampler):
    history = run_search(sampler, 9)
    one, two = (suggest_parameters("unet", earlier=history, sampler=sampler, seed=77) for _ in range(2))
    assert one == two
    assert all(p.low <= one[p.name] <= p.high for p in space_of("unet"))
    assert one not in [t.parameters for t in history]


def test_another_seed_gives_another_trial():
    history = run_search("random", 2)
    drawn = [suggest_parameters("unet", earlier=history, sampler="random", seed=s) for s in (1, 2)]
    assert drawn[0] != drawn[1]


def test_the_gaussian_process_learns():
    best = max(bowl(t.parameters) for t in run_search("gp", 16))
    assert best > -0.04
    assert best > bowl(default_parameters("unet"))


def test_skipped_trials_teach_nothing_and_win_nothing():
    skipped = result({}, None)
    assert suggest_parameters("unet", earlier=[skipped], sampler="gp", seed=0) == default_parameters("unet")
    assert best_parameters("unet", [skipped]) == default_parameters("unet")
    good, better = result({"dropout": 0.1}, 0.5), result({"dropout": 0.2}, 0.7)
    assert best_parameters("unet", [good, skipped, better]) == {"dropout": 0.2}


def test_of_equals_the_first_wins_and_without_trials_the_default():
    first, second = result({"dropout": 0.1}, 0.5), result({"dropout": 0.2}, 0.5)
    assert best_parameters("unet", [first, second]) == {"dropout": 0.1}
    assert best_parameters("unet", []) == default_parameters("unet")
