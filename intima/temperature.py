"""Temperature: one number by which logits are divided before the softmax, so that confidence means what it says.

Fitted on held-out subjects by the least negative log-likelihood (Guo et al. 2017), averaged over subjects. Each case
keeps its likelihood at every temperature of a grid, which is enough to fit later without pixels. Dividing all logits
of a pixel by one number never changes which is largest, so that masks and measures stay as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from intima.arrays import FloatVector
from intima.errors import Invalid

TEMPERATURES = tuple(2.0 ** (step / 5) for step in range(-10, 16))
"""A quarter to 8, five to the octave."""
AT_ONE = 10
"""Where 1 stands in it."""
OCTAVES = slice(0, None, 5)
"""A quarter, a half, 1, 2, 4, 8."""
_LEAST = np.finfo(np.float32).tiny


@dataclass(frozen=True, slots=True)
class Fit:
    """The temperature of the least mean likelihood loss."""

    temperature: float
    bounded: bool
    """True where it lies at an end of the grid: the true one may lie beyond."""


def log_probabilities(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what masks are decided by: the logarithm of mean probabilities, 0 taken for the least float32."""
    return np.log(np.maximum(probabilities, _LEAST))


def tempered(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return probabilities (classes, ...) after temperature; at 1 they come back as they are.

    Raises:
        Invalid: the temperature is not a positive number.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise Invalid(f"Got a temperature of {temperature}; need a positive number.")
    if temperature == 1.0:
        return probabilities
    logits = log_probabilities(probabilities) / np.float32(temperature)
    weights = np.exp(logits - logits.max(axis=0))
    result: NDArray[np.float32] = weights / weights.sum(axis=0)
    return result


def fit_temperature(losses: NDArray[np.float64]) -> Fit:
    """Return the temperature with the least mean loss.

    Args:
        losses: (subjects, temperatures) mean negative log-likelihood of each subject on the grid; at least one subject.
            Between temperatures the mean is a cubic spline in their logarithm.

    Raises:
        Invalid: a loss is not finite, or their number is not that of the grid.
    """
    if losses.ndim != 2 or losses.shape[1] != len(TEMPERATURES) or not len(losses) or not np.isfinite(losses).all():
        raise Invalid(f"Got losses of shape {losses.shape}; need finite (subjects, {len(TEMPERATURES)}).")
    mean, at = losses.mean(axis=0), np.log(TEMPERATURES)
    best = int(mean.argmin())
    if best in (0, len(mean) - 1):
        return Fit(TEMPERATURES[best], bounded=True)
    turns = CubicSpline(at, mean).derivative().roots(extrapolate=False)
    near = [t for t in turns if at[best - 1] <= t <= at[best + 1]] or [at[best]]
    return Fit(float(np.exp(min(near, key=lambda t: abs(t - at[best])))), bounded=False)


def at_temperature(values: Sequence[float] | FloatVector, temperature: float) -> float:
    """Return what has been measured on the grid, or on its octaves, at a temperature; linear in its logarithm."""
    grid = TEMPERATURES if len(values) == len(TEMPERATURES) else TEMPERATURES[OCTAVES]
    return float(np.interp(np.log(temperature), np.log(grid), values))


def fit_without_each(losses: NDArray[np.float64]) -> FloatVector:
    """Return for each subject the temperature fitted to all others; at least two subjects. Raises Invalid."""
    if len(losses) < 2:
        raise Invalid(f"Got {len(losses)} subject; need at least 2 to leave one out.")
    return np.array([fit_temperature(np.delete(losses, k, axis=0)).temperature for k in range(len(losses))])


def nearest_temperature(temperature: float) -> int:
    """Return where the nearest temperature of the grid stands."""
    return int(np.abs(np.log(TEMPERATURES) - np.log(temperature)).argmin())
