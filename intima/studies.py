"""Which trial of a study wins. Pure arithmetic on results, for workers and for the api alike."""

from collections.abc import Sequence

from intima.contracts.benchmark import TrialResult


def best_trial(results: Sequence[TrialResult]) -> int | None:
    """Return the place of the best trial, the first where two are equal; null where none was run to the end."""
    scored = [(-t.value, place) for place, t in enumerate(results) if t.value is not None and not t.pruned]
    return min(scored)[1] if scored else None
