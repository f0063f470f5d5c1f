"""Gather what one held-out case says, by the path that serves: mean over passes, brought to the native size."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from intima.arrays import BinaryMask, LabelMask, Logits
from intima.borders import Scale, boundary_distance
from intima.conformal import reach
from intima.contracts.dataset import PixelSize
from intima.contracts.evidence import Detection, HeldOutCase, MeasuredPair
from intima.contracts.segmentation import VesselMeasures
from intima.geometry import MicronsPerPixel, Size
from intima.labels import LabelSchema
from intima.matching import SAME_VESSEL, match_vessels
from intima.morphometry import measure_vessels
from intima.ranges import Passes, with_ranges
from intima.rasters import as_raster
from intima.reliability import AtTemperature, measure_temperatures
from intima.resampling import Strip, upsample_logits
from intima.review import expected_foreground_dice, expected_overlap
from intima.selective import detect_errors
from intima.temperature import AT_ONE, OCTAVES, log_probabilities
from intima.uncertainty import PassStatistics, joined, summarise_passes

BAND_UM, BAND_PX = 5.0, 3.0
"""Half width of the boundary band with and without a pixel size, as in explanations."""
BOUNDARY_BAND = f"within {BAND_UM:g} µm of a true boundary on either side, {BAND_PX:g} px without a pixel size"
FOREGROUND = "foreground"
_MOST_PIXELS = 2**19
"""Of a case that calibration looks at; larger cases are thinned by whole rows and columns."""
_MOST_DETECTED = 2**18


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A case its net has not been trained on."""

    case: str
    subject: str
    mpp: PixelSize | None
    truth: LabelMask
    """Native resolution."""
    schema: LabelSchema


def gather_case(held: HeldOut, strips: Iterable[Strip]) -> HeldOutCase:
    """Return what a case says.

    Args:
        held: the case.
        strips: first row and (passes * classes, rows, width) logits, from top to bottom, at the working resolution.

    Raises:
        Invalid: the net has diverged: a logit is not finite.
    """
    classes = len(held.schema)
    height, width = held.truth.shape
    done = joined([summarise_passes(stacked, classes=classes) for _, stacked in strips])
    logits = upsample_logits(log_probabilities(done.probabilities), Size(width, height))
    predicted: LabelMask = logits.argmax(axis=0).astype(np.uint8)
    stride = max(1, math.ceil(math.sqrt(held.truth.size / _MOST_PIXELS)))
    measured = _measure(held, logits, predicted, stride=stride)
    at_one = measured[AT_ONE]
    foreground = [m.bins[FOREGROUND] for m in measured if FOREGROUND in m.bins]
    vessels, pairs = _pairs(held, predicted, done)
    return HeldOutCase(
        case=held.case,
        subject=held.subject,
        mpp=held.mpp,
        passes=len(done.labels),
        stride=stride,
        pixels=sum(at_one.bins["all"].pixels),
        foreground_pixels=sum(foreground[0].pixels) if foreground else 0,
        nll=_short(m.nll for m in measured),
        nll_foreground=_short(m.nll_foreground for m in measured if m.nll_foreground is not None) or None,
        brier=_short(m.brier for m in measured),
        ece={group: _short(m.ece[group] for m in measured) for group in at_one.ece},
        reliability=at_one.bins,
        reliability_foreground=tuple(foreground),
        detection=tuple(_detection(m, held.truth[::stride, ::stride].ravel()) for m in measured[OCTAVES]),
        dice=_foreground_dice(held.truth, predicted),
        expected_dice=tuple(expected_foreground_dice(expected_overlap(m.probabilities)) for m in measured),
        reach_px=dict(_reaches(held, predicted)),
        vessels=vessels,
        vessels_found=len({p.vessel for p in pairs}),
        pairs=tuple(pairs),
    )


def _short(values: Iterator[float]) -> tuple[float, ...]:
    """Return numbers to six digits, which is what they are good for."""
    return tuple(float(f"{value:.6g}") for value in values)


