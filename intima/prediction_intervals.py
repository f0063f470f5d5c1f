"""Prediction intervals of measures: within what limits the true measure of a new section of a new subject lies.

On held-out sections the error of a measure is known, on a scale on which it is about the same for small and large
vessels: the plain difference for percentages and eccentricities, ln((predicted + c) / (true + c)) for sizes and ratios,
c being the mean true size, so that a layer that is hardly there is judged by its absolute error.

The error has a part that passes show, of their variance v on this image, and a part that they do not, of variance b^2.
b is the most likely one where errors are normal with variance b^2 + v and every subject weighs the same. Adding v to
the whole variance of the errors would count it twice, since v is part of them. With k the root mean square of
error / sqrt(b^2 + v) on the held-out subjects, the interval on the scale is

    value +- t(n) k sqrt(b^2 + v),    n subjects,

since k is a root mean square about zero, of n degrees of freedom, and no mean is taken off that would cost one. The
bias is within k and b: it belongs to one laboratory, and so the value stays inside. What the
interval promises, it promises for sections like the held-out ones.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from intima.arrays import FloatVector
from intima.contracts.evidence import MeasureScale, OutOfFoldEvidence, Residual
from intima.contracts.segmentation import Interval, Measure, VesselMeasures

CONFIDENCE = 0.90
FEWEST_SUBJECTS = 3
_PLAIN = {"stenosis": (0.0, 100.0), "intima_eccentricity": (0.0, 1.0), "media_eccentricity": (0.0, 1.0)}
"""Measures on the plain scale, and what they can be."""
_DENOMINATORS = {
    "intima_media_ratio": "medial_area",
    "stenosis": "iel_area",
    "intima_eccentricity": "intima_thickness_max",
    "media_eccentricity": "media_thickness_max",
}
UNCALIBRATED = (
    "range over passes: each pass measured at the model's resolution and compared with the mean mask there; "
    "not calibrated against truth"
)
_STEPS = np.geomspace(0.1, 3.0, 200)
"""Bases tried, in root mean squares of the errors. From a tenth: a few exact sections, as of a layer that is absent in
both masks, are infinitely likely under a base of zero, and would take the width from all others."""


def scale_of(name: str) -> MeasureScale:
    """Return the scale on which errors of a measure are kept."""
    return "plain" if name in _PLAIN else "log"


def on_scale(value: float, *, scale: MeasureScale, floor: float) -> float:
    """Return a measure on its scale."""
    return value if scale == "plain" else math.log(value + floor)


def spread_on_scale(spread: float, value: float, *, scale: MeasureScale, floor: float) -> float:
    """Return a standard deviation about a value, on the scale."""
    return spread if scale == "plain" else spread / (value + floor)


@dataclass(frozen=True, slots=True)
class Spread:
    """Of errors that passes show in part."""

    base: float
    factor: float


def fit_spread(errors: FloatVector, spreads: FloatVector, weights: FloatVector) -> Spread | None:
    """Return base and factor of errors on the scale; None where there was no error at all.

    Args:
        errors: of each section.
        spreads: standard deviation over passes of each, 0 where there was one pass.
        weights: of each, positive; those of one subject sum to what those of any other do.
    """
    weights = weights / weights.sum()
    rms = math.sqrt(float(weights @ errors**2))
    if rms == 0.0:
        return None
    bases = rms * _STEPS
    variances = bases[:, None] ** 2 + spreads**2
    losses = (np.log(variances) + errors**2 / variances) @ weights
    base = float(bases[losses.argmin()])
    return Spread(base, math.sqrt(float(weights @ (errors**2 / (base**2 + spreads**2)))))


def with_evidence(
    vessels: tuple[VesselMeasures, ...], evidence: OutOfFoldEvidence | None, *, sampler: str
) -> tuple[tuple[VesselMeasures, ...], str]:
    """Return vessels with the intervals that a model's evidence allows, and what the intervals are in words."""
    if sampler == "none":
        return vessels, "none: one pass"
    if evidence is None:
        return vessels, UNCALIBRATED
    return tuple(with_prediction_intervals(vessel, evidence) for vessel in vessels), interval_basis(evidence)


