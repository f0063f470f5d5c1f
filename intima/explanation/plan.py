"""Plan an explanation: which folds, and the units it is cut into. Loads no framework."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intima.contracts.benchmark import FoldPayload, FoldResult, UnitPlan
from intima.contracts.explanation import ExplainPayload, ExplanationRequest, ParadoxPayload
from intima.errors import Conflict, Invalid
from intima.labels import MACRO
from intima.subjects import mean_over_subjects

PARADOX = "paradox"


@dataclass(frozen=True, slots=True)
class FinishedFold:
    """A fold of a benchmark that is done."""

    payload: FoldPayload
    result: FoldResult

    @property
    def number(self) -> int:
        """Number of the fold within its repeat."""
        return self.payload.split.fold

    @property
    def dice(self) -> float:
        """Mean macro Dice over subjects, sections of a subject averaged first; 0 where nothing has a value."""
        tested = set(self.payload.split.test)
        mean = mean_over_subjects(
            (row.subject, row.value)
            for row in self.result.rows
            if row.case in tested and (row.metric, row.class_) == ("dice", MACRO)
        )
        return 0.0 if mean is None else mean


def choose_folds(request: ExplanationRequest, folds: Sequence[FinishedFold]) -> tuple[FinishedFold, ...]:
    """Return the folds that a request means, by number.

    Args:
        request: contender, protocol, seed, repeat and folds.
        folds: everything of the benchmark that is done.

    Raises:
        Invalid: nothing that is done fits a field of the request; the message names what there is.
        Conflict: a fold was run by a version that kept no weights.
    """
    fitting = list(folds)
    for field in ("model", "protocol", "seed", "repeat"):
        wanted = getattr(request, field)
        there = {_named(f)[field] for f in fitting}
        if wanted not in there:
            raise Invalid(
                f"Got {field} {wanted!r}; the folds that are done have {_listed(there)}.",
                code="no_such_fold",
                hint="Take one of these, or wait until more folds are done.",
                pointer=f"/{field}",
            )
        fitting = [f for f in fitting if _named(f)[field] == wanted]
    chosen = _by_number(request, {f.number: f for f in fitting})
    if any(f.result.weights_sha256 is None for f in chosen):
        raise Conflict(
            "This benchmark was run by a version that kept no weights of its folds.",
            code="no_weights",
            hint="Run the benchmark again.",
        )
    return chosen


def plan_explanation(request: ExplanationRequest, folds: Sequence[FinishedFold]) -> tuple[UnitPlan, ...]:
    """Return one unit per fold, and with two folds or more the paradox check behind them."""
    units = [_explain_unit(request, fold) for fold in folds]
    if len(folds) > 1:
        paradox = ParadoxPayload(dataset=folds[0].payload.dataset, settings=request.settings)
        units.append(
            UnitPlan(
                key=PARADOX,
                kind="paradox",
                queue="training",
                needs=tuple(u.key for u in units),
                payload=paradox.model_dump(mode="json", by_alias=True),
            )
        )
    return tuple(units)


def fold_key(number: int) -> str:
    """Return the key of the unit that explains a fold."""
    return f"fold{number}"


def _explain_unit(request: ExplanationRequest, fold: FinishedFold) -> UnitPlan:
    assert fold.result.weights_sha256 is not None
    payload = ExplainPayload(
        dataset=fold.payload.dataset,
        study=fold.payload.study,
        protocol=fold.payload.split.protocol,
        repeat=fold.payload.split.repeat,
        fold=fold.number,
        cases=fold.payload.split.test,
        parameters=fold.result.parameters,
        weights_sha256=fold.result.weights_sha256,
        settings=request.settings,
    )
    body = payload.model_dump(mode="json", by_alias=True)
    return UnitPlan(key=fold_key(fold.number), kind="explain", queue="training", payload=body)


def _by_number(request: ExplanationRequest, folds: Mapping[int, FinishedFold]) -> tuple[FinishedFold, ...]:
    if request.folds == "best_and_worst":
        ordered = sorted(folds.values(), key=lambda f: (-f.dice, f.number))
        return tuple(sorted({f.number: f for f in (ordered[0], ordered[-1])}.values(), key=lambda f: f.number))
    missing = [n for n in request.folds if n not in folds]
    if missing:
        raise Invalid(f"Got fold {missing[0]}; done are {_listed(set(folds))}.", code="no_such_fold", pointer="/folds")
    return tuple(folds[n] for n in sorted(set(request.folds)))


def _named(fold: FinishedFold) -> dict[str, str | int]:
    study, split = fold.payload.study, fold.payload.split
    return {"model": study.label, "protocol": split.protocol, "seed": study.seed, "repeat": split.repeat}


def _listed(values: set[str | int] | set[int]) -> str:
    return ", ".join(str(v) for v in sorted(values, key=str)) or "none"
