"""Corrected GeoJSON is read back, or refused with the place at fault."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from intima import annotations
from intima.annotations import read_annotations
from intima.contracts.segmentation import RegionSpec
from intima.errors import Invalid
from intima.formats._rings import outlines
from intima.formats.geojson import stream_annotations
from intima.geometry import Size
from intima.labels import ARTERY
from intima.polygons import paint
from intima.rasters import as_raster
from tests.builders import rings

SLIDE = Size(400, 300)


def feature(*polygon: Any, name: Any = "media", kind: Any = "Polygon", **properties: Any) -> dict[str, Any]:
    classified = {} if name is None else {"classification": {"name": name, "color": [1, 2, 3]}}
    coordinates = list(polygon)
    return {
        "type": "Feature",
        "id": "0a1b",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "detection?", "isLocked": True} | classified | properties,
    }


def ring(*corners: tuple[float, float]) -> list[list[float]]:
    return [list(c) for c in (*corners, corners[0])]


SQUARE = ring((10, 10), (60, 10), (60, 50), (10, 50))
HOLE = ring((20, 20), (20, 30), (30, 30), (30, 20))


def read(*features: Any, **more: Any) -> annotations.Annotations:
    text = json.dumps({"type": "FeatureCollection", "features": list(features)}).encode()
    return read_annotations(text, schema=ARTERY, slide=SLIDE, bounds=None, **more)


def refused(*features: Any, **more: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        read(*features, **more)
    return caught.value


def test_our_own_file_comes_back_pixel_by_pixel() -> None:
    rng = np.random.default_rng(1)
    mask = rings(300, center=150)
    mask[rng.random(mask.shape) < 0.05] = 0
    mask[rng.random(mask.shape) < 0.02] = 2
    parts = stream_annotations(outlines(as_raster(mask)), schema=ARTERY, mpp=None, metadata={"origin": "full"})
    found = read_annotations(b"".join(parts), schema=ARTERY, slide=Size(300, 300), bounds=None)
    painting = paint(found.shapes, Size(300, 300))
    again = np.concatenate([rows for _, rows in painting.rows()])
    np.testing.assert_array_equal(again, mask)
    assert not painting.hidden
    assert not found.warnings


def test_holes_multipolygons_and_capitals() -> None:
    found = read(
        feature(SQUARE, HOLE, name="Media"),
        feature([SQUARE], [ring((100, 100), (120, 100), (110, 120))], name="lumen", kind="MultiPolygon"),
        feature(ring((200, 200), (210, 200), (210, 210)), name="background"),
    )
    assert [(s.value, len(s.rings)) for s in found.shapes] == [(3, 2), (1, 1), (1, 1), (0, 1)]


@pytest.mark.parametrize("body", ["list", "one"])
def test_a_list_and_a_single_feature_are_read(body: str) -> None:
    content: Any = [feature(SQUARE)] if body == "list" else feature(SQUARE)
    found = read_annotations(json.dumps(content).encode(), schema=ARTERY, slide=SLIDE, bounds=None)
    assert len(found.shapes) == 1


def test_what_has_no_class_or_no_area_is_named_and_left_out() -> None:
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}, "properties": None}
    unnamed = feature(SQUARE, name=None, isNameless=1) | {}
    unnamed["properties"]["name"] = "artery 3"
    found = read(feature(SQUARE), unnamed, point)
    assert len(found.shapes) == 1
    assert [(n.feature, n.name, n.x, n.y, n.width, n.height) for n in found.needs_class] == [
        (1, "artery 3", 10, 10, 50, 40)
    ]
    assert "1 shapes have no class" in found.warnings[0]
    assert "features 2" in found.warnings[1]


def test_an_open_ring_is_closed_and_said_so() -> None:
    found = read(feature(SQUARE[:-1]))
    assert "closed by a straight line: features 0" in found.warnings[0]
    assert "cut off: features 1" in read(feature(SQUARE), feature(ring((-5, 0), (9, 0), (9, 9)))).warnings[0]


@pytest.mark.parametrize(
    ("polygon", "code", "place"),
    [
        ([ring((0, 0), (9, 9), (9, 0), (0, 9))], "bad_polygon", "/features/0/geometry/coordinates"),
        ([SQUARE, ring((90, 90), (95, 90), (95, 95))], "bad_polygon", "/features/0/geometry/coordinates"),
        ([[[0, 0], [5, 5], [0, 0]]], "bad_polygon", "/features/0/geometry/coordinates/0"),
        ([[]], "bad_coordinates", "/features/0/geometry/coordinates/0"),
        ([[[0, 0], [1e400, 5], [5, 0]]], "bad_geojson", ""),
        ([[[0, 0], [1e9, 5], [5, 0]]], "bad_coordinates", "/features/0/geometry/coordinates/0"),
        ([[[0, 0], [10**400, 5], [5, 0]]], "bad_coordinates", "/features/0/geometry/coordinates/0"),
        ([[[0, 0], ["1", 5], [5, 0]]], "bad_geojson", "/features/0/geometry/coordinates/0"),
        ([[[0, 0], [True, 5], [5, 0]]], "bad_geojson", "/features/0/geometry/coordinates/0"),
        ([[[0, 0], [1], [5, 0]]], "bad_geojson", "/features/0/geometry/coordinates/0"),
        ([], "bad_geojson", "/features/0/geometry/coordinates"),
        (["x"], "bad_geojson", "/features/0/geometry/coordinates/0"),
    ],
)
def test_bad_polygons(polygon: list[Any], code: str, place: str) -> None:
    error = refused(feature(*polygon))
    assert (error.code, error.pointer) == (code, place)


@pytest.mark.parametrize("name", ["intima", ["a", "b"], 7, {"x": 1}, "Ignore*"])
def test_an_unknown_class_is_refused_with_its_place(name: Any) -> None:
    error = refused(feature(SQUARE), feature(SQUARE, name=name))
    assert (error.code, error.pointer) == ("unknown_class", "/features/1/properties/classification/name")
    assert "neointima" in error.message


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b'{"type":"FeatureCollection","features":[NaN]}',
        b"[" * 100_000,
        b"7",
        b'{"type":"FeatureCollection"}',
        b'{"type":"FeatureCollection","features":[7]}',
        b'{"type":"Polygon","coordinates":[]}',
        b'[{"type":"Feature","geometry":{"type":"Ellipse"}}]',
        b'[{"type":"Feature","geometry":7}]',
        b'[{"type":"Feature","geometry":{"type":["Polygon"]}}]',
        b'[{"type":"Feature","geometry":{"type":{}}}]',
        b'[{"type":"Feature","geometry":{"type":null}}]',
        b'[{"type":["Feature"],"geometry":null}]',
    ],
)
def test_what_is_no_geojson_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        read_annotations(text, schema=ARTERY, slide=SLIDE, bounds=None)
    assert caught.value.code == "bad_geojson"


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotations, "MOST_VERTICES", 8)
    assert refused(feature(SQUARE), feature(SQUARE)).code == "too_intricate"
    monkeypatch.setattr(annotations, "MOST_FEATURES", 1)
    assert refused(feature(SQUARE), feature(SQUARE)).code == "too_intricate"
    monkeypatch.setattr(annotations, "MOST_BYTES", 10)
    assert refused(feature(SQUARE)).code == "too_large"


@pytest.mark.parametrize("value", ["[]", "{}", "0.1", '"ab"', '[{"type":{}}]'])
def test_small_values_without_end_are_refused_before_they_are_read(value: str) -> None:
    """Each takes some twenty times its text in memory."""
    text = b"[" + b",".join([value.encode()] * (annotations.MOST_VALUES // (1 + value.count("{")) + 1)) + b"]"
    tracemalloc.start()
    try:
        with pytest.raises(Invalid) as caught:
            read_annotations(text, schema=ARTERY, slide=SLIDE, bounds=None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code == "too_intricate"
    assert peak < 2**20


def test_as_many_corners_as_may_be_fit() -> None:
    corner = len(json.dumps([12345.25, 23456.75], indent=0))
    assert corner * annotations.MOST_VERTICES <= annotations.MOST_BYTES
    assert 3 * annotations.MOST_VERTICES + 10 * annotations.MOST_FEATURES <= annotations.MOST_VALUES


BOUNDS = RegionSpec(x=100, y=50, width=200, height=200)


def offset_read(origin: str | None, *stated: str | None) -> tuple[float, float]:
    metadata = [{} if s is None else {"metadata": {"origin": s}} for s in stated]
    features = [feature(SQUARE, **m) for m in metadata]
    found = read_annotations(json.dumps(features).encode(), schema=ARTERY, slide=SLIDE, bounds=BOUNDS, origin=origin)
    x, y = found.shapes[0].rings[0].min(axis=0)
    return float(x), float(y)


def test_the_origin_is_stated_and_never_guessed() -> None:
    assert offset_read(None, "full", None) == (10, 10)
    assert offset_read(None, "openslide-bounds") == (110, 60)
    assert offset_read("openslide-bounds", "full") == (110, 60)
    for origin, stated, code in ((None, (None,), "origin_unknown"), (None, ("full", "openslide-bounds"), "bad_origin")):
        with pytest.raises(Invalid) as caught:
            offset_read(origin, *stated)
        assert caught.value.code == code
    with pytest.raises(Invalid, match="need one of"):
        offset_read(None, "somewhere")
