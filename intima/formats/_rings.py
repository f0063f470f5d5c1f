"""Outlines of connected components along pixel edges, as rings that are valid polygons.

A component is a set of pixels of one class joined by edges (4-connected); its holes are the background regions joined
by edges. Where two pixels of a component touch only at a corner, the ring turns round the background, so no ring
touches itself; a hole may touch another ring in a point, which the simple-features standard (ISO 19125-1) allows.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intima.arrays import LabelMask
from intima.pieces import PieceFinder, Pieces
from intima.rasters import LabelRaster, read_blocks

MOST_EDGES = 2**23
"""Pixel edges of all outlines together."""

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


class TooIntricate(Exception):
    """The outlines of a mask have too many corners to be held."""


@dataclass(frozen=True, slots=True)
class Outlines:
    """The traced components of a mask, by class, then in the order of their first pixel."""

    pieces: Pieces
    rings: "_Rings"
    order: NDArray[np.intp]
    """Rings by component, each component's shell first."""

    def all(self) -> Iterator[Component]:
        """Yield every component."""
        return self._of(np.ones(len(self.pieces), bool))

    def largest(self, most: int) -> Iterator[Component]:
        """Yield the ``most`` components of most pixels, in the order of all; of equal ones those that come first."""
        chosen = np.zeros(len(self.pieces), bool)
        chosen[np.argsort(-self.pieces.pixels, kind="stable")[:most]] = True
        return self._of(chosen)

    def _of(self, chosen: NDArray[np.bool_]) -> Iterator[Component]:
        owner = self.rings.owner[self.order] - 1
        first = np.searchsorted(owner, np.flatnonzero(chosen), side="left").tolist()
        last = np.searchsorted(owner, np.flatnonzero(chosen), side="right").tolist()
        for begin, end in zip(first, last, strict=True):
            shell, *holes = (self.rings.points_of(ring) for ring in self.order[begin:end].tolist())
            piece = self.pieces[int(owner[begin])]
            yield Component(piece.value, piece.pixels, shell, tuple(holes))


def outlines(mask: LabelRaster) -> Outlines:
    """Trace the components of all classes but 0. Raises TooIntricate."""
    keys, owner, pieces = _edges(mask)
    rings = _rings(keys, owner, width=mask.shape[1] + 1)
    return Outlines(pieces, rings, np.lexsort((-rings.twice_area, rings.owner)))


@dataclass(frozen=True, slots=True)
class _Rings:
    """All rings of all components; ring r is points[starts[r]:starts[r + 1]]."""

    points: NDArray[np.int64]
    starts: list[int]
    owner: NDArray[np.int64]
    """Component number of each ring."""
    twice_area: NDArray[np.int64]
    """Positive for the one shell of a component, negative for its holes."""

    def points_of(self, ring: int) -> NDArray[np.int64]:
        """Return the corners of a ring."""
        return self.points[self.starts[ring] : self.starts[ring + 1]]


def _rings(keys: NDArray[np.int64], owner: NDArray[np.int64], *, width: int) -> _Rings:
    """Trace all rings and keep their corners."""
    order, starts = _trace(_followers(keys, owner, width))
    bounds = np.append(starts, len(order))
    key = keys[order]
    before = np.roll(key, 1)
    before[starts] = key[bounds[1:] - 1]
    corner = key % 4 != before % 4
    points = np.stack([key // 4 % width, key // 4 // width], axis=1)[corner]
    new_starts = np.concatenate([[0], np.cumsum(corner)])[bounds]
    areas = _twice_areas(points, new_starts)
    return _Rings(points, new_starts.tolist(), owner[order][starts], areas)


def _trace(follow: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all edges ring after ring, and where each ring starts."""
    after = array("q", follow.tobytes())
    order, starts = array("q"), array("q")
    seen = bytearray(len(after))
    for first in range(len(after)):
        if not seen[first]:
            starts.append(len(order))
            at = first
            while not seen[at]:
                seen[at] = 1
                order.append(at)
                at = after[at]
    return np.frombuffer(order, np.int64), np.frombuffer(starts, np.int64)


def _edges(mask: LabelRaster) -> tuple[NDArray[np.int64], NDArray[np.int64], Pieces]:
    """Return all boundary edges as sorted keys (start vertex * 4 + direction), the component right of each, and all."""
    width = mask.shape[1]
    finder = PieceFinder(width=width)
    nothing = np.zeros((1, width), np.uint8)
    keys, owners, count = [], [], 0
    for top, block, above, below in _with_neighbours(mask, nothing):
        numbers = finder.add(block)
        for key, owner in _edges_of(block, numbers, above=above, below=below, top=top):
            keys.append(key)
            owners.append(owner)
            count += len(key)
        if count > MOST_EDGES:
            raise TooIntricate(f"more than {MOST_EDGES} pixel edges")
    pieces, table = finder.finish()
    key, owner = np.concatenate(keys), table[np.concatenate(owners)]
    order = np.argsort(key)
    return key[order], owner[order], pieces


def _with_neighbours(mask: LabelRaster, nothing: LabelMask) -> Iterator[tuple[int, LabelMask, LabelMask, LabelMask]]:
    """Yield first row and pixels of each block, with the row above and the row below it."""
    above, held = nothing, None
    for top, block in read_blocks(mask):
        if held is not None:
            yield (*held, above, block[:1])
            above = held[1][-1:]
        held = (top, block)
    if held is not None:
        yield (*held, above, nothing)


def _edges_of(
    block: LabelMask, numbers: NDArray[np.int64], *, above: LabelMask, below: LabelMask, top: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    padded = np.pad(np.concatenate([above, block, below]), ((0, 0), (1, 1)))
    width = block.shape[1] + 1
    neighbours = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    starts = ((0, 0), (1, 0), (1, 1), (0, 1))
    for direction, (other, (dx, dy)) in enumerate(zip(neighbours, starts, strict=True)):
        rows, columns = np.nonzero((block != other) & (block > 0))
        yield ((rows + top + dy) * width + columns + dx) * 4 + direction, numbers[rows, columns]


def _followers(keys: NDArray[np.int64], owner: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return for each edge the next one: left turn (round the background) before straight on before right turn."""
    direction = keys % 4
    end = keys // 4 + _DX[direction] + _DY[direction] * width
    follow = np.full(len(keys), -1, np.int64)
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
