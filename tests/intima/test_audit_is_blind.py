"""The outer scores of trials are for the audit alone: a search is the same with them, without them, and with lies."""

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from intima.arrays import Json
from intima.benchmark import folds, run_fold, run_trial, trials
from intima.contracts.benchmark import BenchmarkSpec, TrialResult, UnitPlan, keys_read
from intima.contracts.dataset import ClassSpec, Dataset
from intima.metrics import METRICS
from intima.schedule import plan_benchmark
from intima.store import catalog
from intima.store.storage import Storage, open_storage
from intima.store.work import UnitInput
from intima.training import pruning, search
from tests.builders import COMPARED, stored_case

Outside = Callable[[int], float | None]

TRIALS = 8
SECTIONS = {"a": 2, "b": 1, "c": 1, "d": 1, "e": 1}
CLASSES = (ClassSpec(index=0, name="out", color="#000000"), ClassSpec(index=1, name="in", color="#ff0000"))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    cases = tuple(
        stored_case(f"{subject}{section}.png", subject)
        for subject, sections in SECTIONS.items()
        for section in range(sections)
    )
    return Dataset(
        id="ds", version="2" * 64, name="d", licence="none", classes=CLASSES, cases=cases, similarity=COMPARED
    )


@pytest.fixture
def storage(tmp_path: Path, dataset: Dataset) -> Iterator[Storage]:
    storage = open_storage(tmp_path)
    with storage.writing() as connection:
        catalog.add_dataset(connection, dataset)
    yield storage
    storage.close()


def bowl(parameters: dict) -> float:
    return 1 - (parameters["dropout"] - 0.35) ** 2 - 0.1 * (math.log10(parameters["learning_rate"]) + 2.5) ** 2


def pretend(monkeypatch: pytest.MonkeyPatch, dataset: Dataset, *, held_out: set[str], outside: Outside) -> list[str]:
    """Train nothing. A net scores a bowl inside, half of it at its rungs, and anything outside; return what is scored
    there."""
    subjects, scored = {c.case: c for c in dataset.cases}, []

    def train(_storage, recipe, *, rungs=None, **_):
        net = SimpleNamespace(quality=bowl(recipe.parameters) / 2)
        for step in sorted(rungs.steps) if rungs else ():
            rungs.judge(net, step)
        net.quality *= 2
        return net

    def score(_storage, _recipe, net, *, cases, **_):
        if not held_out.issuperset(cases):
            assert held_out.isdisjoint(cases)
            return [SimpleNamespace(case=subjects[c], macro_dice=net.quality, scores=()) for c in cases]
        scored.extend(cases)
        return [SimpleNamespace(case=subjects[c], macro_dice=outside(i), scores=()) for i, c in enumerate(cases)]

    for module in (trials, folds):
        monkeypatch.setattr(module, "train_net", train)
        monkeypatch.setattr(module, "score_net", score)
    monkeypatch.setattr(folds, "gather_held_out", lambda *_, **__: ())
    monkeypatch.setattr(folds, "pack_weights", lambda _net, **_: b"")
    return scored


def study(dataset: Dataset, **settings: object) -> list[UnitPlan]:
    """Return the trials of the first fold, and the fold."""
    body = {"dataset": "ds", "architectures": ["unet"], "protocols": [{"kind": "loocv"}], "publish": False}
    body["search"] = {"trials": TRIALS, "pruner": "median", **settings}
    plan = plan_benchmark(BenchmarkSpec.model_validate(body), dataset=dataset, benchmark="b")
    return [u for u in plan if u.key.startswith("unet/loocv/r0/f0/")]


def run(storage: Storage, units: list[UnitPlan]) -> dict[str, Json]:
    results: dict[str, Json] = {}
    for unit in units:
        seen = {key: results[key] for key in (*unit.needs, *keys_read(unit.payload))}
        handler = run_fold if unit.kind == "fold" else run_trial
        results[unit.key] = handler(UnitInput("j", unit.key, 1, dict(unit.payload), seen), storage, lambda *_: None)
    return results


