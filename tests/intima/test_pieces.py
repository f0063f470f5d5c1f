"""Pieces found block by block are those of the whole image at once."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from intima.pieces import PieceFinder

MASKS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 9)), elements=st.integers(0, 2))


def found(mask: np.ndarray, cuts: set[int], *, by_corners: bool) -> tuple[np.ndarray, list[tuple[object, ...]]]:
    finder = PieceFinder(width=mask.shape[1], by_corners=by_corners)
    edges = [0, *sorted(c for c in cuts if c < len(mask)), len(mask)]
    numbers = np.concatenate([finder.add(mask[a:b]) for a, b in itertools.pairwise(edges)])
    pieces, table = finder.finish()
    listed = [(p.value, p.pixels, p.bounds, p.first) for p in (pieces[n] for n in range(len(pieces)))]
    return table[numbers], listed


@settings(max_examples=300)
@given(MASKS, st.sets(st.integers(1, 11)), st.booleans())
def test_any_cut_gives_the_pieces_of_the_whole(mask: np.ndarray, cuts: set[int], by_corners: bool) -> None:
    numbers, listed = found(mask, cuts, by_corners=by_corners)
    at_once, same = found(mask, set(), by_corners=by_corners)
    assert np.array_equal(numbers, at_once)
    assert listed == same


@settings(max_examples=300)
@given(MASKS, st.sets(st.integers(1, 11)), st.booleans())
def test_pieces_are_those_of_scipy(mask: np.ndarray, cuts: set[int], by_corners: bool) -> None:
    numbers, listed = found(mask, cuts, by_corners=by_corners)
    structure = np.ones((3, 3)) if by_corners else None
    total = 0
    for value in (1, 2):
        labels, _count = ndimage.label(mask == value, structure=structure)
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            total += 1
            here = labels == number
            (mine,) = np.unique(numbers[here])
            stated_value, pixels, bounds, first = listed[mine - 1]
            assert (stated_value, pixels) == (value, here.sum())
            assert np.array_equal(numbers == mine, here)
            assert (bounds.x, bounds.y, bounds.x + bounds.width, bounds.y + bounds.height) == (
                columns.start,
                rows.start,
                columns.stop,
                rows.stop,
            )
            assert first == tuple(np.argwhere(here)[0])
    assert total == len(listed)
    assert np.array_equal(numbers > 0, mask > 0)


def test_an_image_without_pieces_has_none() -> None:
    numbers, listed = found(np.zeros((3, 4), np.uint8), {1}, by_corners=False)
    assert listed == []
    assert not numbers.any()


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_a_spiral_is_one_piece_however_it_is_cut(rows: int) -> None:
    """A piece that meets itself again many blocks later."""
    mask = np.zeros((64, 64), np.uint8)
    for ring in range(0, 30, 2):
        mask[ring, ring : 64 - ring] = 1
        mask[ring : -ring or None, 63 - ring] = 1
        mask[63 - ring, ring : 64 - ring] = 1
        mask[ring + 2 : 64 - ring, ring] = 1
        mask[ring + 2, ring : ring + 2] = 1
    _labels, count = ndimage.label(mask)
    _, listed = found(mask, set(range(rows, 64, rows)), by_corners=False)
    assert len(listed) == count
    assert sum(p[1] for p in listed) == mask.sum()
