"""What a search may change, and what became of it."""

from typing import TypeAlias

from pydantic import ConfigDict, Field

from intima.contracts._base import Contract

ParameterValue = float | int | str


class Range(Contract):
    """Numbers between two ends, both included."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    low: float
    high: float
    log: bool = False
    """Search in the logarithm."""
    integer: bool = Field(default=False, alias="int")
    """Whole numbers only; implied where the parameter is a count."""
    default: float | None = None
    """What trial 0 takes. Null: the architecture's default where it lies inside, else the middle."""


class Choices(Contract):
    """One of a few values without an order."""

    choices: tuple[ParameterValue, ...] = Field(min_length=1, max_length=50)
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
    importances: dict[str, float] | None
    """Share of each parameter in what sets good trials apart (PED-ANOVA, Watanabe et al. 2023); they sum to 1."""
    reason: str | None = None
    """Why there are no importances."""


class HpoNoise(Contract):
    """By how much the inner score of the winning trial flatters one contender under one protocol."""

    model: str
    protocol: str
    splits: int
    """Outer splits times seeds that have both scores."""
    mean: float
    """Mean of inner best minus outer score (macro Dice)."""
    ci95: tuple[float, float] | None
    """Student's t over splits, as if they were independent; null for fewer than two splits."""
    ci95_corrected: tuple[float, float] | None
    """With the variance (1/J + n_test/n_train) S^2 of Nadeau and Bengio (2003); this one decides."""
    optimistic: bool
    """True for a flat search, whose inner split holds the outer test cases: the gap is then too small."""
