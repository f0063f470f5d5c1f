"""Hyper-parameter search: which parameters a trial tries, as a pure function of the trials before it.

The Optuna study is rebuilt in memory from the results of the earlier trials and asked once. Nothing is stored by
Optuna, nothing is left running when a worker dies, and the answer is the same on any number of workers. See
docs/decisions/0003-search-as-units.md.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from intima.architectures import ARCHITECTURES
from intima.contracts.benchmark import ParameterValue, TrialResult

SamplerName = Literal["gp", "tpe", "random"]

_STARTUP_TRIALS = 6
"""Random trials before the model of the sampler takes over."""


@dataclass(frozen=True, slots=True)
class Searched:
    """One searched parameter."""

    name: str
    low: float
    high: float
    default: float
    log: bool = False

    @property
    def distribution(self) -> FloatDistribution:
        """The range in Optuna's terms."""
        return FloatDistribution(self.low, self.high, log=self.log)


_BASE = (
    Searched("learning_rate", 5e-4, 1e-2, default=4e-3, log=True),
    Searched("weight_decay", 1e-5, 1e-1, default=1e-3, log=True),
    Searched("dropout", 0.0, 0.5, default=0.1),
    Searched("focal_gamma", 0.0, 3.0, default=1.0),
    Searched("dice_weight", 0.0, 1.0, default=0.5),
    Searched("augmentation", 0.0, 1.5, default=0.7),
)
_PROMPT_TOKENS = Searched("prompt_tokens", 2.0, 32.0, default=8.0, log=True)


def space_of(architecture: str) -> tuple[Searched, ...]:
    """Return the search space of an architecture."""
    return (*_BASE, _PROMPT_TOKENS) if ARCHITECTURES[architecture].has_prompts else _BASE


def default_parameters(architecture: str) -> dict[str, ParameterValue]:
    """Return the parameters used without a search, and by trial 0."""
    return {p.name: p.default for p in space_of(architecture)}


def suggest_parameters(
    architecture: str, *, earlier: Sequence[TrialResult], sampler: SamplerName, seed: int
) -> dict[str, ParameterValue]:
    """Return the parameters of the next trial.

    Args:
        architecture: names the search space.
        earlier: results of the trials before this one, in order; skipped ones are left out of the model.
        sampler: Gaussian process with expected improvement, tree-structured Parzen estimator, or uniform.
        seed: of this one suggestion.
    """
    done = [t for t in earlier if t.value is not None]
    if not done:
        return default_parameters(architecture)
    space: dict[str, BaseDistribution] = {p.name: p.distribution for p in space_of(architecture)}
    study = _rebuild(done, space=space, sampler=_make_sampler(sampler, seed))
    return dict(study.ask(fixed_distributions=space).params)


def best_parameters(architecture: str, results: Sequence[TrialResult]) -> dict[str, ParameterValue]:
    """Return the parameters of the best trial, the first where two are equal; the defaults where none has a value."""
    best: TrialResult | None = None
    for result in results:
        if result.value is not None and (best is None or best.value is None or result.value > best.value):
            best = result
    return default_parameters(architecture) if best is None else dict(best.parameters)


def _rebuild(
    done: Sequence[TrialResult], *, space: Mapping[str, BaseDistribution], sampler: BaseSampler
) -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=sampler, direction="maximize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    for result in done:
        params = {name: result.parameters[name] for name in space}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=dict(space), value=result.value))
    return study


def _make_sampler(name: SamplerName, seed: int) -> BaseSampler:
    if name == "gp":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return GPSampler(seed=seed, n_startup_trials=_STARTUP_TRIALS, deterministic_objective=False)
    if name == "tpe":
        return TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)
    return RandomSampler(seed=seed)
