"""Reliability of probabilities at every temperature of a grid, from the logits of one case.

With the largest logit of a pixel taken off, the softmax at temperature T is e^(z/T) / s and its largest entry is 1 / s,
so one exponential and one sum give confidence, likelihood and Brier score. Bins are those of ``intima.calibration``. By
class, a pixel is sorted by its probability of the class and is right where that is the truth; the class-wise error is
the mean over classes (Kull et al. 2019). The adaptive error has 15 bins of equal numbers of pixels (Nguyen &
O'Connor 2015).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from intima.arrays import BinaryMask, FloatVector
from intima.calibration import BINS
from intima.contracts.evidence import Reliability
from intima.errors import Invalid
from intima.temperature import TEMPERATURES

Bins: TypeAlias = tuple[FloatVector, FloatVector, FloatVector]
"""Pixels, right ones, sum of the probability."""


@dataclass(frozen=True, slots=True)
class AtTemperature:
    """What one temperature makes of a case."""

    nll: float
    nll_foreground: float | None
    brier: float
    ece: dict[str, float]
    """By group."""
    bins: dict[str, Reliability]
    """By group."""
    probabilities: NDArray[np.float32]
    """(classes, pixels)."""


def measure_temperatures(
    logits: NDArray[np.float32],
    truth: NDArray[np.uint8],
    *,
    groups: Mapping[str, BinaryMask],
    classes: Sequence[str],
    temperatures: Sequence[float] = TEMPERATURES,
) -> list[AtTemperature]:
    """Measure one case at every temperature.

    Args:
        logits: (classes, pixels).
        truth: (pixels,) class indices.
        groups: by name, (pixels,) which belong; "foreground" is one of them.
        classes: names in the order of the logits.
        temperatures: positive.

    Raises:
        Invalid: the net has diverged: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise Invalid("The net has diverged: its logits are not finite.", code="diverged")
    centred = logits - logits.max(axis=0)
    of_truth = np.take_along_axis(centred, truth[None].astype(np.intp), axis=0)[0]
    right = centred.argmax(axis=0) == truth
    case = _Case(centred, of_truth, truth, right, dict(groups), tuple(classes))
    return [_measure(case, np.float32(t)) for t in temperatures]


@dataclass(frozen=True, slots=True)
class _Case:
    centred: NDArray[np.float32]
    of_truth: NDArray[np.float32]
    truth: NDArray[np.uint8]
    right: BinaryMask
    groups: dict[str, BinaryMask]
    classes: tuple[str, ...]


def _measure(case: _Case, temperature: np.float32) -> AtTemperature:
    weights = np.exp(case.centred / temperature)
    total = weights.sum(axis=0)
    probabilities = weights / total
    losses = np.log(total) - case.of_truth / temperature
    squares = np.einsum("cp,cp->p", probabilities, probabilities)
    of_truth = np.exp(case.of_truth / temperature) / total
    confidence = 1 / total
    foreground = case.groups["foreground"]
    bins = {name: sort_into_bins(confidence[g], case.right[g]) for name, g in case.groups.items() if g.any()}
    by_class = {
        f"class:{name}": sort_into_bins(probabilities[c], case.truth == c) for c, name in enumerate(case.classes)
    }
    ece = {name: error_of_bins(b) for name, b in (bins | by_class).items()}
    ece["classwise"] = float(np.mean([ece[name] for name in by_class]))
    if foreground.any():
        ece["foreground_adaptive"] = adaptive_error(confidence[foreground], case.right[foreground])
    return AtTemperature(
        nll=float(losses.mean(dtype=np.float64)),
        nll_foreground=float(losses[foreground].mean(dtype=np.float64)) if foreground.any() else None,
        brier=max(0.0, float((squares - 2 * of_truth + 1).mean(dtype=np.float64))),
        ece=ece,
        bins={name: as_reliability(b) for name, b in (bins | by_class).items()},
        probabilities=probabilities,
    )


def sort_into_bins(confidence: NDArray[np.float32], right: BinaryMask) -> Bins:
    """Return pixels, right pixels and summed confidence of each bin."""
    at = np.clip(np.ceil(confidence * BINS).astype(np.intp) - 1, 0, BINS - 1)
    return (
        np.bincount(at, minlength=BINS).astype(np.float64),
        np.bincount(at, weights=right, minlength=BINS).astype(np.float64),
        np.bincount(at, weights=confidence, minlength=BINS).astype(np.float64),
    )


def error_of_bins(bins: Bins) -> float:
    """Return the expected calibration error of bins that hold at least one pixel."""
    pixels, right, confidence = bins
    return float(np.abs(right - confidence).sum() / pixels.sum())


def adaptive_error(confidence: NDArray[np.float32], right: BinaryMask) -> float:
    """Return the calibration error over bins of equal numbers of pixels; at least one pixel.

    Pixels of equal confidence are taken in the order they come in, so that bins stay equal.
    """
    order = np.argsort(confidence, kind="stable")
    edges = np.linspace(0, len(order), min(BINS, len(order)) + 1).astype(np.intp)[:-1]
    gaps = right[order].astype(np.float64) - confidence[order]
    return float(np.abs(np.add.reduceat(gaps, edges)).sum() / len(order))


def as_reliability(bins: Bins) -> Reliability:
    """Return bins as they are stored."""
    pixels, right, confidence = bins
    return Reliability(
        pixels=tuple(int(n) for n in pixels),
        right=tuple(int(n) for n in right),
        confidence=tuple(round(c, 2) for c in confidence.tolist()),
    )


def add_reliability(parts: Sequence[Reliability]) -> Reliability:
    """Return the bins of several cases together; at least one case."""
    return Reliability(
        pixels=tuple(sum(n) for n in zip(*(p.pixels for p in parts), strict=True)),
        right=tuple(sum(n) for n in zip(*(p.right for p in parts), strict=True)),
        confidence=tuple(round(sum(c), 2) for c in zip(*(p.confidence for p in parts), strict=True)),
    )
