"""Hyper-parameter search: which parameters a trial tries, as a pure function of the trials before it.

The Optuna study is rebuilt in memory from the results of the earlier trials and asked once. Nothing is stored by
Optuna, nothing is left running when a worker dies, and the answer is the same on any number of workers. See
docs/decisions/0003-search-as-units.md and 0008-parallel-pruned-search.md.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from intima.contracts.benchmark import TrialResult
from intima.contracts.search import Choices, CurvePoint, Dimension, ParameterValue, Space
from intima.spaces import default_space, defaults_of
from intima.studies import best_trial

SamplerName = Literal["gp", "tpe", "random"]
Parameters: TypeAlias = dict[str, ParameterValue]

_STARTUP_TRIALS = 6
"""Random trials before the model of the sampler takes over."""


def default_parameters(architecture: str) -> Parameters:
    """Return the parameters of an architecture's default space that are used without a search."""
    return defaults_of(default_space(architecture))


def propose_parameters(
    space: Space,
    *,
    number: int,
    parallel: int,
    earlier: Sequence[TrialResult],
    sampler: SamplerName,
    seed_of: Callable[[int], int],
) -> Parameters:
    """Return the parameters of trial ``number`` of a study that runs ``parallel`` trials at a time.

    Trial k sees the results of trials 0..k - parallel, however many more are there by now. The trials between are
    pending: what they try is worked out again from what they saw, so that every worker knows it.

    Args:
        space: searched parameters.
        number: of the trial, from 0.
        parallel: trials at a time.
        earlier: results of trials 0..number - parallel, in order.
        sampler: names the sampler.
        seed_of: seed of the suggestion of a trial by its number.
    """
    tried = [dict(t.parameters) for t in earlier]
    for trial in range(len(earlier), number + 1):
        seen = max(0, trial - parallel + 1)
        tried.append(
            suggest_parameters(
                space, earlier=earlier[:seen], pending=tried[seen:], sampler=sampler, seed=seed_of(trial)
            )
        )
    return tried[number]


def suggest_parameters(
    space: Space,
    *,
    earlier: Sequence[TrialResult],
    pending: Sequence[Mapping[str, ParameterValue]] = (),
    sampler: SamplerName,
    seed: int,
) -> Parameters:
    """Return the parameters of the next trial; the defaults where it is the first.

    Args:
        space: searched parameters.
        earlier: results of the trials before this one, in order; skipped ones are left out of the model.
        pending: parameters of trials that run at the same time. The Gaussian process takes its expected improvement
            jointly with them (qLogEI), the Parzen estimator counts them as poor (constant liar).
        sampler: Gaussian process with the logarithm of the expected improvement (Ament et al. 2023, the acquisition
            of Optuna's GPSampler), tree-structured Parzen estimator, or uniform.
        seed: of this one suggestion.
    """
    done = [t for t in earlier if t.value is not None or t.pruned]
    if not done and not pending:
        return defaults_of(space)
    distributions = distributions_of(space)
    trials = [_told(t, sampler, distributions, done) for t in done]
    trials += [
        create_trial(state=TrialState.RUNNING, params=dict(p), distributions=dict(distributions)) for p in pending
    ]
    study = rebuild_study(trials, sampler=_make_sampler(sampler, seed))
    return dict(study.ask(fixed_distributions=distributions).params)


def rebuild_study(trials: Sequence[FrozenTrial], *, sampler: BaseSampler | None = None) -> optuna.Study:
    """Return a study in memory that larger values win."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=sampler, direction="maximize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    for trial in trials:
        study.add_trial(trial)
    return study


def freeze_trial(result: TrialResult, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """Return a trial that was run to the end or pruned in Optuna's terms, without parameters outside the space."""
    return create_trial(
        state=TrialState.PRUNED if result.pruned else TrialState.COMPLETE,
        value=result.value,
        params={name: result.parameters[name] for name in distributions},
        distributions=dict(distributions),
        intermediate_values={p.step: p.value for p in result.curve},
    )


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """Return a space in Optuna's terms."""
    return {name: _distribution(d) for name, d in space.items()}


def best_parameters(space: Space, results: Sequence[TrialResult]) -> Parameters:
    """Return the parameters of the best trial; the defaults where none was run to the end."""
    best = best_trial(results)
    return defaults_of(space) if best is None else dict(results[best].parameters)


def expected_final(point: CurvePoint, finished: Sequence[TrialResult]) -> float:
    """Return the final score of like rank: that of finished trials at the same quantile as the point at its rung.

    Interpolated between them, and no lower than the lowest; the point's own value where none was judged there.
    """
    judged = [(p.value, t.value) for t in finished if t.value is not None for p in t.curve if p.step == point.step]
    if not judged:
        return point.value
    rung, final = (sorted(values) for values in zip(*judged, strict=True))
    return float(np.interp(point.value, rung, final))


def _told(
    result: TrialResult,
    sampler: SamplerName,
    distributions: Mapping[str, BaseDistribution],
    done: Sequence[TrialResult],
) -> FrozenTrial:
    """Return what a sampler is told of a trial.

    GPSampler reads completed trials only. Without the pruned ones it would try their neighbourhood again and again; a
    score from the midst of a training, beside finals, would make it a hole. So it is told what the trial would have
    come to.
    """
    if sampler == "gp" and result.pruned:
        result = result.model_copy(update={"pruned": False, "value": expected_final(result.curve[-1], done)})
    return freeze_trial(result, distributions)


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.choices)
    if dimension.integer:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _make_sampler(name: SamplerName, seed: int) -> BaseSampler:
    if name == "gp":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return GPSampler(seed=seed, n_startup_trials=_STARTUP_TRIALS, deterministic_objective=False)
    if name == "tpe":
        return TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)
    return RandomSampler(seed=seed)