def _measure(held: HeldOut, logits: Logits, predicted: LabelMask, *, stride: int) -> list[AtTemperature]:
    thinned = (slice(None, None, stride), slice(None, None, stride))
    scale = Scale.of(held.mpp, band_um=BAND_UM, band_px=BAND_PX)
    band = boundary_distance(held.truth, pixel=scale.pixel) <= scale.band
    truth, seen = held.truth[thinned].ravel(), predicted[thinned].ravel()
    return measure_temperatures(
        logits[:, *thinned].reshape(len(logits), -1),
        truth,
        groups={
            "all": np.ones(len(truth), bool),
            FOREGROUND: (truth > 0) | (seen > 0),
            "boundary": band[thinned].ravel(),
        },
        classes=[c.name for c in held.schema.classes],
    )


def _detection(measured: AtTemperature, truth: NDArray[np.uint8]) -> Detection:
    step = max(1, math.ceil(len(truth) / _MOST_DETECTED))
    probabilities = measured.probabilities[:, ::step]
    entropy = np.maximum(-xlogy(probabilities, probabilities).sum(axis=0), 0).astype(np.float32)
    found = detect_errors(entropy, probabilities.argmax(axis=0) != truth[::step])
    removed = (None, None) if found.removed is None else found.removed
    return Detection(
        error_rate=found.error_rate,
        auroc=found.auroc,
        aurc=found.aurc,
        excess_aurc=found.excess_aurc,
        removed_12=removed[0],
        removed_25=removed[1],
    )


def _foreground_dice(truth: LabelMask, predicted: LabelMask) -> float | None:
    total = np.count_nonzero(truth) + np.count_nonzero(predicted)
    return 2 * np.count_nonzero((truth == predicted) & (truth > 0)) / total if total else None


def _reaches(held: HeldOut, predicted: LabelMask) -> Iterator[tuple[str, float | None]]:
    """Yield the reach of the foreground and of each class, where the truth has it; None where it was missed."""
    masks: list[tuple[str, BinaryMask, BinaryMask]] = [(FOREGROUND, held.truth > 0, predicted > 0)]
    masks += [(f"class:{c.name}", held.truth == c.index, predicted == c.index) for c in held.schema.foreground]
    for name, true, found in masks:
        if true.any():
            pixels = reach(true, found)
            yield name, None if math.isinf(pixels) else round(pixels, 3)


def _pairs(held: HeldOut, predicted: LabelMask, done: PassStatistics) -> tuple[int, list[MeasuredPair]]:
    """Return the number of true vessels and the measures of those that were found, in both."""
    mpp = None if held.mpp is None else MicronsPerPixel(held.mpp, held.mpp)
    true = measure_vessels(held.truth, schema=held.schema, mpp=mpp)
    if not true:
        return 0, []
    found = measure_vessels(predicted, schema=held.schema, mpp=mpp)
    if len(done.labels) > 1:
        passes = _passes(done, Size(held.truth.shape[1], held.truth.shape[0]), schema=held.schema, mpp=mpp)
        found = tuple(with_ranges(vessel, passes) for vessel in found)
    matched = match_vessels(true, found, least=SAME_VESSEL)
    return len(true), [pair for vessel, other in matched if other is not None for pair in _pairs_of(vessel, other)]


def _passes(done: PassStatistics, native: Size, *, schema: LabelSchema, mpp: MicronsPerPixel | None) -> Passes:
    height, width = done.entropy.shape
    scale_x, scale_y = width / native.width, height / native.height
    return Passes(
        mean_mask=as_raster(done.probabilities.argmax(axis=0).astype(np.uint8)),
        labels=[as_raster(labels) for labels in done.labels],
        schema=schema,
        mpp=None if mpp is None else MicronsPerPixel(mpp.x / scale_x, mpp.y / scale_y),
        scale_x=scale_x,
        scale_y=scale_y,
    )


def _pairs_of(vessel: VesselMeasures, found: VesselMeasures) -> Iterator[MeasuredPair]:
    """Yield the measures that have a value in both."""
    predicted = {m.name: m for m in found.measures}
    for true in vessel.measures:
        match = predicted[true.name]
        if true.value is not None and match.value is not None:
            yield MeasuredPair(
                vessel=vessel.vessel,
                name=true.name,
                predicted=match.value,
                truth=true.value,
                unit=true.unit,
                pass_sd=match.pass_sd,
            )
