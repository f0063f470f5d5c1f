"""Between working and native resolution.

Shrinking averages each target pixel's footprint, growing is bilinear with half-pixel centres. Masks come of class
scores that were resampled, never of labels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from intima.arrays import Logits, RgbImage
from intima.geometry import Size

Strip: TypeAlias = tuple[int, Logits]
"""First row in working pixels, and (channels, rows, width) class scores. Strips follow each other without gaps."""


def resample_image(image: RgbImage, size: Size) -> RgbImage:
    """Resample an image to a size; a box filter as wide as the reduction comes first, so nothing aliases."""
    out = resample_planes(np.moveaxis(image.astype(np.float32), 2, 0), size)
    return np.moveaxis(np.clip(np.rint(out), 0, 255).astype(np.uint8), 0, 2)


def resample_planes(planes: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """Resample (planes, height, width) by area averaging when shrinking and bilinearly when growing."""
    return _along(_along(planes, size.height, axis=1), size.width, axis=2)


def upsample_logits(logits: Logits, size: Size) -> Logits:
    """Resample (channels, height, width) logits to the native size: bilinear, half-pixel centres; means if smaller."""
    return resample_planes(logits, size)


def _along(planes: NDArray[np.float32], length: int, *, axis: int) -> NDArray[np.float32]:
    if planes.shape[axis] == length:
        return planes
    if length > planes.shape[axis]:
        return _linear(planes, length, axis=axis)
    return _area(planes, length, axis=axis)


def _linear(planes: NDArray[np.float32], length: int, *, axis: int) -> NDArray[np.float32]:
    source = linear_positions(length, planes.shape[axis])
    low = np.floor(source).astype(np.intp)
    high = np.minimum(low + 1, planes.shape[axis] - 1)
    shape = [1] * planes.ndim
    shape[axis] = length
    fraction = (source - low).astype(np.float32).reshape(shape)
    out: NDArray[np.float32] = np.take(planes, low, axis) * (1 - fraction) + np.take(planes, high, axis) * fraction
    return out


def linear_positions(length: int, source_length: int) -> NDArray[np.float64]:
    """Return where target pixel centres lie in source pixels, clamped to the first and last centre."""
    positions = (np.arange(length) + 0.5) * (source_length / length) - 0.5
    return np.clip(positions, 0.0, source_length - 1.0)


def _area(planes: NDArray[np.float32], length: int, *, axis: int) -> NDArray[np.float32]:
    """Mean over each target pixel's footprint, from the running integral (exact for fractional footprints)."""
    integral = np.concatenate(
        [np.zeros_like(np.take(planes, [0], axis), np.float64), np.cumsum(planes, axis, dtype=np.float64)], axis
    )
    edges = np.linspace(0.0, planes.shape[axis], length + 1)
    low = np.minimum(np.floor(edges).astype(np.intp), planes.shape[axis])
    high = np.minimum(low + 1, planes.shape[axis])
    shape = [1] * planes.ndim
    shape[axis] = length + 1
    fraction = (edges - low).reshape(shape)
    at_edges = np.take(integral, low, axis) * (1 - fraction) + np.take(integral, high, axis) * fraction
    out: NDArray[np.float32] = (np.diff(at_edges, axis=axis) * (length / planes.shape[axis])).astype(np.float32)
    return out


@dataclass(frozen=True, slots=True)
class Resampling:
    """What each pixel of a part of a long axis takes of a shorter or longer one, as ``resample_planes`` does."""

    first: NDArray[np.intp]
    """Its first source pixel."""
    weights: NDArray[np.float32]
    """(pixels, taps) of that pixel and those after it."""

    @classmethod
    def between(cls, source: int, target: int, *, part: slice | None = None) -> "Resampling":
        """Return how ``target`` pixels, or a part of them, come of ``source`` pixels."""
        first, weights = _taps(target, source)
        return cls(first, weights) if part is None else cls(first[part], weights[part])

    @property
    def needed(self) -> slice:
        """The source pixels that are used."""
        taps = np.where(self.weights > 0, np.arange(self.weights.shape[1]), 0).max(axis=1)
        return slice(int(self.first.min()), int((self.first + taps).max()) + 1)

    def moved(self, by: int) -> "Resampling":
        """Return the same where source pixel ``by`` is called 0."""
        return Resampling(self.first - by, self.weights)


def label_strips(
    strips: Iterator[Strip], *, down: Resampling, across: Resampling
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Turn strips of class scores into strips of native-resolution labels, resampled as ``upsample_logits`` does.

    Args:
        strips: (first row, (classes, rows, width)) from top to bottom, in working pixels.
        down: what each native row takes of the working rows.
        across: what each native column takes of the working columns.

    Yields:
        First native row and (rows, native width) class indices, from top to bottom without gaps.
    """
    first, weights = down.first, down.weights
    needed = first + np.where(weights > 0, np.arange(weights.shape[1]), 0).max(axis=1)
    carried: NDArray[np.float32] | None = None
    carried_top, next_row = 0, 0
    for top, scores in strips:
        carried_top = top if carried is None else carried_top
        block = scores if carried is None else np.concatenate([carried, scores], axis=1)
        last = int(np.searchsorted(needed, top + scores.shape[1]))
        if last > next_row:
            rows = slice(next_row, last)
            yield next_row, _label_rows(block, first[rows] - carried_top, weights[rows], across)
        keep = max(0, int(first[min(last, len(first) - 1)]) - carried_top)
        carried, carried_top, next_row = block[:, keep:], carried_top + keep, max(last, next_row)


def _taps(length: int, source_length: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return what ``resample_planes`` takes for each target row: its first source row, and (length, taps) weights."""
    if length >= source_length:
        positions = linear_positions(length, source_length)
        first = np.floor(positions).astype(np.intp)
        fraction = (positions - first).astype(np.float32)
        return first, np.stack([1 - fraction, fraction], axis=1)
    edges = np.linspace(0.0, source_length, length + 1)
    first = np.floor(edges[:-1]).astype(np.intp)
    rows = first[:, None] + np.arange(math.ceil(source_length / length) + 1)
    covered = np.minimum(rows + 1, edges[1:, None]) - np.maximum(rows, edges[:-1, None])
    return first, (np.maximum(covered, 0.0) * (length / source_length)).astype(np.float32)


_MIXED_AT_ONCE = 2**22
"""Class scores at native resolution held at once."""


def _label_rows(
    block: NDArray[np.float32], first: NDArray[np.intp], weights: NDArray[np.float32], across: Resampling
) -> NDArray[np.uint8]:
    width = len(across.first)
    out = np.empty((len(first), width), np.uint8)
    step = max(1, _MIXED_AT_ONCE // (len(block) * width))
    for start in range(0, len(first), step):
        at, weight = first[start : start + step], weights[start : start + step]
        mixed = _weighted(block, at, weight[:, :, None], axis=1)
        out[start : start + len(at)] = _weighted(mixed, across.first, across.weights, axis=2).argmax(0)
    return out


def _weighted(
    planes: NDArray[np.float32], first: NDArray[np.intp], weights: NDArray[np.float32], *, axis: int
) -> NDArray[np.float32]:
    last = planes.shape[axis] - 1
    taken = (np.take(planes, np.minimum(first + tap, last), axis) * weights[:, tap] for tap in range(weights.shape[1]))
    out: NDArray[np.float32] = next(taken)
    for more in taken:
        out += more
    return out
