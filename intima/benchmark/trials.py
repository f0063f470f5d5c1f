"""A trial: one configuration of a study, trained and scored on the inner split."""

import time
from collections.abc import Sequence

from intima.arrays import Json
from intima.benchmark.recipe import (
    Recipe,
    TrainingSeeds,
    identity_of,
    make_recipe,
    read_dataset,
    score_net,
    seeds_for,
    studied_cases,
    to_json,
    train_net,
    trials_behind,
)
from intima.contracts.benchmark import ParameterValue, TrialPayload, TrialResult
from intima.errors import Invalid
from intima.folds import inner_split
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.training.presets import PRESETS
from intima.training.scoring import mean_macro_dice
from intima.training.search import suggest_parameters
from intima.training.seeds import derive_seed


def run_trial(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Train one configuration on the inner fit set and score it on the inner validation set.

    Skipped once earlier trials have used up the time budget. A configuration that diverges scores 0.

    Raises:
        Invalid: the training cases are of one subject, so there is no inner split.
    """
    started = time.monotonic()
    payload = TrialPayload.model_validate(unit.payload)
    earlier = trials_behind(unit)
    if payload.budget_s is not None and sum(t.seconds for t in earlier) >= payload.budget_s:
        return to_json(TrialResult(parameters={}, value=None, seconds=0.0))
    dataset = read_dataset(storage, payload.dataset)
    parameters = _suggest(payload, earlier)
    settings = PRESETS[payload.preset].for_trial()
    recipe = make_recipe(dataset, payload.study, settings=settings, parameters=parameters)
    subjects = {c.case: c.subject for c in dataset.cases}
    fit_on, validate_on = inner_split(
        subjects, cases=studied_cases(dataset, payload.study), seed=payload.study.seeds.split
    )
    seeds = seeds_for("trial", payload.study, payload.number)
    value = _trial_value(storage, recipe, fit_on=fit_on, validate_on=validate_on, seeds=seeds, report=report)
    return to_json(TrialResult(parameters=parameters, value=value, seconds=time.monotonic() - started))


def _suggest(payload: TrialPayload, earlier: Sequence[TrialResult]) -> dict[str, ParameterValue]:
    seed = derive_seed("suggest", payload.study.label, *identity_of(payload.study, payload.study.seed), payload.number)
    name = payload.study.architecture.name
    return suggest_parameters(name, earlier=earlier, sampler=payload.sampler, seed=seed)


def _trial_value(
    storage: Storage,
    recipe: Recipe,
    *,
    fit_on: Sequence[str],
    validate_on: Sequence[str],
    seeds: TrainingSeeds,
    report: Report,
) -> float:
    try:
        net = train_net(storage, recipe, cases=fit_on, seeds=seeds, report=report)
    except Invalid as error:
        if error.code != "diverged":
            raise
        return 0.0
    return mean_macro_dice(score_net(storage, recipe, net, cases=validate_on, report=report))
