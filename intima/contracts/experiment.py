"""The experiment table: every trial, fold and fit of a benchmark."""

from typing import Literal

from intima.contracts._base import Contract
from intima.contracts.benchmark import LossPoint, ParameterValue, WeightsKind
from intima.contracts.dataset import Sha256
from intima.contracts.job import UnitState
from intima.contracts.search import CurvePoint

ExperimentKind = Literal["trial", "fold", "fit"]


class LiveCurves(Contract):
    """What a training that runs has to show so far."""

    losses: tuple[LossPoint, ...] = ()
    curve: tuple[CurvePoint, ...] = ()


class ExperimentRow(Contract):
    """One training: what was trained on what, and what came of it."""

    unit: str
    """Key of the unit of the benchmark's job."""
    kind: ExperimentKind
    state: UnitState
    model: str
    """Label of the contender."""
    architecture: str
    encoder: str
    encoder_weights: WeightsKind | None
    """What it starts from; null: what each training found, in benchmarks of versions that resolved none."""
    encoder_training: str
    input_px: int
    protocol: str | None
    """Null: all cases (a final fit, or its search)."""
    repeat: int | None
    fold: int | None
    seed: int
    split_seed: int
    init_seed: int
    augmentation_seed: int
    number: int | None
    """Of the trial in its search, or of the member in its ensemble."""
    parameters: dict[str, ParameterValue]
    value: float | None
    """Mean macro Dice over subjects: of a trial on inner validation, of a fold on its test cases; null for a fit."""
    pruned: bool
    selection_biased: bool
    curve: tuple[CurvePoint, ...]
    """Of a trial: scores at the rungs; also while it runs."""
    losses: tuple[LossPoint, ...]
    """Training loss, at most 100 points; also while it runs, as of some seconds ago."""
    seconds: float | None
    started_at: str | None
    finished_at: str | None
    error: str | None
    artefacts: dict[str, Sha256]
    """Blobs by name: weights."""
