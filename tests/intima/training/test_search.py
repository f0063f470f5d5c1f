"""A trial is a pure function of the trials it sees, and the search beats chance."""

import math

import numpy as np
import optuna
import pytest
from optuna.samplers._gp import sampler as gp_module

from intima.architectures import complete_architecture
from intima.contracts.benchmark import ArchitectureWish, TrialResult
from intima.contracts.search import Choices, CurvePoint, Range
from intima.spaces import complete_space, default_space, defaults_of
from intima.studies import best_trial
from intima.training import search
from intima.training.importance import ENOUGH_TRIALS, summarise_study
from intima.training.pruning import FINISHED_FIRST, is_hopeless, rung_steps
from intima.training.search import best_parameters, expected_final, propose_parameters, suggest_parameters

SAMPLERS = ["gp", "tpe", "random"]
SPACE = default_space("unet")
SMALL = {"dropout": SPACE["dropout"], "learning_rate": SPACE["learning_rate"]}


def result(parameters, value, **more):
    return TrialResult(parameters=parameters, value=value, seconds=1.0, **more)


def pruned(parameters, value):
    return result(parameters, None, pruned=True, curve=(CurvePoint(step=10, value=value),))


def bowl(parameters) -> float:
    return -((parameters["dropout"] - 0.35) ** 2) - (math.log10(parameters["learning_rate"]) + 2.5) ** 2


def run_search(sampler: str, trials: int, *, seed: int = 0, parallel: int = 1, space=SPACE) -> list[TrialResult]:
    results: list[TrialResult] = []
    for number in range(trials):
        chosen = propose(results, number, sampler=sampler, seed=seed, parallel=parallel, space=space)
        results.append(result(chosen, bowl(chosen)))
    return results