def with_prediction_intervals(vessel: VesselMeasures, evidence: OutOfFoldEvidence) -> VesselMeasures:
    """Return a vessel whose intervals are prediction intervals; a warning names the measures that have none, and why.

    A range over passes is never left standing where a prediction interval is missing: it is not of the same kind.
    """
    residuals = {r.name: r for r in evidence.residuals}
    judged = {m.name: _judged(m, residuals.get(m.name)) for m in vessel.measures if m.value is not None}
    for ratio, denominator in _DENOMINATORS.items():
        if ratio in judged and (below := judged.get(denominator)) and below.reaches_zero:
            judged[ratio] = _Judged(None, f"the interval of its denominator {denominator} includes zero")
    measures = tuple(
        m.model_copy(update={"interval": judged[m.name].interval if m.name in judged else None})
        for m in vessel.measures
    )
    return vessel.model_copy(update={"measures": measures, "warnings": (*vessel.warnings, *_refusals(judged))})


@dataclass(frozen=True, slots=True)
class _Judged:
    interval: Interval | None
    refusal: str = ""
    reaches_zero: bool = False


def _judged(measure: Measure, residual: Residual | None) -> _Judged:
    if residual is None:
        return _Judged(None, "it was not measured on held-out sections")
    if residual.base is None or residual.factor is None or residual.subjects < FEWEST_SUBJECTS:
        return _Judged(None, residual.reason or "there are too few held-out subjects")
    if residual.unit != measure.unit:
        return _Judged(None, f"its errors are known in {residual.unit or 'no unit'} only")
    if measure.pass_sd is None or measure.value is None:
        return _Judged(None, "fewer than two passes have a value")
    if residual.scale == "log" and not measure.value + residual.floor > 0:
        return _Judged(None, "it is 0, and so is the floor of its scale")
    half = _half_width(measure.value, measure.pass_sd, residual)
    low, high = _limits(measure.value, half, residual)
    least, most = _PLAIN.get(measure.name, (0.0, math.inf))
    return _Judged(Interval(low=max(low, least), high=min(high, most)), reaches_zero=low <= 0.0)


def _half_width(value: float, pass_sd: float, residual: Residual) -> float:
    """Return half the width of the interval on the scale."""
    spread = spread_on_scale(pass_sd, value, scale=residual.scale, floor=residual.floor)
    quantile = -float(special.stdtrit(residual.subjects, (1 - CONFIDENCE) / 2))
    return quantile * (residual.factor or 0.0) * math.hypot(residual.base or 0.0, spread)


def _limits(value: float, half: float, residual: Residual) -> tuple[float, float]:
    """Return both ends in the unit of the measure; the value lies between, whatever the rounding."""
    if residual.scale == "plain":
        return value - half, value + half
    grown = (value + residual.floor) * math.expm1(min(half, 50.0))
    shrunk = (value + residual.floor) * -math.expm1(-half)
    return value - shrunk, value + grown


def _refusals(judged: Mapping[str, _Judged]) -> Sequence[str]:
    reasons: dict[str, list[str]] = {}
    for name, found in judged.items():
        if found.interval is None:
            reasons.setdefault(found.refusal, []).append(name)
    return [f"No prediction interval, because {reason}: {', '.join(names)}." for reason, names in reasons.items()]


def interval_basis(evidence: OutOfFoldEvidence) -> str:
    """Say what the intervals of a model with evidence are."""
    biased = "; a search has seen those sections, so that they are too narrow" if evidence.selection_biased else ""
    return (
        f"{CONFIDENCE:.0%} prediction interval of the measure of one section of a new subject: errors on "
        f"{evidence.cases} sections of {evidence.subjects} subjects ({evidence.basis}) and the spread over passes; "
        f"for sections like those{biased}"
    )
