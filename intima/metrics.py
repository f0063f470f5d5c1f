"""Scores of a predicted mask against the truth, per class and per case. Definitions and rules stand here.

Overlap: Dice 2|A∩B|/(|A|+|B|) and IoU |A∩B|/|A∪B| from pixel counts. The tolerant Dice first takes borders as right
that are displaced by at most the tolerance of the NSD (``intima.borders``): thin rings lose much Dice to them and
little else, so that two models may differ in Dice and not in substance. Calibration: ``intima.calibration``.

Borders: a border pixel belongs to the class and has a 4-neighbour that does not; outside the image counts
as "does not". Distances run between pixel centres. HD95 is the larger of the two directed 95th percentiles
(linear interpolation), the definition of MONAI and MetricsReloaded; it is neither the pooled percentile nor
the surfel-weighted one. NSD is the share of both borders that lies within the tolerance of the other.

Empty masks: empty in both, no value (the case is skipped and counted). Empty in one: 0 for Dice, IoU and
NSD, the image diagonal for HD95, and -1 (missed) or +1 (invented) for the area error. A prediction
without media or without an internal elastic lamina misses I/M or stenosis entirely: the error is
max(true I/M, 1) or 100 percentage points. Missing a structure is therefore never rewarded.

Without a pixel size HD95, NSD and its tolerance are in pixels and the unit says so.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from intima.arrays import BinaryMask, FloatVector, LabelMask
from intima.borders import Scale, displaced_borders
from intima.calibration import Calibration, measure_calibration
from intima.errors import Invalid
from intima.labels import LUMEN, MACRO, MEDIA, NEOINTIMA, LabelSchema


@dataclass(frozen=True, slots=True)
class CaseScore:
    """One score of one case."""

    class_name: str
    """Name of a foreground class, or "macro"."""
    metric: str
    """A key of METRICS."""
    value: float | None
    """None where the rule of the metric skips the case; never NaN."""
    unit: str
    """"" for a ratio, "µm" or "px" for a length, "%" for percentage points; NSD: ratio at its tolerance."""


@dataclass(frozen=True)
class CaseEvidence:
    """What the scores of one case are computed from; costly parts when a metric first asks for them."""

    truth: LabelMask
    predicted: LabelMask
    scale: Scale

    @cached_property
    def forgiven(self) -> LabelMask:
        """The prediction once borders displaced by at most the tolerance are taken as right."""
        displaced = displaced_borders(self.truth, self.predicted, scale=self.scale)
        return np.where(displaced, self.truth, self.predicted)

    def of(self, index: int) -> "ClassEvidence":
        """Return what the scores of one class are computed from."""
        return ClassEvidence(self, index, truth=self.truth == index, predicted=self.predicted == index)


@dataclass(frozen=True)
class ClassEvidence:
    """What the scores of one class are computed from."""

    case: CaseEvidence
    index: int
    truth: BinaryMask
    predicted: BinaryMask

    @cached_property
    def truth_px(self) -> int:
        """Number of true pixels."""
        return int(np.count_nonzero(self.truth))

    @cached_property
    def predicted_px(self) -> int:
        """Number of predicted pixels."""
        return int(np.count_nonzero(self.predicted))

    @cached_property
    def both_px(self) -> int:
        """Number of pixels that are both."""
        return int(np.count_nonzero(self.truth & self.predicted))

    @cached_property
    def forgiven(self) -> BinaryMask:
        """Predicted pixels once borders displaced by at most the tolerance are taken as right."""
        return np.asarray(self.case.forgiven == self.index)

    @cached_property
    def distances(self) -> tuple[FloatVector, FloatVector]:
        """Distance in µm or px of every true border pixel to the predicted border, and the other way round.

        Both empty if either mask is.
        """
        to_predicted, to_truth = border_distances(self.truth, self.predicted)
        return to_predicted * self.case.scale.pixel, to_truth * self.case.scale.pixel

    @property
    def both_empty(self) -> bool:
        """Tell whether the class occurs in neither mask."""
        return self.truth_px == 0 and self.predicted_px == 0

    @property
    def one_empty(self) -> bool:
        """Tell whether the class occurs in exactly one of the masks."""
        return (self.truth_px == 0) != (self.predicted_px == 0)


@dataclass(frozen=True, slots=True)
class LayerAreas:
    """Areas of the three arterial layers over the whole mask, in pixels."""

    lumen: int
    neointima: int
    media: int

    @property
    def intima_media_ratio(self) -> float | None:
        """Neointima / media; None without media."""
        return self.neointima / self.media if self.media else None

    @property
    def stenosis_percent(self) -> float | None:
        """100 neointima / (lumen + neointima); None without both."""
        iel = self.lumen + self.neointima
        return 100.0 * self.neointima / iel if iel else None


def dice(evidence: ClassEvidence) -> float | None:
    """Return 2|A∩B|/(|A|+|B|)."""
    if evidence.both_empty:
        return None
    return 2.0 * evidence.both_px / (evidence.truth_px + evidence.predicted_px)


def tolerant_dice(evidence: ClassEvidence) -> float | None:
    """Return the Dice with borders displaced by at most the tolerance taken as right: what is lost is substance."""
    if evidence.both_empty:
        return None
    forgiven_px, both_px = (np.count_nonzero(mask) for mask in (evidence.forgiven, evidence.forgiven & evidence.truth))
    return 2.0 * both_px / (evidence.truth_px + forgiven_px)


def iou(evidence: ClassEvidence) -> float | None:
    """Return |A∩B|/|A∪B|."""
    if evidence.both_empty:
        return None
    return evidence.both_px / (evidence.truth_px + evidence.predicted_px - evidence.both_px)


def hd95(evidence: ClassEvidence) -> float | None:
    """Return the larger of the two directed 95th percentiles of border distance."""
    if evidence.both_empty:
        return None
    if evidence.one_empty:
        return math.hypot(*evidence.truth.shape) * evidence.case.scale.pixel
    return float(max(np.percentile(distances, 95) for distances in evidence.distances))


def nsd(evidence: ClassEvidence) -> float | None:
    """Return the share of both borders within the tolerance of the other border."""
    if evidence.both_empty:
        return None
    if evidence.one_empty:
        return 0.0
    return float(np.mean(np.concatenate(evidence.distances) <= evidence.case.scale.band))


def area_error(evidence: ClassEvidence) -> float | None:
    """Return (predicted - true) / true area: signed, so that the macro mean may cancel."""
    if evidence.both_empty:
        return None
    if evidence.truth_px == 0:
        return 1.0
    return (evidence.predicted_px - evidence.truth_px) / evidence.truth_px


def im_error(truth: LayerAreas, predicted: LayerAreas) -> float | None:
    """Return the absolute error of the intima/media ratio."""
    true_ratio, ratio = truth.intima_media_ratio, predicted.intima_media_ratio
    if true_ratio is None:
        return None
    return max(true_ratio, 1.0) if ratio is None else abs(ratio - true_ratio)


def stenosis_error(truth: LayerAreas, predicted: LayerAreas) -> float | None:
    """Return the absolute error of the stenosis in percentage points."""
    true_percent, percent = truth.stenosis_percent, predicted.stenosis_percent
    if true_percent is None:
        return None
    return 100.0 if percent is None else abs(percent - true_percent)


@dataclass(frozen=True, slots=True)
class ClassMetric:
    """A metric of one class."""

    score: Callable[[ClassEvidence], float | None]
    larger_is_better: bool | None
    """None for a signed error: nearer to 0 is better."""
    is_length: bool = False


@dataclass(frozen=True, slots=True)
class ArteryMetric:
    """A metric of a whole case of an arterial schema; its class is "macro"."""

    score: Callable[[LayerAreas, LayerAreas], float | None]
    unit: str
    larger_is_better: bool | None = False


@dataclass(frozen=True, slots=True)
class CaseMetric:
    """A metric of the probabilities of a whole case; its class is "macro"."""

    score: Callable[[Calibration], float | None]
    larger_is_better: bool | None = False


METRICS: dict[str, ClassMetric | ArteryMetric | CaseMetric] = {
    "dice": ClassMetric(dice, larger_is_better=True),
    "iou": ClassMetric(iou, larger_is_better=True),
    "hd95": ClassMetric(hd95, larger_is_better=False, is_length=True),
    "nsd": ClassMetric(nsd, larger_is_better=True),
    "area_error": ClassMetric(area_error, larger_is_better=None),
    "im_error": ArteryMetric(im_error, unit=""),
    "stenosis_error": ArteryMetric(stenosis_error, unit="%"),
    "tolerant_dice": ClassMetric(tolerant_dice, larger_is_better=True),
    "ece": CaseMetric(attrgetter("ece")),
    "ece_foreground": CaseMetric(attrgetter("ece_foreground")),
    "brier": CaseMetric(attrgetter("brier")),
}
"""Every metric by its name in scores.csv."""
OF_PROBABILITIES = frozenset(name for name, metric in METRICS.items() if isinstance(metric, CaseMetric))
"""Metrics that have no value without probabilities."""


def score_case(
    truth: LabelMask,
    predicted: LabelMask,
    *,
    schema: LabelSchema,
    mpp: float | None,
    nsd_tolerance_um: float = 2.0,
    probabilities: NDArray[np.float32] | None = None,
    metrics: Collection[str] = tuple(METRICS),
) -> list[CaseScore]:
    """Score one case by metrics, as far as its schema defines them.

    Args:
        truth: true mask at native resolution.
        predicted: predicted mask of the same shape.
        schema: classes of both masks; index 0 is background and is not scored.
        mpp: micrometres per pixel; None when unknown, then lengths are in pixels.
        nsd_tolerance_um: tolerance of the NSD and of the tolerant Dice in µm, or in pixels without ``mpp``.
        probabilities: (classes, height, width) behind the prediction; None leaves the calibration out.
        metrics: keys of METRICS.

    Raises:
        Invalid: shapes differ, a mask is empty or holds a value the schema does not know, or a length is
            not positive and finite, or a metric does not exist.
    """
    _check(truth, predicted, schema=schema, mpp=mpp, tolerance=nsd_tolerance_um)
    if isinstance(metrics, str) or not METRICS.keys() >= set(metrics):
        raise Invalid(f"Got metrics {metrics!r}; there are {', '.join(METRICS)}.")
    scale = Scale.of(mpp, band_um=nsd_tolerance_um, band_px=nsd_tolerance_um)
    case = CaseEvidence(truth, predicted, scale)
    evidence = {c.name: case.of(c.index) for c in schema.foreground}
    calibration = None
    if probabilities is not None and not OF_PROBABILITIES.isdisjoint(metrics):
        calibration = measure_calibration(probabilities, truth)
    scores = []
    for name, metric in METRICS.items():
        if name not in metrics:
            continue
        if isinstance(metric, ClassMetric):
            unit = scale.unit if metric.is_length else ""
            scores += _class_scores(name, metric, evidence, unit=unit)
        elif isinstance(metric, CaseMetric):
            scores += [] if calibration is None else [CaseScore(MACRO, name, metric.score(calibration), "")]
        elif evidence.keys() >= {LUMEN, NEOINTIMA, MEDIA}:
            true_areas, predicted_areas = _layer_areas(evidence)
            scores.append(CaseScore(MACRO, name, metric.score(true_areas, predicted_areas), metric.unit))
    return scores


def _class_scores(name: str, metric: ClassMetric, evidence: dict[str, ClassEvidence], *, unit: str) -> list[CaseScore]:
    rows = [CaseScore(class_name, name, metric.score(e), unit) for class_name, e in evidence.items()]
    values = [r.value for r in rows if r.value is not None]
    return [*rows, CaseScore(MACRO, name, math.fsum(values) / len(values) if values else None, unit)]


def border_distances(first: BinaryMask, second: BinaryMask) -> tuple[FloatVector, FloatVector]:
    """Return the distance in pixels of each border pixel of one mask to the border of the other.

    Returns:
        first to second and second to first, in raster order; both empty if either mask is.
    """
    if not (first.any() and second.any()):
        return np.zeros(0), np.zeros(0)
    box = ndimage.find_objects((first | second).astype(np.uint8))[0]
    a, b = _border(first[box]), _border(second[box])
    from_a: FloatVector = ndimage.distance_transform_edt(~b)[a]
    from_b: FloatVector = ndimage.distance_transform_edt(~a)[b]
    return from_a, from_b


def _border(mask: BinaryMask) -> BinaryMask:
    border: BinaryMask = mask & ~ndimage.binary_erosion(mask)
    return border


def _layer_areas(evidence: dict[str, ClassEvidence]) -> tuple[LayerAreas, LayerAreas]:
    layers = [evidence[name] for name in (LUMEN, NEOINTIMA, MEDIA)]
    return LayerAreas(*(e.truth_px for e in layers)), LayerAreas(*(e.predicted_px for e in layers))


def _check(truth: LabelMask, predicted: LabelMask, *, schema: LabelSchema, mpp: float | None, tolerance: float) -> None:
    if truth.shape != predicted.shape or truth.ndim != 2 or truth.size == 0:
        raise Invalid(f"Got masks of shape {truth.shape} and {predicted.shape}; need two equal (height, width).")
    for name, mask in (("truth", truth), ("prediction", predicted)):
        if int(mask.min()) < 0 or int(mask.max()) >= len(schema):
            raise Invalid(f"Got value {int(mask.max())} in the {name}; the schema has 0 to {len(schema) - 1}.")
    if mpp is not None and not (math.isfinite(mpp) and mpp > 0):
        raise Invalid(f"Got a pixel size of {mpp} µm; need a positive number.", code="bad_pixel_size")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise Invalid(f"Got an NSD tolerance of {tolerance}; need 0 or more.")