def propose(results, number, *, sampler, seed=0, parallel=1, space=SPACE):
    """Propose a trial from a ledger that may hold more results than the trial may see."""
    return propose_parameters(
        space,
        number=number,
        parallel=parallel,
        earlier=results[: max(0, number - parallel + 1)],
        sampler=sampler,
        seed_of=lambda n: 1000 * seed + n,
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_first_trial_is_the_default(sampler):
    assert suggest_parameters(SPACE, earlier=[], sampler=sampler, seed=3) == defaults_of(SPACE)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_history_gives_the_same_trial_in_range(sampler):
    history = run_search(sampler, 9)
    one, two = (suggest_parameters(SPACE, earlier=history, sampler=sampler, seed=77) for _ in range(2))
    assert one == two
    assert all(d.low <= one[name] <= d.high for name, d in SPACE.items())
    assert one not in [t.parameters for t in history]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_parallel_trials_differ_and_do_not_depend_on_how_far_the_others_are(sampler):
    """Trial k sees 0..k - 3 only, so a worker that comes late proposes what an early one does."""
    done = run_search(sampler, 10, parallel=3, space=SMALL)
    assert len({tuple(t.parameters.values()) for t in done}) == 10
    for number in (1, 4, 9):
        early = done[: max(0, number - 2)]
        assert propose(early, number, sampler=sampler, parallel=3, space=SMALL) == done[number].parameters


@pytest.mark.parametrize("killed_after", [1, 4, 8])
def test_a_search_that_is_killed_between_trials_goes_on_as_if_nothing_had_been(killed_after):
    """Everything a trial knows is in the results before it: they travel as JSON through the ledger."""
    undisturbed = run_search("gp", 9, space=SMALL)
    results = [TrialResult.model_validate_json(t.model_dump_json()) for t in undisturbed[:killed_after]]
    for number in range(killed_after, 9):
        chosen = propose(results, number, sampler="gp", space=SMALL)
        results.append(result(chosen, bowl(chosen)))
    assert results == undisturbed


def test_another_seed_gives_another_trial():
    history = run_search("random", 2)
    drawn = [suggest_parameters(SPACE, earlier=history, sampler="random", seed=s) for s in (1, 2)]
    assert drawn[0] != drawn[1]


def test_the_gaussian_process_learns():
    best = max(bowl(t.parameters) for t in run_search("gp", 16))
    assert best > -0.04
    assert best > bowl(defaults_of(SPACE))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_names_and_counts_are_searched_beside_numbers(sampler):
    unet = complete_architecture(ArchitectureWish(name="unet"))
    wanted = {"optimiser": Choices(choices=("sgd", "adamw")), "batch": Range(low=2, high=8, log=True)}
    space = {n: d for n, d in complete_space(unet, wanted).items() if n in {"dropout", "optimiser", "batch"}}
    assert defaults_of(space) == {"dropout": 0.1, "optimiser": "adamw", "batch": 4}
    history = []
    for number in range(10):
        chosen = suggest_parameters(space, earlier=history, sampler=sampler, seed=number)
        history.append(result(chosen, chosen["batch"] + (chosen["optimiser"] == "sgd")))
    assert {t.parameters["optimiser"] for t in history} == {"sgd", "adamw"}
    assert all(type(t.parameters["batch"]) is int and 2 <= t.parameters["batch"] <= 8 for t in history)


def test_the_acquisition_of_optuna_is_the_expected_improvement(monkeypatch):
    """The documents say so: LogEI alone, qLogEI beside running trials."""
    used = []
    for name in ("LogEI", "qLogEI"):
        made = getattr(gp_module.acqf_module, name)

        def spy(*args, _name=name, _made=made, **kwargs):
            used.append(_name)
            return _made(*args, **kwargs)

        monkeypatch.setattr(gp_module.acqf_module, name, spy)
    history = run_search("random", 8, space=SMALL)
    suggest_parameters(SMALL, earlier=history, sampler="gp", seed=0)
    suggest_parameters(SMALL, earlier=history, pending=[{"dropout": 0.2, "learning_rate": 1e-3}], sampler="gp", seed=0)
    assert used == ["LogEI", "qLogEI"]
    assert optuna.__version__.startswith("5.")


def test_skipped_and_pruned_trials_win_nothing():
    skipped = result({}, None)
    assert suggest_parameters(SPACE, earlier=[skipped], sampler="gp", seed=0) == defaults_of(SPACE)
    assert best_parameters(SPACE, [skipped]) == defaults_of(SPACE)
    good, better, lured = result({"dropout": 0.1}, 0.5), result({"dropout": 0.2}, 0.7), pruned({"dropout": 0.3}, 0.9)
    assert best_parameters(SPACE, [good, skipped, better, lured]) == {"dropout": 0.2}
    assert best_trial([good, skipped, better, lured]) == 2
    assert best_trial([skipped, lured]) is None


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_pruned_trial_teaches_the_sampler(sampler):
    history = run_search("random", 8, space=SMALL)
    low = pruned({"dropout": 0.3, "learning_rate": 2e-3}, -9.0)
    with_it = suggest_parameters(SMALL, earlier=[*history, low], sampler=sampler, seed=5)
    assert with_it != suggest_parameters(SMALL, earlier=history, sampler=sampler, seed=5)


def grown(parameters):
    """Scores that treble between the rung and the end, as those of a net that has hardly begun."""
    value = bowl(parameters) + 9
    return result(parameters, value, curve=(CurvePoint(step=10, value=value / 3), CurvePoint(step=30, value=value)))


def test_the_gaussian_process_is_told_finals_only(monkeypatch):
    """A pruned trial stands where finished ones of its rank at the rung ended, not at its score on the way."""
    told = []
    made = search.rebuild_study
    monkeypatch.setattr(search, "rebuild_study", lambda trials, **more: told.append(trials) or made(trials, **more))
    history = [grown(t.parameters) for t in run_search("random", 8, space=SMALL)]
    stopped = [grown(t.parameters) for t in run_search("random", 12, space=SMALL, seed=3)[8:]]
    low = [t.model_copy(update={"value": None, "pruned": True, "curve": t.curve[:1]}) for t in stopped]
    suggest_parameters(SMALL, earlier=[*low[:2], *history, *low[2:]], sampler="gp", seed=5)
    finals = [t.value for t in history]
    seen = [told[-1][place].value for place in (0, 1, 10, 11)]
    assert seen == [pytest.approx(np.clip(t.value, min(finals), max(finals))) for t in stopped]
    assert [t.value for t in told[-1][2:10]] == finals


def test_an_expected_final_is_of_the_same_rank():
    finished = [
        result({}, final, curve=(CurvePoint(step=10, value=rung), CurvePoint(step=30, value=final)))
        for rung, final in ((0.1, 0.5), (0.2, 0.9), (0.3, 0.7))
    ]
    at = lambda value: expected_final(CurvePoint(step=10, value=value), finished)  # noqa: E731
    assert [at(v) for v in (0.0, 0.1, 0.15, 0.2, 0.3, 0.4)] == pytest.approx([0.5, 0.5, 0.6, 0.7, 0.9, 0.9])
    assert expected_final(CurvePoint(step=20, value=0.4), finished) == 0.4


def test_of_equals_the_first_wins_and_without_trials_the_default():
    first, second = result({"dropout": 0.1}, 0.5), result({"dropout": 0.2}, 0.5)
    assert best_parameters(SPACE, [first, second]) == {"dropout": 0.1}
    assert best_parameters(SPACE, []) == defaults_of(SPACE)


def curves(*values):
    return [result({}, v, curve=(CurvePoint(step=10, value=v), CurvePoint(step=30, value=v))) for v in values]


def test_a_trial_below_the_median_at_its_rung_is_hopeless():
    earlier = [*curves(0.1, 0.2, 0.3, 0.4, 0.5), pruned({}, 0.0), result({}, None)]
    at = lambda value, step=10: [CurvePoint(step=step, value=value)]  # noqa: E731
    assert is_hopeless(at(0.29), earlier=earlier)
    assert not is_hopeless(at(0.3), earlier=earlier)
    assert not is_hopeless(at(0.0, step=20), earlier=earlier)
    assert not is_hopeless(at(0.0), earlier=earlier[1:])
    assert not is_hopeless([*at(0.6), *at(0.0, step=30)], earlier=earlier)


def test_rungs_lie_inside_a_trial():
    assert rung_steps(30) == {10, 20}
    assert rung_steps(1) == frozenset()
    assert all(0 < s < n for n in range(1, 40) for s in rung_steps(n))
    assert FINISHED_FIRST == 5


def test_importances_name_the_parameter_that_mattered():
    results = [result(r.parameters, -abs(r.parameters["dropout"] - 0.3)) for r in run_search("random", 80, space=SMALL)]
    summary = summarise_study(SMALL, [*results, pruned(results[0].parameters, 1.0)])
    assert summary.trials == 81
    assert summary.value == max(r.value for r in results)
    assert sum(summary.importances.values()) == pytest.approx(1.0)
    assert summary.importances["dropout"] > 0.8


def test_where_importances_are_not_defined_the_reason_is_given():
    few = run_search("random", ENOUGH_TRIALS - 1, space=SMALL)
    assert "need 20" in summarise_study(SMALL, few).reason
    flat = [result(t.parameters, 0.5) for t in run_search("random", ENOUGH_TRIALS, space=SMALL)]
    assert summarise_study(SMALL, flat).importances is None
    assert "same score" in summarise_study(SMALL, flat).reason
    assert summarise_study(SMALL, []) is None
