"""OME-TIFF pyramids: class indices with a colour table, and float maps.

Tiled, deflate, reduced levels as SubIFDs, pixel size in OME-XML and in the resolution tags. No time stamp and no random
identifier: the same arrays give the same bytes.
"""

import hashlib
import io
import uuid
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffWriter

from intima.arrays import LabelMask, UncertaintyMap
from intima.contracts.segmentation import SegmentationResult
from intima.formats._result import ResultArrays
from intima.geometry import MicronsPerPixel
from intima.labels import LabelSchema

_TILE_PX = 256
_SMALLEST_PX = 256
_CREATOR = "Intima"
_BIGTIFF_BYTES = 2**31


def write_mask_pyramid(arrays: ResultArrays, _result: SegmentationResult) -> bytes:
    """Write the mask as an 8-bit label pyramid with the colours of its classes; levels by majority."""
    levels = [arrays.mask]
    while max(levels[-1].shape) > _SMALLEST_PX:
        levels.append(halve_labels(levels[-1]))
    tags = {"photometric": "palette", "colormap": _color_table(arrays.schema)}
    return _write(levels, name="classes", mpp=arrays.mpp, tags=tags)


def write_entropy(arrays: ResultArrays, _result: SegmentationResult) -> bytes:
    """Write predictive entropy / ln C as a float32 pyramid at working resolution."""
    return _write_map(arrays.entropy, name="predictive entropy / ln C", mpp=arrays.working_mpp)


def write_disagreement(arrays: ResultArrays, _result: SegmentationResult) -> bytes:
    """Write mutual information / ln C as a float32 pyramid at working resolution."""
    return _write_map(arrays.disagreement, name="mutual information / ln C", mpp=arrays.working_mpp)


def halve_labels(labels: LabelMask) -> LabelMask:
    """Reduce to ceil(n / 2) per side by the majority of each 2 x 2 block; ties take its top left pixel."""
    a, b, c, d = _quarters(labels)
    ordered = np.sort(np.stack([a, b, c, d]), axis=0)
    low, middle_low, middle_high, high = ordered
    pair_low, pair_high = low == middle_low, middle_high == high
    majority = np.where(middle_low == middle_high, middle_low, a)
    only_low = pair_low & ~pair_high & (middle_low != middle_high)
    only_high = pair_high & ~pair_low & (middle_low != middle_high)
    out: LabelMask = np.where(only_low, low, np.where(only_high, high, majority)).astype(np.uint8)
    return out


def halve_map(values: UncertaintyMap) -> UncertaintyMap:
    """Reduce to ceil(n / 2) per side by the mean of each 2 x 2 block, edges repeated."""
    out: UncertaintyMap = np.mean(np.stack(_quarters(values)), axis=0, dtype=np.float32)
    return out


def _quarters(image: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    even = np.pad(image, [(0, n % 2) for n in image.shape], mode="edge")
    return even[::2, ::2], even[::2, 1::2], even[1::2, ::2], even[1::2, 1::2]


def _write_map(values: UncertaintyMap, *, name: str, mpp: MicronsPerPixel | None) -> bytes:
    levels = [values.astype(np.float32, copy=False)]
    while max(levels[-1].shape) > _SMALLEST_PX:
        levels.append(halve_map(levels[-1]))
    return _write(levels, name=name, mpp=mpp, tags={"photometric": "minisblack"})


def _write(levels: list[NDArray[Any]], *, name: str, mpp: MicronsPerPixel | None, tags: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    layout = {"tile": (_TILE_PX, _TILE_PX), "compression": "zlib", **tags}
    with TiffWriter(out, ome=True, bigtiff=levels[0].nbytes > _BIGTIFF_BYTES) as writer:
        metadata = _ome(levels[0], name=name, mpp=mpp)
        writer.write(
            levels[0], subifds=len(levels) - 1, metadata=metadata, software=False, **layout, **_resolution(mpp, 1)
        )
        for step, level in enumerate(levels[1:], start=1):
            size = _resolution(mpp, 2**step)
            writer.write(level, subfiletype=1, metadata=None, software=False, **layout, **size)
    return out.getvalue()


def _ome(image: NDArray[Any], *, name: str, mpp: MicronsPerPixel | None) -> dict[str, Any]:
    """Return OME metadata; the identifier is derived from the pixels."""
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes() + name.encode()).hexdigest()
    stated: dict[str, Any] = {
        "axes": "YX",
        "Name": name,
        "Channel": {"Name": [name]},
        "UUID": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "Creator": _CREATOR,
    }
    if mpp is not None:
        stated |= {"PhysicalSizeX": mpp.x, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": mpp.y, "PhysicalSizeYUnit": "µm"}
    return stated


def _resolution(mpp: MicronsPerPixel | None, reduction: int) -> dict[str, Any]:
    if mpp is None:
        return {}
    return {"resolution": (1e4 / mpp.x / reduction, 1e4 / mpp.y / reduction), "resolutionunit": "CENTIMETER"}


def _color_table(schema: LabelSchema) -> NDArray[np.uint16]:
    """Return a (3, 256) table; indices beyond the schema are black."""
    table = np.zeros((3, 256), np.uint16)
    for tissue in schema.classes:
        table[:, tissue.index] = np.array(tissue.rgb, np.uint16) * 257
    return table
