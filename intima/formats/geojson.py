"""Annotations for QuPath as GeoJSON: one Feature per connected component and class.

Frame: level-0 pixels of the whole slide, origin top left, y down (QuPath's). Rings follow pixel edges, so a polygon's
area is its pixel count.
"""

import json
from collections.abc import Iterator
from gzip import GzipFile
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from intima.arrays import Json
from intima.contracts.segmentation import SegmentationResult
from intima.formats._result import ResultArrays
from intima.formats._rings import Component, Outlines
from intima.formats.tables import is_corrected
from intima.geometry import MicronsPerPixel
from intima.labels import LabelSchema

_LEVEL = 6
"""Of deflate."""


def write_annotations(arrays: ResultArrays, result: SegmentationResult, out: BinaryIO) -> None:
    """Write all components as one FeatureCollection. Raises NotWritten where the outlines are too many to hold."""
    source = "Intima, corrected by a person" if is_corrected(result) else "Intima"
    metadata = {"origin": result.origin, "source": source}
    parts = stream_annotations(
        arrays.outlines, schema=arrays.schema, mpp=arrays.mpp, origin=arrays.origin, metadata=metadata
    )
    out.writelines(parts)


def write_annotations_gzip(arrays: ResultArrays, result: SegmentationResult, out: BinaryIO) -> None:
    """Write what ``write_annotations`` writes, compressed, without name and time. Raises NotWritten."""
    with GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=out, mtime=0) as packed:
        write_annotations(arrays, result, cast(BinaryIO, packed))


def stream_annotations(
    found: Outlines,
    *,
    schema: LabelSchema,
    mpp: MicronsPerPixel | None,
    origin: tuple[int, int] = (0, 0),
    metadata: dict[str, str],
) -> Iterator[bytes]:
    """Yield the bytes of a FeatureCollection, one Feature at a time; class 0 is not written."""
    separator = b""
    yield b'{"type":"FeatureCollection","features":['
    for component in found.all():
        feature = _feature(component, schema=schema, mpp=mpp, origin=origin, metadata=metadata)
        yield separator + json.dumps(feature, ensure_ascii=False, separators=(",", ":")).encode()
        separator = b",\n"
    yield b"]}\n"


def _feature(
    component: Component,
    *,
    schema: LabelSchema,
    mpp: MicronsPerPixel | None,
    origin: tuple[int, int],
    metadata: dict[str, str],
) -> Json:
    tissue = schema.classes[component.class_index]
    rings = [_closed(ring, origin) for ring in (component.shell, *component.holes)]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": tissue.name, "color": list(tissue.rgb)},
            "measurements": _measurements(component, mpp),
            "metadata": metadata,
        },
    }


def _measurements(component: Component, mpp: MicronsPerPixel | None) -> dict[str, float]:
    area: dict[str, float] = {"Area px^2": component.pixels}
    return area if mpp is None else area | {"Area µm^2": component.pixels * mpp.area_um2}


def _closed(ring: NDArray[np.int64], origin: tuple[int, int]) -> list[list[int]]:
    points: list[list[int]] = (np.concatenate([ring, ring[:1]]) + np.array(origin)).tolist()
    return points
