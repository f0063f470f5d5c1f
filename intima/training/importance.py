"""What a finished search came to, and which parameters mattered."""

from collections.abc import Sequence

from optuna.importance import PedAnovaImportanceEvaluator

from intima.contracts.benchmark import TrialResult
from intima.contracts.search import Choices, Dimension, Space, StudySummary
from intima.studies import best_trial
from intima.training.search import distributions_of, freeze_trial, rebuild_study

ENOUGH_TRIALS = 20
"""PED-ANOVA compares the best tenth with the rest: below this the tenth is one trial."""


def summarise_study(space: Space, results: Sequence[TrialResult]) -> StudySummary | None:
    """Return the summary of a search; null where no trial was run to the end."""
    best = best_trial(results)
    value = None if best is None else results[best].value
    if best is None or value is None:
        return None
    importances, reason = _importances(space, results)
    ran = sum(t.value is not None or t.pruned for t in results)
    return StudySummary(trials=ran, best=best, value=value, importances=importances, reason=reason)


def _importances(space: Space, results: Sequence[TrialResult]) -> tuple[dict[str, float] | None, str | None]:
    free = {name: d for name, d in space.items() if not _is_fixed(d)}
    distributions = distributions_of(free)
    finished = [freeze_trial(t, distributions) for t in results if t.value is not None and not t.pruned]
    if len(finished) < ENOUGH_TRIALS:
        return None, f"Got {len(finished)} finished trials; importances need {ENOUGH_TRIALS}."
    if len({t.value for t in finished}) < 2:
        return None, "All finished trials have the same score."
    found = PedAnovaImportanceEvaluator().evaluate(rebuild_study(finished), params=sorted(free))
    total = sum(found.values())
    if not total > 0:
        return None, "No parameter sets the best trials apart."
    return {name: float(share / total) for name, share in found.items()}, None


def _is_fixed(dimension: Dimension) -> bool:
    return len(dimension.choices) == 1 if isinstance(dimension, Choices) else dimension.low == dimension.high