def without_audit(results: dict[str, Json]) -> str:
    """Return everything but the outer scores and the time taken, as text."""
    bare = {key: {**r, "outer_value": None, "seconds": 0} for key, r in results.items()}
    for r in bare.values():
        if r.get("search"):
            r["search"] = {**r["search"], "outer_value": None}
    return json.dumps(bare)


@pytest.mark.parametrize(("sampler", "parallel"), [("gp", 1), ("tpe", 3), ("random", 1)])
def test_a_search_is_the_same_with_and_without_outer_scores(storage, dataset, monkeypatch, sampler, parallel):
    units, tables = study(dataset, sampler=sampler, parallel=parallel), []
    shown = watch_what_is_shown(monkeypatch)
    for outside in (lambda _: 0.5, lambda _: None, lambda _: 1e9):
        pretend(monkeypatch, dataset, held_out={"a0.png", "a1.png"}, outside=outside)
        tables.append(run(storage, units))
    assert len({without_audit(t) for t in tables}) == 1
    assert any(r.get("pruned") for r in tables[0].values())
    assert {r["outer_value"] for t in tables for r in t.values() if "outer_value" in r} == {0.5, None, 1e9}
    assert shown
    assert {t.outer_value for t in shown} == {None}


def watch_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> list[TrialResult]:
    """Return every result of a trial that reaches Optuna or the choice of the best, from now on."""
    shown: list[TrialResult] = []
    for module, name in ((search, "freeze_trial"), (pruning, "freeze_trial"), (search, "best_trial")):
        made = getattr(module, name)

        def spy(given, *rest, _made=made):
            shown.extend([given] if isinstance(given, TrialResult) else given)
            return _made(given, *rest)

        monkeypatch.setattr(module, name, spy)
    return shown


def test_the_winner_is_scored_outside_and_a_trial_that_cannot_win_is_not(storage, dataset, monkeypatch):
    values = {0: 0.2, 1: 0.8}
    scored = pretend(monkeypatch, dataset, held_out={"a0.png", "a1.png"}, outside=lambda i: values[i])
    results = run(storage, study(dataset, sampler="random"))
    done = [TrialResult.model_validate(r) for k, r in results.items() if "/trial" in k]
    best, outer = -1.0, []
    for trial in done:
        outer.append(0.5 if trial.value is not None and trial.value > best else None)
        best = max(best, trial.value or 0)
    assert [t.outer_value for t in done] == [None if o is None else pytest.approx(o) for o in outer]
    assert None in outer
    assert len(scored) == 2 * (len(outer) - outer.count(None)) + 2
    found = next(r for k, r in results.items() if k.endswith("/fold"))["search"]
    assert (found["value"], found["outer_value"]) == (best, 0.5)


def test_outer_scores_cost_a_budget_nothing(storage, dataset, monkeypatch):
    def slow(_):
        time.sleep(0.3)
        return 0.5

    pretend(monkeypatch, dataset, held_out={"a0.png", "a1.png"}, outside=slow)
    (result,) = run(storage, study(dataset, minutes=1.0)[:1]).values()
    assert result["outer_value"] == 0.5
    assert result["seconds"] < 0.3


def test_test_cases_without_a_value_give_no_outer_score(storage, dataset, monkeypatch):
    pretend(monkeypatch, dataset, held_out={"a0.png", "a1.png"}, outside=lambda _: None)
    assert all(r["outer_value"] is None for r in run(storage, study(dataset)[:2]).values())


def test_trials_are_scored_by_their_objective_alone_and_folds_by_everything(storage, dataset, monkeypatch):
    pretend(monkeypatch, dataset, held_out={"a0.png", "a1.png"}, outside=lambda _: 0.5)
    asked = {}
    for module in (trials, folds):

        def watch(*given, _score=module.score_net, _of=module, metrics=tuple(METRICS), **named):
            asked.setdefault(_of, set()).add(tuple(metrics))
            return _score(*given, **named)

        monkeypatch.setattr(module, "score_net", watch)
    run(storage, study(dataset))
    assert asked == {trials: {("dice",)}, folds: {tuple(METRICS)}}
