"""Annotations that a person has corrected in QuPath: GeoJSON to polygons of classes, or what is wrong and where.

Read are Polygon and MultiPolygon features of a FeatureCollection, a list of features, or one feature. The type of a
QuPath object does not matter. A feature without a class is named and left out, and so is one without an area.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import shapely

from intima.arrays import FloatMatrix, Json
from intima.contracts.correction import NeedsClass
from intima.contracts.segmentation import RegionSpec
from intima.errors import Invalid
from intima.geometry import Size
from intima.labels import LabelSchema
from intima.polygons import Shape

MOST_BYTES = 16 * 2**20
MOST_FEATURES = 50_000
MOST_VERTICES = 500_000
MOST_VALUES = 2_000_000
"""Values of JSON, of some 64 bytes each: a corner is three, and a feature some ten."""
_NAMED = 50
_BEFORE_VALUES = (b",", b"[", b"{")
_SIMPLIFY = "Simplify the shapes in QuPath (Objects, Annotations, Simplify shape), or paint the mask as PNG."
_WITHOUT_AREA = {"Point", "MultiPoint", "LineString", "MultiLineString", "GeometryCollection"}
_TOUCHES_ITSELF = "Ring Self-intersection"
"""GEOS's word for a ring that touches itself in a point: what is inside is still plain."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """What a file holds, in level-0 pixels of the whole slide."""

    shapes: tuple[Shape, ...]
    needs_class: tuple[NeedsClass, ...]
    warnings: tuple[str, ...]


def read_annotations(
    text: bytes, *, schema: LabelSchema, slide: Size, bounds: RegionSpec | None, origin: str | None = None
) -> Annotations:
    """Return the polygons of a GeoJSON text.

    Args:
        text: the file.
        schema: classes, whose names may be written in any case.
        slide: its size; coordinates further outside than it is large are refused.
        bounds: what was scanned of the slide, where the file says so.
        origin: "full" or "openslide-bounds"; None: what the features' metadata say.

    Raises:
        Invalid: no GeoJSON, an unknown class, a number that is not finite or far outside, an edge that crosses
            another one, too many features or corners, an origin that is not known.
    """
    features = _features(_parsed(text))
    reader = _Reader(schema, slide, _offset(features, bounds=bounds, origin=origin))
    for number, feature in enumerate(features):
        reader.read(number, feature)
    return Annotations(tuple(reader.shapes), tuple(reader.needs_class), tuple(reader.warnings()))


