"""Connected pieces of a label image that is read from top to bottom.

Blocks of rows are labelled one by one and joined along their borders, so memory grows with the number of pieces and
the width of the image and not with its area. Pieces are numbered from 1 by value, then in the order of their first
pixel, row by row, whatever the height of the blocks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from intima.arrays import LabelMask
from intima.geometry import Region

_EDGES = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
_CORNERS = np.ones((3, 3), int)


@dataclass(frozen=True, slots=True)
class Piece:
    """One connected piece."""

    value: int
    """What its pixels have in common."""
    pixels: int
    bounds: Region
    first: tuple[int, int]
    """Row and column of its first pixel."""


class PieceFinder:
    """Labels blocks of rows, handed over from top to bottom, and joins what touches across their borders.

    Pixels of value 0 belong to no piece; others belong together where they have the same value and touch.
    """

    def __init__(self, *, width: int, by_corners: bool = False) -> None:
        """Start without rows; ``by_corners`` joins pixels that touch at a corner only (8 neighbours for 4)."""
        self._width = width
        self._structure = _CORNERS if by_corners else _EDGES
        self._reach = (-1, 0, 1) if by_corners else (0,)
        self._rows = 0
        self._count = 0
        self._above: tuple[LabelMask, NDArray[np.int64]] | None = None
        self._parts: list[NDArray[np.int64]] = []
        self._joints: list[NDArray[np.int64]] = []

    def add(self, block: LabelMask) -> NDArray[np.int64]:
        """Return (rows, width) provisional numbers of a block, 0 for none; ``finish`` says what they became."""
        numbers = np.zeros(block.shape, np.int64)
        for value in np.flatnonzero(np.bincount(block.ravel(), minlength=2)).tolist():
            if value:
                labels, count = ndimage.label(block == value, structure=self._structure)
                numbers += np.where(labels, labels + np.int64(self._count), 0)
                self._parts.append(_parts(labels, count, value=value, top=self._rows))
                self._count += count
        if self._above is not None:
            self._join(*self._above, block[0], numbers[0])
        self._above = block[-1].copy(), numbers[-1].copy()
        self._rows += len(block)
        return numbers

    def _join(
        self, above: LabelMask, numbers_above: NDArray[np.int64], below: LabelMask, numbers_below: NDArray[np.int64]
    ) -> None:
        for shift in self._reach:
            upper = slice(max(0, -shift), self._width - max(0, shift))
            lower = slice(max(0, shift), self._width - max(0, -shift))
            touching = (above[upper] == below[lower]) & (above[upper] > 0)
            pairs = np.stack([numbers_above[upper][touching], numbers_below[lower][touching]])
            self._joints.append(np.unique(pairs, axis=1))

    def finish(self) -> tuple["Pieces", NDArray[np.int64]]:
        """Return the pieces, and for each provisional number that of its piece (0 for 0)."""
        parts = np.concatenate([np.zeros((0, _COLUMNS), np.int64), *self._parts])
        pairs = np.concatenate([np.zeros((2, 0), np.int64), *self._joints], axis=1) - 1
        ones = np.ones(pairs.shape[1], np.int8)
        total, group = connected_components(coo_array((ones, tuple(pairs)), shape=(self._count, self._count)), False)
        merged = _merged(parts, group, total)
        order = np.lexsort((merged[:, _FIRST], merged[:, _VALUE]))
        number_of = np.empty(total, np.int64)
        number_of[order] = np.arange(1, total + 1)
        return Pieces(merged[order], self._width), np.concatenate([[0], number_of[group]])


_VALUE, _PIXELS, _TOP, _LEFT, _BOTTOM, _RIGHT, _FIRST = range(7)
_COLUMNS = 7


@dataclass(frozen=True, slots=True)
class Pieces:
    """All pieces of an image; piece n stands at n - 1."""

    table: NDArray[np.int64]
    width: int
    """Of the image."""

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Pixels of each piece."""
        return self.table[:, _PIXELS]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.table)

    def __getitem__(self, index: int) -> Piece:
        """Return the piece of number ``index`` + 1."""
        value, pixels, top, left, bottom, right, first = self.table[index].tolist()
        return Piece(value, pixels, Region(left, top, right - left, bottom - top), divmod(first, self.width))


def _parts(labels: NDArray[np.signedinteger[Any]], count: int, *, value: int, top: int) -> NDArray[np.int64]:
    """Return what a block holds of its pieces, a row each."""
    width = labels.shape[1]
    flat = labels.ravel()
    table = np.empty((count, _COLUMNS), np.int64)
    table[:, _VALUE] = value
    table[:, _PIXELS] = np.bincount(flat, minlength=count + 1)[1:]
    first = np.zeros(count + 1, np.int64)
    inside = np.flatnonzero(flat)[::-1]
    first[flat[inside]] = inside
    table[:, _FIRST] = first[1:] + top * width
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels)):
        table[number, _TOP : _RIGHT + 1] = rows.start + top, columns.start, rows.stop + top, columns.stop
    return table


def _merged(parts: NDArray[np.int64], group: NDArray[np.int32], total: int) -> NDArray[np.int64]:
    """Join the rows of each group."""
    merged = np.zeros((total, _COLUMNS), np.int64)
    merged[:, [_TOP, _LEFT, _FIRST]] = np.iinfo(np.int64).max
    merged[group, _VALUE] = parts[:, _VALUE]
    np.add.at(merged[:, _PIXELS], group, parts[:, _PIXELS])
    for column, extreme in ((_TOP, np.minimum), (_LEFT, np.minimum), (_FIRST, np.minimum), (_BOTTOM, np.maximum)):
        extreme.at(merged[:, column], group, parts[:, column])
    np.maximum.at(merged[:, _RIGHT], group, parts[:, _RIGHT])
    return merged
