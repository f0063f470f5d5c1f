"""Stop a trial that is worse than the median of earlier trials after as many steps. A pure function of their curves."""

from collections.abc import Sequence

from optuna.pruners import MedianPruner
from optuna.trial import TrialState, create_trial

from intima.contracts.benchmark import TrialResult
from intima.contracts.search import CurvePoint
from intima.training.search import freeze_trial, rebuild_study

RUNGS = 3
"""A trial is judged after each third of its steps; the last judgement is its score."""
FINISHED_FIRST = 5
"""Trials that must have been run to the end before one is stopped."""


class TrialStopped(Exception):
    """Raised at a rung to end the training of a trial."""


def rung_steps(steps: int) -> frozenset[int]:
    """Return after how many steps a trial is judged before its end.

    >>> sorted(rung_steps(100))
    [33, 67]
    """
    return frozenset(round(steps * rung / RUNGS) for rung in range(1, RUNGS)) - {0, steps}


def is_hopeless(curve: Sequence[CurvePoint], *, earlier: Sequence[TrialResult]) -> bool:
    """Tell whether the best value so far lies below the median of the finished earlier trials at the last step.

    ``optuna.pruners.MedianPruner`` on the study rebuilt in memory; pruned trials do not count towards the median.
    """
    done = [freeze_trial(t, {}) for t in earlier if t.value is not None and not t.pruned]
    trial = create_trial(state=TrialState.RUNNING, intermediate_values={p.step: p.value for p in curve})
    pruner = MedianPruner(n_startup_trials=FINISHED_FIRST, n_warmup_steps=0)
    return pruner.prune(rebuild_study(done), trial)
