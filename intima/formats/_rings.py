"""Outlines of connected components along pixel edges, as rings that are valid polygons.

A component is a set of pixels of one class joined by edges (4-connected); its holes are the background regions joined
by edges. Where two pixels of a component touch only at a corner, the ring turns round the background, so no ring
touches itself; a hole may touch another ring in a point, which the simple-features standard (ISO 19125-1) allows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from intima.arrays import LabelMask

_DX = np.array([1, 0, -1, 0])
_DY = np.array([0, 1, 0, -1])
"""Directions 0..3: east, south, west, north; a component lies to the right of its edges."""


@dataclass(frozen=True, slots=True)
class Component:
    """One connected component."""

    class_index: int
    pixels: int
    shell: NDArray[np.int64]
    """(n, 2) corners x, y; not closed; positive shoelace area."""
    holes: tuple[NDArray[np.int64], ...]
    """Rings of the same shape with negative area."""


def components(mask: LabelMask) -> Iterator[Component]:
    """Yield the connected components of all classes but 0, in the order of their first pixel per class."""
    labels, class_of = _label(mask)
    pixels = np.bincount(labels.ravel(), minlength=len(class_of))
    rings = _rings(labels)
    if not len(rings.owner):
        return
    order = np.lexsort((-rings.twice_area, rings.owner))
    ends = np.flatnonzero(np.diff(rings.owner[order], append=-1)) + 1
    for first, last in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        shell, *holes = (rings.points[rings.starts[r] : rings.starts[r + 1]] for r in order[first:last].tolist())
        label = int(rings.owner[order[first]])
        yield Component(class_of[label], int(pixels[label]), shell, tuple(holes))


def _label(mask: LabelMask) -> tuple[NDArray[np.int32], list[int]]:
    """Return component numbers from 1 (0 where the mask is 0) and the class of each number."""
    labels = np.zeros(mask.shape, np.int32)
    class_of = [0]
    for index in np.unique(mask):
        if index:
            found, count = ndimage.label(mask == index)
            labels += np.where(found, found + (len(class_of) - 1), 0).astype(np.int32)
            class_of += [int(index)] * count
    return labels, class_of


@dataclass(frozen=True, slots=True)
class _Rings:
    """All rings of all components; ring r is points[starts[r]:starts[r + 1]]."""

    points: NDArray[np.int64]
    starts: list[int]
    owner: NDArray[np.int32]
    """Component number of each ring."""
    twice_area: NDArray[np.int64]
    """Positive for the one shell of a component, negative for its holes."""


def _rings(labels: NDArray[np.int32]) -> _Rings:
    """Trace all rings and keep their corners."""
    width = labels.shape[1] + 1
    keys, owner = _edges(labels)
    order, starts = _trace(_followers(keys, owner, width).tolist())
    bounds = np.append(starts, len(order))
    key = keys[order]
    before = np.roll(key, 1)
    before[starts] = key[bounds[1:] - 1]
    corner = key % 4 != before % 4
    points = np.stack([key // 4 % width, key // 4 // width], axis=1)[corner]
    new_starts = np.concatenate([[0], np.cumsum(corner)])[bounds]
    areas = _twice_areas(points, new_starts)
    return _Rings(points, new_starts.tolist(), owner[order][starts], areas)


def _trace(follow: list[int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all edges ring after ring, and where each ring starts."""
    order: list[int] = []
    starts: list[int] = []
    seen = bytearray(len(follow))
    for first in range(len(follow)):
        if not seen[first]:
            starts.append(len(order))
            at = first
            while not seen[at]:
                seen[at] = 1
                order.append(at)
                at = follow[at]
    return np.array(order, np.intp), np.array(starts, np.intp)


def _edges(labels: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return all boundary edges as sorted keys (start vertex * 4 + direction) and the component right of each."""
    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]
    width = labels.shape[1] + 1
    neighbours = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    starts = ((0, 0), (1, 0), (1, 1), (0, 1))
    keys, owners = [], []
    for direction, (other, (dx, dy)) in enumerate(zip(neighbours, starts, strict=True)):
        rows, columns = np.nonzero((inner != other) & (inner > 0))
        keys.append(((rows + dy) * width + columns + dx) * 4 + direction)
        owners.append(inner[rows, columns])
    key, owner = np.concatenate(keys), np.concatenate(owners)
    order = np.argsort(key)
    return key[order], owner[order]


def _followers(keys: NDArray[np.int64], owner: NDArray[np.int32], width: int) -> NDArray[np.intp]:
    """Return for each edge the next one: left turn (round the background) before straight on before right turn."""
    direction = keys % 4
    end = keys // 4 + _DX[direction] + _DY[direction] * width
    follow = np.full(len(keys), -1, np.intp)
    for turn in (1, 0, -1):
        wanted = end * 4 + (direction + turn) % 4
        at = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
        found = (keys[at] == wanted) & (owner[at] == owner)
        follow[found] = at[found]
    return follow


def _twice_areas(points: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return twice the shoelace area of each ring."""
    if not len(points):
        return np.zeros(0, np.int64)
    after = np.roll(points, -1, axis=0)
    after[starts[1:] - 1] = points[starts[:-1]]
    crosses = points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]
    return np.add.reduceat(crosses, starts[:-1])
