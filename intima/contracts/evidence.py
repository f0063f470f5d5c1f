"""What held-out cases say of a model's uncertainty: per case, and pooled over subjects for the card."""

from typing import Literal

from pydantic import Field

from intima.contracts._base import Contract
from intima.contracts.dataset import PixelSize

EvidenceBasis = Literal["out-of-fold", "held-out synthetic phantoms", "labelled dataset"]
LABELLED: EvidenceBasis = "labelled dataset"
"""Of networks that were published before and measured on sections of one's own."""
MeasureScale = Literal["plain", "log"]
"""plain: predicted - true. log: ln((predicted + floor) / (true + floor))."""


_LARGEST = 1e12
"""Of numbers that serving computes with: a card may come from outside, and no interval may overflow."""


class Reliability(Contract):
    """Pixels sorted into bins of equal width by a probability; bins are open below and closed above."""

    pixels: tuple[int, ...]
    right: tuple[int, ...]
    """Of these, how many are right; by class: are of the class."""
    confidence: tuple[float, ...]
    """Sum of the probability over these pixels."""


class Detection(Contract):
    """How well the entropy finds the wrong pixels of a case (``intima.selective``)."""

    error_rate: float
    auroc: float | None
    """Null where nothing is wrong, or everything."""
    aurc: float
    excess_aurc: float
    removed_12: float | None
    """Share of the errors among the most uncertain 12 % of the pixels; null where nothing is wrong."""
    removed_25: float | None


class MeasuredPair(Contract):
    """One measure of one vessel, predicted and true."""

    vessel: int
    """Number in the truth, largest first."""
    name: str
    predicted: float
    truth: float
    unit: str
    pass_sd: float | None
    """Standard deviation over passes, in the unit."""


class HeldOutCase(Contract):
    """What one case says that its net has not been trained on. Every tuple of numbers runs over ``TEMPERATURES``."""

    case: str
    subject: str
    mpp: PixelSize | None
    passes: int
    stride: int
    """Every so many-th row and column was used for what is counted per pixel."""
    pixels: int
    foreground_pixels: int
    """Used, and foreground in truth or prediction."""
    nll: tuple[float, ...]
    """Mean over pixels of -ln of the probability of the truth."""
    nll_foreground: tuple[float, ...] | None
    brier: tuple[float, ...]
    ece: dict[str, tuple[float, ...]]
    """By group: all, foreground, foreground_adaptive, boundary, classwise, class:NAME; absent without pixels."""
    reliability: dict[str, Reliability]
    """By group: all, foreground, boundary, class:NAME; as the net says it (temperature 1)."""
    reliability_foreground: tuple[Reliability, ...]
    """Of the foreground; empty where there is none."""
    detection: tuple[Detection, ...]
    """At every fifth temperature (octaves)."""
    dice: float | None
    """Of the prediction, over all foreground classes together; null without foreground in both."""
    expected_dice: tuple[float | None, ...]
    """The same as the probabilities expect it; null where no foreground was predicted."""
    reach_px: dict[str, float | None]
    """By "foreground" or "class:NAME": dilation of the prediction in pixels that covers 99 % of the truth; null where
    the prediction has none of it; absent where the truth has none of it."""
    vessels: int
    """In the truth."""
    vessels_found: int
    pairs: tuple[MeasuredPair, ...]


class Figure(Contract):
    """A mean over subjects, sections of one averaged first."""

    mean: float
    ci95: tuple[float, float] | None
    """Student's t; null below two subjects or without spread."""
    subjects: int


class Temperature(Contract):
    """By what the logits are divided."""

    value: float = Field(ge=0.25, le=8)
    """What serving uses; 1: as the net says it."""
    fitted: float | None
    """Least mean NLL over subjects; null: too few subjects."""
    reason: str
    """Why ``value`` is what it is."""
    nll: Figure
    """As the net says it."""
    nll_left_out: Figure | None
    """Of each subject at the temperature fitted to the others."""
    bounded: bool = False
    """True where the fit ran into the end of the grid."""


class CalibrationFigure(Contract):
    """One figure of the calibration report."""

    name: str
    """ece, ece_foreground, ece_foreground_adaptive, ece_boundary, ece_classwise, ece_class:NAME, brier, nll,
    nll_foreground, auroc, aurc, excess_aurc, removed_12, removed_25."""
    before: Figure
    """As the net says it."""
    after: Figure | None
    """Each subject at the temperature fitted to the others; null where none was fitted."""


class ReliabilityDiagram(Contract):
    """Reliability pooled over all pixels of all cases."""

    group: str
    temperature: float
    """1: as the net says it; else the one of the grid that is nearest to the fitted one."""
    bins: Reliability


class ConformalMargin(Contract):
    """How far the prediction is dilated to cover 99 % of the truth of a new subject, with probability 1 - alpha."""

    target: str
    """"foreground" or "class:NAME"."""
    alpha: float
    margin: float | None
    """Null where it cannot be given; the reason says why."""
    unit: Literal["µm", "px"]
    subjects: int
    smallest_alpha: float
    """1 / (subjects + 1): nothing below is attainable."""
    largest: float | None
    """Largest margin any held-out subject needed; null where one was missed."""
    missed: int
    """Subjects with a section where the prediction has none of what the truth has."""
    reason: str


class Residual(Contract):
    """Error of one measure on held-out sections, on its scale (``intima.prediction_intervals``)."""

    name: str
    scale: MeasureScale
    floor: float = Field(ge=0, le=_LARGEST)
    """Added before the logarithm, in the unit; 0 on the plain scale."""
    unit: str
    subjects: int
    sections: int
    """Measured vessels."""
    bias: float | None
    """Mean over subjects; null, as are the next three, where the reason says why."""
    sd: float | None
    """Of the error of one vessel of a new subject about the bias: between and within subjects."""
    base: float | None = Field(ge=0, le=_LARGEST)
    """Standard deviation of what the spread over passes does not account for."""
    factor: float | None = Field(ge=0, le=_LARGEST)
    """Root mean square, over subjects, of error / sqrt(base^2 + spread over passes^2); about 1."""
    reason: str
    """Empty, or why there are no numbers."""


class ReviewRule(Contract):
    """Below what expected Dice a person should look at a mask."""

    threshold: float = Field(ge=0, le=1)
    basis: str


class OutOfFoldEvidence(Contract):
    """What a card says of its model's uncertainty, measured on cases its nets had not been trained on."""

    basis: EvidenceBasis
    dataset: str | None = None
    """id@version of the labelled dataset; null on other bases."""
    protocol: str | None
    """Of the folds; null where there were none."""
    selection_biased: bool
    """A search has seen these cases, so that all of it is optimistic."""
    members: int
    """Nets in each prediction; a published ensemble has more."""
    passes: int
    """Of each prediction, views of the default sampler."""
    subjects: int
    cases: int
    vessels: int
    vessels_found: int
    boundary_band: str
    """Width of the boundary band, in words."""
    temperature: Temperature
    calibration: tuple[CalibrationFigure, ...]
    reliability: tuple[ReliabilityDiagram, ...]
    margins: tuple[ConformalMargin, ...]
    residuals: tuple[Residual, ...]
    review: ReviewRule
