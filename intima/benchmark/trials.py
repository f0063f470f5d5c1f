"""A trial: one configuration of a study, trained and scored on the inner split."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from intima.architectures.net import SegmentationNet
from intima.arrays import Json
from intima.benchmark.recipe import (
    Recipe,
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
from intima.contracts.benchmark import LossPoint, TrialPayload, TrialResult
from intima.contracts.search import CurvePoint, ParameterValue
from intima.errors import Invalid
from intima.folds import inner_split
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.training.curves import TrainingCurves
from intima.training.loop import NO_RUNGS, Rungs
from intima.training.presets import PRESETS
from intima.training.pruning import TrialStopped, is_hopeless, rung_steps
from intima.training.scoring import OBJECTIVE, mean_macro_dice
from intima.training.search import propose_parameters
from intima.training.seeds import derive_seed


def _no_score() -> float | None:
    """Score nothing: there is no net, or no test case."""
    return None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended."""

    value: float | None
    curve: tuple[CurvePoint, ...]
    losses: tuple[LossPoint, ...] = ()
    pruned: bool = False
    score_outside: Callable[[], float | None] = _no_score
    """Scores its final net on the outer test cases."""


def run_trial(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Train one configuration on the inner fit set and score it on the inner validation set.

    Skipped once earlier trials have used up the time budget. A configuration that diverges scores 0. One that is worse
    than the median of the earlier ones at a rung is stopped there. The net of one that may still win is scored on the
    outer test cases as well, for the audit: outside its seconds, so that a budget in minutes does not feel it.

    Raises:
        Invalid: the training cases are of one subject, so there is no inner split.
    """
    started = time.monotonic()
    payload = TrialPayload.model_validate(unit.payload)
    earlier = trials_behind(unit)
    if payload.budget_s is not None and sum(t.seconds for t in earlier) >= payload.budget_s:
        return to_json(TrialResult(parameters={}, value=None, seconds=0.0))
    parameters = _propose(payload, earlier)
    outcome = _try(storage, payload, parameters=parameters, earlier=earlier, report=report)
    seconds = time.monotonic() - started
    result = TrialResult(
        parameters=parameters,
        value=outcome.value,
        curve=outcome.curve,
        outer_value=outcome.score_outside() if _may_win(outcome, earlier) else None,
        pruned=outcome.pruned,
        seconds=seconds,
        losses=outcome.losses,
    )
    return to_json(result)


def _may_win(outcome: Outcome, earlier: Sequence[TrialResult]) -> bool:
    """Tell whether a trial beats all it sees. Of equal trials the first wins, so that no other can."""
    return outcome.value is not None and all(t.value is None or outcome.value > t.value for t in earlier)


def _propose(payload: TrialPayload, earlier: Sequence[TrialResult]) -> dict[str, ParameterValue]:
    return propose_parameters(
        payload.study.space,
        number=payload.number,
        parallel=payload.parallel,
        earlier=earlier,
        sampler=payload.sampler,
        seed_of=lambda number: derive_seed(
            "suggest", payload.study.label, *identity_of(payload.study, payload.study.seed), number
        ),
    )


def _try(
    storage: Storage,
    payload: TrialPayload,
    *,
    parameters: dict[str, ParameterValue],
    earlier: Sequence[TrialResult],
    report: Report,
) -> Outcome:
    dataset = read_dataset(storage, payload.dataset)
    recipe = make_recipe(dataset, payload.study, settings=PRESETS[payload.preset].for_trial(), parameters=parameters)
    subjects = {c.case: c.subject for c in dataset.cases}
    fit_on, validate_on = inner_split(
        subjects, cases=studied_cases(dataset, payload.study), seed=payload.study.seeds.split
    )
    seeds = seeds_for("trial", payload.study, payload.number)
    curves = TrainingCurves(report)

    def judge(net: SegmentationNet, step: int) -> None:
        scored = score_net(storage, recipe, net, cases=validate_on, report=_tell_nobody, metrics=[OBJECTIVE])
        curves.judged(CurvePoint(step=step, value=mean_macro_dice(scored)))
        if is_hopeless(curves.scores, earlier=earlier):
            raise TrialStopped

    rungs = NO_RUNGS if payload.pruner == "none" else Rungs(rung_steps(recipe.settings.steps), judge)
    try:
        net = train_net(storage, recipe, cases=fit_on, seeds=seeds, report=report, rungs=rungs, record=curves.add)
        value = mean_macro_dice(score_net(storage, recipe, net, cases=validate_on, report=report, metrics=[OBJECTIVE]))
    except TrialStopped:
        return Outcome(value=None, curve=curves.scores, losses=curves.points(), pruned=True)
    except Invalid as error:
        if error.code != "diverged":
            raise
        return Outcome(value=0.0, curve=curves.scores, losses=curves.points())
    return Outcome(
        value=value,
        curve=(*curves.scores, CurvePoint(step=recipe.settings.steps, value=value)),
        losses=curves.points(),
        score_outside=partial(_score_outside, storage, recipe, net),
    )


def _score_outside(storage: Storage, recipe: Recipe, net: SegmentationNet) -> float | None:
    """Return the score on the outer test cases; None in a study of all data, and where no test case has a value."""
    split = recipe.study.split
    if split is None:
        return None
    scored = score_net(storage, recipe, net, cases=split.test, report=_tell_nobody, metrics=[OBJECTIVE])
    return None if all(item.macro_dice is None for item in scored) else mean_macro_dice(scored)


def _tell_nobody(_fraction: float, _message: str) -> None:
    """Keep the progress of a trial going one way while it is judged."""
