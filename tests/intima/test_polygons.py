"""Polygons are painted by pixel centres, exactly, and say what lies over what."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from intima import polygons
from intima.geometry import Size
from intima.polygons import Shape, TooIntricate, paint


def painted(shapes: list[Shape], size: Size) -> np.ndarray:
    return np.concatenate([rows for _, rows in paint(shapes, size).rows()])


def square(value: int, left: float, top: float, right: float, bottom: float) -> Shape:
    return Shape(value, (np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float),))


def test_a_square_along_pixel_edges_has_its_pixels() -> None:
    mask = painted([square(3, 2, 1, 5, 4)], Size(8, 6))
    expected = np.zeros((6, 8), np.uint8)
    expected[1:4, 2:5] = 3
    np.testing.assert_array_equal(mask, expected)


def test_neighbours_share_no_pixel_and_leave_none() -> None:
    diagonal = np.array([[0, 0], [7, 0], [0, 7]], float), np.array([[7, 0], [7, 7], [0, 7]], float)
    mask = painted([Shape(1, (diagonal[0],)), Shape(2, (diagonal[1],))], Size(7, 7))
    assert (mask > 0).all()
    assert {1, 2} == set(np.unique(mask).tolist())


def test_a_hole_stays_open_and_what_leaves_the_image_is_cut_off() -> None:
    ring = Shape(1, (*square(1, -4, -4, 6, 6).rings, *square(1, 1, 1, 3, 3).rings))
    mask = painted([ring], Size(8, 8))
    assert mask[:6, :6].sum() == 36 - 4
    assert (mask[1:3, 1:3] == 0).all()
    assert (mask[6:] == 0).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_outlines_without_holes_give_rings_in_any_order(order: tuple[int, ...]) -> None:
    shapes = [square(3, 0, 0, 10, 10), square(2, 2, 2, 8, 8), square(1, 4, 4, 6, 6)]
    painting = paint([shapes[n] for n in order], Size(10, 10))
    mask = np.concatenate([rows for _, rows in painting.rows()])
    assert [int((mask == v).sum()) for v in (1, 2, 3)] == [4, 32, 64]
    assert painting.hidden == {(3, 2): 32, (3, 1): 4, (2, 1): 4}


def test_of_equal_shapes_the_later_is_on_top() -> None:
    assert (painted([square(1, 0, 0, 4, 4), square(2, 0, 0, 4, 4)], Size(4, 4)) == 2).all()


def test_blocks_and_parts_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    shapes = [Shape(1 + n % 3, (rng.uniform(-5, 45, (7, 2)),)) for n in range(30)]
    whole = paint(shapes, Size(40, 37))
    expected = np.concatenate([rows for _, rows in whole.rows()])
    monkeypatch.setattr(polygons, "_AT_ONCE", 90)
    parted = paint(shapes, Size(40, 37))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in parted.rows()]), expected)
    assert parted.hidden == whole.hidden


def test_more_than_can_be_held_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooIntricate, match="16 times"):
        paint([square(1, 0, 0, 9, 9)] * 20, Size(9, 9))
    monkeypatch.setattr(polygons, "MOST_CROSSINGS", 10)
    with pytest.raises(TooIntricate, match="rows"):
        paint([square(1, 0, 0, 9, 9)], Size(9, 9))


def test_nothing_drawn_is_all_background() -> None:
    assert (painted([], Size(5, 4)) == 0).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-200, 600), st.integers(-200, 600)), min_size=3, max_size=8))
def test_it_agrees_with_skimage_off_the_borders(corners: list[tuple[int, int]]) -> None:
    ring = np.array(corners, float) / 10 + 0.0137  # no corner and no edge through the centre of a pixel
    ours = painted([Shape(1, (ring,))], Size(50, 40))
    theirs = polygon2mask((40, 50), ring[:, ::-1] - 0.5)  # type: ignore[no-untyped-call]
    assert np.count_nonzero(ours != theirs) <= 2 * len(corners)
