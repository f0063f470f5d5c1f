"""What a search may change, and what became of it."""

from typing import TypeAlias

from pydantic import ConfigDict, Field, model_validator

from intima.contracts._base import Contract

ParameterValue = float | int | str


class Range(Contract):
    """Numbers between two ends, both included."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    low: float
    """The lower end."""
    high: float
    """The upper end."""
    log: bool = False
    """Search in the logarithm."""
    integer: bool = Field(default=False, alias="int")
    """Whole numbers only; implied where the parameter is a count."""
    default: float | None = None
    """What trial 0 takes. Null: the architecture's default where it lies inside, else the middle."""


class Choices(Contract):
    """One of a few values without an order."""

    choices: tuple[ParameterValue, ...] = Field(min_length=1, max_length=50)
    """The values."""
    default: ParameterValue | None = None
    """What trial 0 takes. Null: the architecture's default where it is among them, else the first."""


Dimension: TypeAlias = Range | Choices
Space: TypeAlias = dict[str, Dimension]
"""Searched parameters by name."""


class CurvePoint(Contract):
    """A trial judged on the inner validation set."""

    step: int
    """Optimiser steps done."""
    value: float
    """Mean macro Dice."""


class StudySummary(Contract):
    """What a finished search came to."""

    trials: int
    """Trials that were run to the end or pruned."""
    best: int
    """Number of the trial whose parameters were taken."""
    value: float
    """Its inner score."""
    outer_value: float | None = None
    """Score of the very net of that trial on the outer test cases. The search did not see it, only the audit does; null
    for a study of all data."""
    importances: dict[str, float] | None
    """Share of each parameter in what sets good trials apart (PED-ANOVA, Watanabe et al. 2023); they sum to 1."""
    reason: str | None = None
    """Why there are no importances."""


class Gap(Contract):
    """Inner best minus outer score (mean macro Dice over subjects), averaged over splits."""

    splits: int
    """Outer splits times seeds that have both scores."""
    mean: float
    ci95: tuple[float, float] | None
    """Student's t over splits, as if they were independent; null for fewer than two splits."""
    ci95_corrected: tuple[float, float] | None
    """With the variance (1/J + n_test/n_train) S^2 of Nadeau and Bengio (2003); this one decides."""


class HpoNoise(Contract):
    """By how much the inner score of the winning trial flatters one contender under one protocol."""

    model: str
    protocol: str
    selection: Gap | None
    """Both scores are of the very same net, that of the winning trial: what choosing the best of several trials adds
    to its score. Null for a flat search, which has no test set outside it, and in benchmarks of earlier versions."""
    refitted: Gap
    """The outer score is of the net that the fold trained anew: on all subjects of the outer training set, and in some
    presets for longer than a trial. So what the search flatters and what the refit gains are mixed here."""
    optimistic: bool
    """True for a flat search, whose inner split holds the outer test cases: ``refitted`` is then too small."""

    @model_validator(mode="before")
    @classmethod
    def _read_former(cls, value: object) -> object:
        """Read the form of earlier versions, whose one gap was that of the refitted net."""
        if not isinstance(value, dict) or "mean" not in value:
            return value
        gap = {name: value[name] for name in Gap.model_fields}
        return {k: v for k, v in value.items() if k not in gap} | {"selection": None, "refitted": gap}
