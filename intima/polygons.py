"""Polygons to class indices: a pixel belongs to a polygon where its centre lies inside, by the even-odd rule.

Frame: pixels of the image that is painted, origin top left; the centre of the first pixel is (0.5, 0.5). An edge counts
for the rows from its upper end, included, to its lower one, excluded, and a span from its left end to its right one in
the same way, so polygons that share a border share no pixel, and rings along pixel edges have exactly their area.

Where polygons lie over each other the one of fewer pixels is on top, of equal ones the later: outlines that were drawn
without holes, one inside the other, give the rings that were meant.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from intima.arrays import FloatMatrix, LabelMask
from intima.geometry import Size

MOST_CROSSINGS = 2**23
"""Pixel rows that edges cross, all together."""
MOST_LAYERS = 16
"""Pixels painted, as multiples of the image."""
_AT_ONCE = 2**21
_CLASSES = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """One polygon of a class."""

    value: int
    """Class index, 0..63."""
    rings: tuple[FloatMatrix, ...]
    """(n, 2) corners x, y; shells and holes in any order, closed or not."""


class TooIntricate(Exception):
    """Polygons have too many or too long edges, or lie over each other too often."""


@dataclass(frozen=True, slots=True)
class Painting:
    """Polygons as spans of pixels, ready to be painted."""

    size: Size
    values: NDArray[np.uint8]
    """Class of each polygon, from the lowest to the topmost."""
    spans: NDArray[np.int64]
    """(n, 4) row, first column, column behind the last, polygon."""
    _hidden: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_CLASSES**2, np.int64))

    def rows(self) -> Iterator[tuple[int, LabelMask]]:
        """Yield first row and class indices of blocks of whole rows, from top to bottom; the rest is class 0."""
        self._hidden[:] = 0
        width, height = self.size.width, self.size.height
        step = max(1, _AT_ONCE // width)
        block = self.spans[:, 0] // step
        spans = self.spans[np.lexsort((self.spans[:, 3], block))]
        bounds = np.searchsorted(np.sort(block), np.arange(-(-height // step) + 1)).tolist()
        for number, top in enumerate(range(0, height, step)):
            count = min(step, height - top)
            chosen = spans[bounds[number] : bounds[number + 1]] - (top, 0, 0, 0)
            yield top, self._painted(chosen, count).reshape(count, width)

    @property
    def hidden(self) -> dict[tuple[int, int], int]:
        """Pixels by class that lies below and other class that lies on top; known when all rows have been painted."""
        pairs = np.flatnonzero(self._hidden).tolist()
        return {divmod(pair, _CLASSES): int(self._hidden[pair]) for pair in pairs}

    def _painted(self, spans: NDArray[np.int64], rows: int) -> NDArray[np.uint8]:
        out = np.zeros(rows * self.size.width, np.uint8)
        parts = list(_parts(spans))
        for part in parts:
            at, polygon = _pixels(part, self.size.width)
            out[at] = self.values[polygon]  # of a pixel that is named twice the last value stays
        for part in parts:
            at, polygon = _pixels(part, self.size.width)
            below, top = self.values[polygon].astype(np.int64), out[at].astype(np.int64)
            self._hidden[:] += np.bincount((below * _CLASSES + top)[below != top], minlength=_CLASSES**2)
        return out


def paint(shapes: Sequence[Shape], size: Size) -> Painting:
    """Return polygons as spans of the pixels of an image; what lies outside it is cut off.

    Raises:
        TooIntricate: the edges cross too many rows, or the polygons have too many pixels.
    """
    spans = _spans(shapes, size)
    lengths = spans[:, 2] - spans[:, 1]
    if int(lengths.sum()) > MOST_LAYERS * size.pixels:
        raise TooIntricate(f"the polygons cover the image more than {MOST_LAYERS} times")
    pixels = np.zeros(len(shapes), np.int64)
    np.add.at(pixels, spans[:, 3], lengths)
    order = np.argsort(-pixels, kind="stable")
    rank = np.empty(len(shapes), np.int64)
    rank[order] = np.arange(len(shapes))
    spans[:, 3] = rank[spans[:, 3]]
    values = np.array([shapes[number].value for number in order.tolist()], np.uint8)
    return Painting(size, values, spans)


def _spans(shapes: Sequence[Shape], size: Size) -> NDArray[np.int64]:
    """Return (n, 4) row, first column, column behind the last, and number of the polygon."""
    start, end, owner = _edges(shapes)
    first = np.ceil(np.clip(np.minimum(start[:, 1], end[:, 1]), 0, size.height) - 0.5).astype(np.int64)
    behind = np.ceil(np.clip(np.maximum(start[:, 1], end[:, 1]), 0, size.height) - 0.5).astype(np.int64)
    counts = behind - first
    total = int(counts.sum())
    if total > MOST_CROSSINGS:
        raise TooIntricate(f"the edges cross {total} rows of pixels, more than {MOST_CROSSINGS}")
    edge = np.repeat(np.arange(len(counts)), counts)
    row = first[edge] + np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    x = x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0)
    column = np.ceil(np.clip(x, 0, size.width) - 0.5).astype(np.int64)
    order = np.lexsort((column, row, owner[edge]))
    row, column, number = row[order], column[order], owner[edge][order]
    spans = np.stack([row[::2], column[::2], column[1::2], number[::2]], axis=1)
    return spans[spans[:, 2] > spans[:, 1]]


def _edges(shapes: Sequence[Shape]) -> tuple[FloatMatrix, FloatMatrix, NDArray[np.int64]]:
    """Return the ends of all edges, and the polygon of each."""
    rings = [(number, ring) for number, shape in enumerate(shapes) for ring in shape.rings]
    if not rings:
        return np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, np.int64)
    start = np.concatenate([ring for _, ring in rings])
    end = np.concatenate([np.roll(ring, -1, axis=0) for _, ring in rings])
    return start, end, np.repeat([number for number, _ in rings], [len(ring) for _, ring in rings])


def _parts(spans: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield spans in parts of a bounded number of pixels, in their order."""
    behind = np.cumsum(spans[:, 2] - spans[:, 1])
    begin = 0
    while begin < len(spans):
        done = int(behind[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(behind, done + _AT_ONCE, side="right")))
        yield spans[begin:end]
        begin = end


def _pixels(spans: NDArray[np.int64], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the flat index of every pixel of spans, and its polygon."""
    row, start, stop, polygon = spans.T
    lengths = stop - start
    at = np.repeat(row * width + start - (np.cumsum(lengths) - lengths), lengths)
    return at + np.arange(len(at)), np.repeat(polygon, lengths)