def _parsed(text: bytes) -> Any:
    if len(text) > MOST_BYTES:
        raise Invalid(f"Got {len(text)} bytes of GeoJSON; the limit is {MOST_BYTES}.", code="too_large", pointer="")
    if sum(map(text.count, _BEFORE_VALUES)) > MOST_VALUES:
        raise _bad(f"Got more than {MOST_VALUES} values of JSON.", "", code="too_intricate", hint=_SIMPLIFY)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid(
            f"The body is no JSON: {str(error)[:200]}.",
            code="bad_geojson",
            hint="Export annotations from QuPath as GeoJSON (File, Export objects as GeoJSON).",
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _features(body: Any) -> list[Json]:
    found = body
    if isinstance(body, dict):
        found = body.get("features") if body.get("type") == "FeatureCollection" else [body]
    if not isinstance(found, list):
        raise _bad("Got JSON that is neither a FeatureCollection nor a list of features.", "/features")
    if len(found) > MOST_FEATURES:
        raise _bad(f"Got {len(found)} features; the limit is {MOST_FEATURES}.", "/features", code="too_intricate")
    for number, feature in enumerate(found):
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            raise _bad(f"Feature {number} has no type Feature.", f"/features/{number}/type")
    return found


def _offset(features: Sequence[Json], *, bounds: RegionSpec | None, origin: str | None) -> tuple[int, int]:
    """Return what is added to coordinates to make them those of the whole slide."""
    stated = {origin} if origin is not None else {s for f in features if (s := _stated_origin(f)) is not None}
    unknown = stated - {"full", "openslide-bounds"}
    if unknown or len(stated) > 1:
        raise _bad(
            f"Got the origins {', '.join(sorted(s[:40] for s in stated))}; need one of full and openslide-bounds.",
            "/origin",
            code="bad_origin",
        )
    corner = (0, 0) if bounds is None else (bounds.x, bounds.y)
    if not stated and corner != (0, 0):
        raise _bad(
            f"This slide was scanned from ({corner[0]}, {corner[1]}) on, and nothing says what coordinates count from.",
            "/origin",
            code="origin_unknown",
            hint="Give origin=full for the corner of the slide, or origin=openslide-bounds for that of what was "
            "scanned.",
        )
    return corner if stated == {"openslide-bounds"} else (0, 0)


def _stated_origin(feature: Json) -> str | None:
    metadata = _properties(feature).get("metadata")
    stated = metadata.get("origin") if isinstance(metadata, dict) else None
    return stated if isinstance(stated, str) else None


def _properties(feature: Json) -> Json:
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


class _Reader:
    """Reads features one by one."""

    def __init__(self, schema: LabelSchema, slide: Size, offset: tuple[int, int]) -> None:
        self._names = {name.casefold(): index for index, name in enumerate(schema.names)}
        self._shown = ", ".join(schema.names)
        self._slide = slide
        self._offset = np.array(offset, np.float64)
        self._vertices = 0
        self._open: list[int] = []
        self._flat: list[int] = []
        self._outside: list[int] = []
        self.shapes: list[Shape] = []
        self.needs_class: list[NeedsClass] = []

    def read(self, number: int, feature: Json) -> None:
        """Take in a feature. Raises Invalid."""
        at = f"/features/{number}"
        polygons = self._polygons(feature.get("geometry"), number)
        if polygons is None:
            self._flat.append(number)
            return
        value = self._class_of(_properties(feature), at)
        rings = [self._rings(polygon, f"{at}/geometry/coordinates{part}", number) for part, polygon in polygons]
        if value is None:
            self.needs_class.append(_needs_class(number, _properties(feature), rings))
            return
        self.shapes += [Shape(value, polygon) for polygon in rings]

    def warnings(self) -> Iterator[str]:
        """Yield what the owner of the file should know."""
        if self.needs_class:
            yield f"{len(self.needs_class)} shapes have no class and are left out: see needs_class."
        if self._flat:
            yield f"{len(self._flat)} features have no area (points, lines) and are left out: {_listed(self._flat)}."
        if self._open:
            yield f"Rings that do not end where they begin were closed by a straight line: {_listed(self._open)}."
        if self._outside:
            yield f"What lies outside the slide was cut off: {_listed(self._outside)}."

    def _polygons(self, geometry: Any, number: int) -> list[tuple[str, Any]] | None:
        """Return the polygons of a geometry, each with its place in the coordinates; None where it has no area."""
        stated = geometry.get("type") if isinstance(geometry, dict) else None
        kind = stated if isinstance(stated, str) else ""
        if geometry is None or kind in _WITHOUT_AREA:
            return None
        at = f"/features/{number}/geometry"
        if kind not in {"Polygon", "MultiPolygon"}:
            raise _bad(f"Feature {number} is no geometry of GeoJSON.", f"{at}/type")
        coordinates = geometry.get("coordinates")
        if not isinstance(coordinates, list) or not coordinates:
            raise _bad(f"Feature {number} has no coordinates.", f"{at}/coordinates")
        return [("", coordinates)] if kind == "Polygon" else [(f"/{n}", c) for n, c in enumerate(coordinates)]

    def _class_of(self, properties: Json, at: str) -> int | None:
        stated = properties.get("classification")
        if isinstance(stated, dict):
            names = stated.get("names")
            stated = stated.get("name", names[0] if isinstance(names, list) and len(names) == 1 else names)
        if stated is None or stated == "":
            return None
        found = self._names.get(stated.strip().casefold()) if isinstance(stated, str) else None
        if found is None:
            raise _bad(
                f"Got class {str(stated)[:80]!r}; the classes are {self._shown}.",
                f"{at}/properties/classification/name",
                code="unknown_class",
                hint="Give the shape one of these classes, or none.",
            )
        return found

    def _rings(self, polygon: Any, at: str, number: int) -> tuple[FloatMatrix, ...]:
        if not isinstance(polygon, list) or not polygon:
            raise _bad("A polygon is a list of rings.", at)
        rings = tuple(self._ring(ring, f"{at}/{n}", number) for n, ring in enumerate(polygon))
        shape = shapely.Polygon(rings[0], rings[1:])
        reason = "" if shapely.is_valid(shape) else str(shapely.is_valid_reason(shape))
        if reason and not reason.startswith(_TOUCHES_ITSELF):
            raise _bad(
                f"The polygon of feature {number} is not valid: {reason[:120]}.",
                at,
                code="bad_polygon",
                hint="Edges may not cross and holes lie inside, apart from each other. Redraw it.",
            )
        return rings

    def _ring(self, ring: Any, at: str, number: int) -> FloatMatrix:
        if not isinstance(ring, list) or not all(_is_position(p) for p in ring):
            raise _bad("A ring is a list of positions [x, y].", at)
        self._vertices += len(ring)
        if self._vertices > MOST_VERTICES:
            raise _bad(f"Got more than {MOST_VERTICES} corners.", "/features", code="too_intricate", hint=_SIMPLIFY)
        try:
            points = np.array([p[:2] for p in ring], np.float64).reshape(-1, 2) + self._offset
        except OverflowError:
            points = np.full((1, 2), math.inf)
        self._check(points, at, number)
        if not np.array_equal(points[0], points[-1]):
            self._open.append(number)
        else:
            points = points[:-1]
        if len(np.unique(points, axis=0)) < 3:
            raise _bad("A ring needs three corners or more.", at, code="bad_polygon")
        return points

    def _check(self, points: FloatMatrix, at: str, number: int) -> None:
        """Refuse numbers that are none, and places far from the slide."""
        size = np.array([self._slide.width, self._slide.height])
        if not len(points) or not np.isfinite(points).all() or (np.abs(points - size / 2) > 1.5 * size).any():
            raise _bad(
                f"A corner of feature {number} is not on the slide, which has {size[0]} x {size[1]} pixels.",
                at,
                code="bad_coordinates",
                hint="Coordinates are pixels of level 0, not micrometres, from the top left corner.",
            )
        if (points < 0).any() or (points > size).any():
            self._outside.append(number)


def _is_position(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 2 and all(type(v) in (int, float) for v in value[:2])


def _needs_class(number: int, properties: Json, polygons: Sequence[tuple[FloatMatrix, ...]]) -> NeedsClass:
    points = np.concatenate([ring for rings in polygons for ring in rings])
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    name = properties.get("name")
    return NeedsClass(
        feature=number,
        name=name[:80].encode("utf-8", "replace").decode() if isinstance(name, str) else "",
        x=int(low[0]),
        y=int(low[1]),
        width=int(high[0] - low[0]),
        height=int(high[1] - low[1]),
    )


def _listed(numbers: Sequence[int]) -> str:
    shown = sorted(set(numbers))
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    return f"features {', '.join(map(str, shown[:_NAMED]))}{more}"


def _bad(message: str, pointer: str, *, code: str = "bad_geojson", hint: str = "") -> Invalid:
    return Invalid(message, code=code, pointer=pointer, hint=hint)
