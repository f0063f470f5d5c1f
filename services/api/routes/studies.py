"""The searches of a benchmark: every trial with its parameters, curve and fate."""

from collections.abc import Mapping, Sequence
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from intima.arrays import Json
from intima.contracts.benchmark import TrialResult
from intima.contracts.job import UnitState, UnitView
from intima.contracts.search import CurvePoint, ParameterValue, StudySummary
from intima.store import catalog, ledger
from intima.studies import best_trial
from services.api.dependencies import ReadDep

router = APIRouter(prefix="/v1/benchmarks/{benchmark_id}/studies", tags=["benchmarks"])


class TrialView(BaseModel):
    """One trial of a study."""

    number: int
    state: UnitState | Literal["pruned", "over_budget"]
    """That of its unit; "pruned" where it was stopped at a rung, "over_budget" where the minutes were used up."""
    parameters: dict[str, ParameterValue]
    value: float | None
    """Inner score; null unless the trial was run to the end."""
    curve: list[CurvePoint]
    pruned: bool
    seconds: float | None


class StudyDetail(BaseModel):
    """One search."""

    study: str
    """"unet/loocv/r0/f3/s0", or "unet/final" on all data."""
    trials: list[TrialView]
    best: int | None
    """Number of the best trial so far."""
    importances: dict[str, float] | None
    importances_reason: str | None
    """Why there are none (yet)."""


@router.get("", operation_id="list_studies")
def list_studies(benchmark_id: str, connection: ReadDep) -> list[StudyDetail]:
    """Return every study of a benchmark with its trials, in the order of the plan."""
    stored = catalog.get_benchmark(connection, benchmark_id)
    units = ledger.read_units(connection, stored.job_id)
    told = [u.key for u in units if u.kind in {"trial", "fold", "fit"} and u.state == "done"]
    results = ledger.results_of(connection, stored.job_id, told)
    studies: dict[str, list[UnitView]] = {}
    for unit in units:
        if unit.kind == "trial":
            studies.setdefault(unit.key.rpartition("/")[0], []).append(unit)
    ends = [key for key in told if "/trial" not in key]
    return [
        _detail(study, trials, results=results, ends=_ends_of(study, ends, nested=stored.spec.search.nested))
        for study, trials in studies.items()
    ]


def _ends_of(study: str, ends: Sequence[str], *, nested: bool) -> list[str]:
    """Return the units that stand behind a study: those beside it, and every fold of a flat search."""
    beside = f"{study}/" if nested else f"{study.split('/', maxsplit=1)[0]}/"
    return [key for key in ends if key.startswith(beside)]


def _detail(study: str, trials: Sequence[UnitView], *, results: Mapping[str, Json], ends: Sequence[str]) -> StudyDetail:
    done = {u.key: TrialResult.model_validate(results[u.key]) for u in trials if u.key in results}
    views = [_trial(u, done.get(u.key)) for u in trials]
    best = best_trial(list(done.values()))
    summary = _summary(results, ends)
    return StudyDetail(
        study=study,
        trials=views,
        best=None if best is None else _number(list(done)[best]),
        importances=None if summary is None else summary.importances,
        importances_reason="The search is not finished." if summary is None else summary.reason,
    )


def _summary(results: Mapping[str, Json], ends: Sequence[str]) -> StudySummary | None:
    found = next((results[key]["search"] for key in ends if results[key].get("search")), None)
    return None if found is None else StudySummary.model_validate(found)


def _trial(unit: UnitView, result: TrialResult | None) -> TrialView:
    return TrialView(
        number=_number(unit.key),
        state=unit.state if result is None else _fate(result),
        parameters={} if result is None else result.parameters,
        value=None if result is None else result.value,
        curve=[] if result is None else list(result.curve),
        pruned=result is not None and result.pruned,
        seconds=None if result is None else result.seconds,
    )


def _fate(result: TrialResult) -> Literal["done", "pruned", "over_budget"]:
    if result.pruned:
        return "pruned"
    return "over_budget" if result.value is None else "done"


def _number(key: str) -> int:
    return int(key.rpartition("/trial")[2])
