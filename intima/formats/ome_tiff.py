"""OME-TIFF pyramids: class indices with a colour table, and float maps.

Tiled, deflate, reduced levels as SubIFDs, pixel size in OME-XML and in the resolution tags. No time stamp and no random
identifier: the same arrays give the same bytes.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffWriter

from intima.arrays import LabelMask, UncertaintyMap
from intima.contracts.segmentation import SegmentationResult
from intima.formats._result import ResultArrays
from intima.geometry import MicronsPerPixel
from intima.labels import LabelSchema
from intima.rasters import MapRaster, Raster, Scalar, read_blocks
from intima.store.scratch import Scratch, ScratchRaster

_TILE_PX = 256
_SMALLEST_PX = 256
_LEVEL = 1
"""Of deflate: a third of the time of the usual one for files a few percent larger."""
_CREATOR = "Intima"
_BIGTIFF_BYTES = 2**31


def write_mask_pyramid(arrays: ResultArrays, _result: SegmentationResult, out: BinaryIO) -> None:
    """Write the mask as an 8-bit label pyramid with the colours of its classes; levels by majority."""
    levels = pyramid(arrays.mask, halve=halve_labels, scratch=arrays.scratch)
    tags = {"photometric": "palette", "colormap": _color_table(arrays.schema)}
    _write(out, levels, name="classes", mpp=arrays.mpp, tags=tags)


def write_entropy(arrays: ResultArrays, _result: SegmentationResult, out: BinaryIO) -> None:
    """Write predictive entropy / ln C as a float32 pyramid at working resolution."""
    _write_map(out, arrays, arrays.entropy, name="predictive entropy / ln C")


def write_disagreement(arrays: ResultArrays, _result: SegmentationResult, out: BinaryIO) -> None:
    """Write mutual information / ln C as a float32 pyramid at working resolution."""
    _write_map(out, arrays, arrays.disagreement, name="mutual information / ln C")


def pyramid(
    image: Raster[Scalar],
    *,
    halve: Callable[[NDArray[Scalar]], NDArray[Scalar]],
    scratch: Scratch,
    smallest_px: int = _SMALLEST_PX,
) -> list[Raster[Scalar]]:
    """Return an image and its halves, until the longer side has at most ``smallest_px``."""
    levels = [image]
    while max(levels[-1].shape) > smallest_px:
        height, width = levels[-1].shape
        half: ScratchRaster[Scalar] = scratch.raster(((height + 1) // 2, (width + 1) // 2), image.dtype)
        for top, rows in read_blocks(levels[-1], multiple=2):
            half.write(top // 2, 0, halve(rows))
        levels.append(half)
    return levels


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


def _write_map(out: BinaryIO, arrays: ResultArrays, values: MapRaster, *, name: str) -> None:
    levels = pyramid(values, halve=halve_map, scratch=arrays.scratch)
    _write(out, levels, name=name, mpp=arrays.working_mpp, tags={"photometric": "minisblack"})


def _write(
    out: BinaryIO, levels: Sequence[Raster[Any]], *, name: str, mpp: MicronsPerPixel | None, tags: dict[str, Any]
) -> None:
    layout = {"tile": (_TILE_PX, _TILE_PX), "compression": "zlib", "compressionargs": {"level": _LEVEL}, **tags}
    layout |= {"dtype": levels[0].dtype, "software": False}
    height, width = levels[0].shape
    with TiffWriter(out, ome=True, bigtiff=height * width * levels[0].dtype.itemsize > _BIGTIFF_BYTES) as writer:
        for step, level in enumerate(levels):
            own: dict[str, Any] = {"subfiletype": 1, "metadata": None}
            if step == 0:
                own = {"subifds": len(levels) - 1, "metadata": _ome(level, name=name, mpp=mpp)}
            writer.write(_tiles(level), shape=level.shape, **own, **layout, **_resolution(mpp, 2**step))


def _tiles(image: Raster[Any]) -> Iterator[NDArray[Any]]:
    """Yield the tiles of an image, row by row, those at the edge filled up with zeros."""
    height, width = image.shape
    for top in range(0, height, _TILE_PX):
        rows = image.read(slice(top, min(top + _TILE_PX, height)), slice(0, width))
        full = np.pad(rows, ((0, _TILE_PX - len(rows)), (0, -width % _TILE_PX)))
        yield from (full[:, left : left + _TILE_PX] for left in range(0, width, _TILE_PX))


def _ome(image: Raster[Any], *, name: str, mpp: MicronsPerPixel | None) -> dict[str, Any]:
    """Return OME metadata; the identifier is derived from the pixels."""
    digest = hashlib.sha256()
    for _, rows in read_blocks(image):
        digest.update(np.ascontiguousarray(rows).data)
    digest.update(name.encode())
    stated: dict[str, Any] = {
        "axes": "YX",
        "Name": name,
        "Channel": {"Name": [name]},
        "UUID": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest.hexdigest())}",
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
