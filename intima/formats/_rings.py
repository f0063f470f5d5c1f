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
    rings: list[list[NDArray[np.int64]]] = [[] for _ in class_of]
    shells: list[NDArray[np.int64] | None] = [None] * len(class_of)
    for label, ring in _rings(labels):
        if _twice_area(ring) > 0:
            shells[label] = ring
        else:
            rings[label].append(ring)
    for label, shell in enumerate(shells):
        if shell is not None:
            yield Component(int(class_of[label]), int(pixels[label]), shell, tuple(rings[label]))


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


def _rings(labels: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield (component number, ring) for every ring of every component."""
    width = labels.shape[1] + 1
    keys, owner = _edges(labels)
    follow = _followers(keys, owner, width).tolist()
    direction = keys % 4
    x, y = keys // 4 % width, keys // 4 // width
    seen = bytearray(len(follow))
    for first in range(len(follow)):
        if not seen[first]:
            chain = []
            at = first
            while not seen[at]:
                seen[at] = 1
                chain.append(at)
                at = follow[at]
            yield int(owner[first]), _corners(np.array(chain), direction, x, y)


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


def _corners(
    chain: NDArray[np.intp], direction: NDArray[np.int64], x: NDArray[np.int64], y: NDArray[np.int64]
) -> NDArray[np.int64]:
    turns = chain[direction[chain] != direction[np.roll(chain, 1)]]
    return np.stack([x[turns], y[turns]], axis=1)


def _twice_area(ring: NDArray[np.int64]) -> int:
    x, y = ring[:, 0], ring[:, 1]
    return int(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
