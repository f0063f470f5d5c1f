"""Annotations: valid polygons whose area is the pixel count, for any mask."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from shapely.geometry import Point, Polygon, shape

from intima.formats._rings import Component, TooIntricate, outlines
from intima.formats.geojson import stream_annotations
from intima.geometry import MicronsPerPixel
from intima.labels import ARTERY
from intima.rasters import LabelRaster, as_raster


def components_of(mask: LabelRaster) -> Iterator[Component]:
    yield from outlines(mask).all()


def collection(mask: np.ndarray, **options: object) -> dict[str, object]:
    settled = {"schema": ARTERY, "mpp": MicronsPerPixel(0.5, 0.25), "metadata": {"origin": "full"}} | options
    parsed: dict[str, object] = json.loads(b"".join(stream_annotations(outlines(as_raster(mask)), **settled)))
    return parsed


@settings(max_examples=300)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
def test_any_mask_gives_valid_polygons_of_the_right_area(mask: np.ndarray) -> None:
    found = list(components_of(as_raster(mask)))
    for component in found:
        polygon = Polygon(component.shell, component.holes)
        assert polygon.is_valid
        assert polygon.area == component.pixels
        assert polygon.exterior.is_ccw
    for index in (1, 2, 3):
        mine = [c for c in found if c.class_index == index]
        assert sum(c.pixels for c in mine) == np.sum(mask == index)
        assert len(mine) == ndimage.label(mask == index)[1]


@settings(max_examples=100)
@given(arrays.arrays(np.uint8, (6, 7), elements=st.integers(0, 2)))
def test_polygons_cover_exactly_their_pixels(mask: np.ndarray) -> None:
    again = np.zeros_like(mask)
    for component in components_of(as_raster(mask)):
        polygon = Polygon(component.shell, component.holes)
        for row, column in np.ndindex(mask.shape):
            if polygon.contains(Point(column + 0.5, row + 0.5)):
                again[row, column] = component.class_index
    assert np.array_equal(again, mask)


def test_a_square_has_four_corners_and_a_ring_keeps_its_hole() -> None:
    mask = np.zeros((10, 12), np.uint8)
    mask[2:7, 3:9] = 3
    mask[4, 5:7] = 1
    lumen, media = components_of(as_raster(mask))
    assert lumen.shell.tolist() == [[5, 4], [7, 4], [7, 5], [5, 5]]
    assert len(media.shell) == 4
    assert [hole.tolist() for hole in media.holes] == [[[5, 5], [7, 5], [7, 4], [5, 4]]] or len(media.holes[0]) == 4
    assert Polygon(media.shell, media.holes).area == 28


def test_pixels_that_touch_at_a_corner_are_two_components() -> None:
    assert len(list(components_of(as_raster(np.eye(3, dtype=np.uint8))))) == 3


def test_a_component_round_a_corner_touch_stays_valid() -> None:
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], np.uint8)
    (component,) = components_of(as_raster(mask))
    assert len(component.holes) == 2
    assert Polygon(component.shell, component.holes).is_valid


def test_features_are_what_qupath_reads() -> None:
    mask = np.zeros((5, 6), np.uint8)
    mask[1:3, 1:4] = 2
    parsed = collection(mask, origin=(100, 200))
    assert parsed["type"] == "FeatureCollection"
    (feature,) = parsed["features"]
    assert feature["type"] == "Feature"
    assert feature["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "neointima", "color": [230, 159, 0]},
        "measurements": {"Area px^2": 6, "Area µm^2": 0.75},
        "metadata": {"origin": "full"},
    }
    ring = feature["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1] == [101, 201]
    assert shape(feature["geometry"]).bounds == (101, 201, 104, 203)


def test_without_pixel_size_there_is_no_area_in_um() -> None:
    (feature,) = collection(np.ones((2, 2), np.uint8), mpp=None)["features"]
    assert feature["properties"]["measurements"] == {"Area px^2": 4}


@pytest.mark.parametrize("mask", [np.zeros((4, 4), np.uint8), np.zeros((1, 1), np.uint8)])
def test_an_empty_mask_is_an_empty_collection(mask: np.ndarray) -> None:
    assert collection(mask)["features"] == []


def test_a_quarter_of_a_slide_takes_seconds() -> None:
    rng = np.random.default_rng(5)
    smooth = ndimage.gaussian_filter(rng.normal(size=(1110, 1484)).astype(np.float32), 10)
    mask = np.digitize(smooth, np.quantile(smooth, [0.4, 0.6, 0.8])).astype(np.uint8)
    start = time.perf_counter()
    size = sum(
        len(part) for part in stream_annotations(outlines(as_raster(mask)), schema=ARTERY, mpp=None, metadata={})
    )
    assert size > 1000
    assert time.perf_counter() - start < 8


@dataclass(frozen=True)
class Narrow:
    """A mask that is read two rows at a time, since it says that its rows are long."""

    pixels: np.ndarray
    width: int = 2**21

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.width

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        return self.pixels.dtype

    def read(self, rows: slice, columns: slice, /) -> np.ndarray:
        out = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        out[:, : self.pixels.shape[1]] = self.pixels[rows]
        return out


@settings(max_examples=5, deadline=None)
@given(arrays.arrays(np.uint8, (7, 9), elements=st.integers(0, 3)))
def test_components_do_not_depend_on_how_the_mask_is_read(mask: np.ndarray) -> None:
    def listed(raster: LabelRaster) -> list[tuple[object, ...]]:
        found = components_of(raster)
        return [(c.class_index, c.pixels, c.shell.tolist(), [h.tolist() for h in c.holes]) for c in found]

    assert listed(Narrow(mask)) == listed(as_raster(mask))


def test_outlines_beyond_the_limit_are_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intima.formats._rings.MOST_EDGES", 100)
    board = np.indices((20, 20)).sum(0).astype(np.uint8) % 2
    with pytest.raises(TooIntricate, match="more than 100"):
        next(components_of(as_raster(board)))
