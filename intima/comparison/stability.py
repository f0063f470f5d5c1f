"""The phase-transition study: where do rankings settle for the user's own spread, gaps and failures?"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from intima.arrays import Json
from intima.contracts.benchmark import UnitPlan
from intima.contracts.statistics import Criterion, StabilityAnswer, StabilityPoint, StabilityRequest
from intima.errors import Invalid
from intima.statistics.samples import as_matrix, has_spread
from intima.statistics.simulation import ScoreModel, score_model
from intima.statistics.stability import stability_at
from intima.store.work import Report, UnitInput

MOST_WORK = 20_000_000
"""Simulated scores and pairs of models of one study, or of one point of a streamed one: some ten seconds."""
CRITERIA = (
    ("best_first", 0.90),
    ("best_first", 0.95),
    ("tau_truth", 0.90),
    ("same_winner", 0.90),
    ("winner_frequent", 0.80),
)
_LARGEST_SHARE = 0.999
"""Of the SD that differences of independent models have."""


def study_stability(request: StabilityRequest) -> StabilityAnswer:
    """Return curves over the number of subjects and where each criterion is first met.

    Raises:
        Invalid: scores that cannot exist, or more work than a request may ask for.
    """
    asked, warnings = with_pilot(request)
    model = _model(asked)
    _refuse_too_much(asked, len(model.means), asked.numbers)
    return answer_of(asked, tuple(_points(asked, model)), warnings)


def answer_of(asked: StabilityRequest, points: Sequence[StabilityPoint], warnings: Sequence[str]) -> StabilityAnswer:
    """Return what the points of a study amount to, at least one, in order; its pilot was taken in before."""
    model = _model(asked)
    return StabilityAnswer(
        models=len(model.means),
        gaps=asked.gaps or (),
        mean=asked.mean,
        sd=asked.sd,
        sd_difference=asked.sd_difference,
        correlation=model.correlation,
        failure_rate=asked.failure_rate,
        points=tuple(points),
        criteria=tuple(Criterion(figure=f, threshold=t, n=_first(points, f, t)) for f, t in CRITERIA),
        data_sets=asked.data_sets,
        seed=asked.seed,
        sentence=_sentence(points),
        warnings=tuple(warnings),
    )


def stream_stability(request: StabilityRequest) -> Iterator[StabilityPoint]:
    """Return the points of a study one by one, as they are simulated; the same as those of ``study_stability``.

    Raises:
        Invalid: scores that cannot exist, or a point of more work than that.
    """
    asked, _ = with_pilot(request)
    model = _model(asked)
    _refuse_too_much(asked, len(model.means), (max(asked.numbers),))
    return _points(asked, model)


def _refuse_too_much(request: StabilityRequest, models: int, numbers: Sequence[int]) -> None:
    work = sum(models * (n + models) for n in set(numbers)) * request.data_sets
    if work > MOST_WORK:
        raise Invalid(
            f"Got a study of {work:,} simulated scores and pairs; {MOST_WORK:,} are allowed.",
            hint="Give fewer data_sets, or start it as a job: POST /v1/stability/studies.",
            pointer="/data_sets",
        )


def _points(request: StabilityRequest, model: ScoreModel) -> Iterator[StabilityPoint]:
    for n in sorted(set(request.numbers)):
        yield stability_at(model, n, data_sets=request.data_sets, seed=request.seed)


def _model(request: StabilityRequest) -> ScoreModel:
    gaps = request.gaps or ()
    if min(gaps) != 0:
        raise Invalid(f"Got gaps from {min(gaps):.3g}; the best model has gap 0.", pointer="/gaps")
    return score_model(
        tuple(request.mean - gap for gap in gaps),
        sd=request.sd,
        sd_difference=request.sd_difference,
        failure_rates=(request.failure_rate,) * len(gaps),
    )


def plan_study(request: StabilityRequest) -> tuple[UnitPlan, ...]:
    """Return one unit per number of subjects; the pilot was taken in.

    Raises:
        Invalid: scores that cannot exist.
    """
    _model(request)
    numbers = sorted(set(request.numbers))
    parts = [request.model_copy(update={"numbers": (n,)}).model_dump(mode="json") for n in numbers]
    return tuple(
        UnitPlan(key=f"n{n}", kind="stability", queue="training", payload=part)
        for n, part in zip(numbers, parts, strict=True)
    )


def run_point(unit: UnitInput, _storage: object, _report: Report) -> Json:
    """Simulate one number of subjects, as much as the contract allows: the handler of a "stability" unit."""
    request = StabilityRequest.model_validate(unit.payload)
    (point,) = _points(request, _model(request))
    found: Json = point.model_dump(mode="json")
    return found


def with_pilot(request: StabilityRequest) -> tuple[StabilityRequest, tuple[str, ...]]:
    """Return the request with gaps and spreads of its pilot, if it has one."""
    if request.pilot is None:
        return request, ()
    scores = as_matrix(request.pilot, pointer="/pilot")
    means = scores.mean(axis=0)
    pairs = [scores[:, i] - scores[:, j] for i, j in combinations(range(scores.shape[1]), 2)]
    if not any(has_spread(d) for d in pairs):
        raise Invalid(
            "All models of the pilot differ by the same on every subject.", code="no_spread", pointer="/pilot"
        )
    sd = float(np.sqrt(np.mean(np.var(scores, axis=0, ddof=1))))
    apart = float(np.sqrt(np.mean([np.var(d, ddof=1) for d in pairs])))
    most = _LARGEST_SHARE * float(np.sqrt(2)) * sd
    warnings = [
        f"Gaps are those observed on {len(scores)} subjects and partly chance: truly equal models show gaps too."
    ]
    if apart > most:
        warnings.append(
            "Scores of the pilot's models do not go together over subjects; they were taken as independent."
        )
    taken = {
        "gaps": tuple(float(max(means) - m) for m in means),
        "mean": float(max(means)),
        "sd": sd,
        "sd_difference": min(apart, most),
        "pilot": None,
    }
    return StabilityRequest.model_validate(request.model_dump() | taken), tuple(warnings)


def _first(points: Sequence[StabilityPoint], figure: str, threshold: float) -> int | None:
    values = ((p.n, getattr(p, figure)) for p in points)
    return next((n for n, found in values if found is not None and found.value >= threshold), None)


def _sentence(points: Sequence[StabilityPoint]) -> str:
    first, last = points[0], points[-1]
    if first.best_first is None or last.best_first is None:
        return (
            f"Several models are truly best, so that no winner is right: two data sets of {first.n} subjects crown the"
            f" same model with a probability of {first.same_winner.value:.0%}, of {last.n} subjects with one of"
            f" {last.same_winner.value:.0%}."
        )
    needed = _first(points, "best_first", 0.95)
    goal = f"95 % is first reached at {needed}" if needed else f"95 % is not reached at {last.n}"
    return (
        f"On {first.n} subjects the truly best model comes first with a probability of {first.best_first.value:.0%};"
        f" {goal} subjects of the numbers simulated."
    )
