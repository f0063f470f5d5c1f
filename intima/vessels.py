"""The vessels of a mask, one by one.

What is one vessel. Pixels of lumen, neointima and media that touch (8 neighbours) are one piece. A piece
that falls into several of ``min_area_px`` or more when it is opened by 5 x 5 pixels is cut there, every pixel
going to the nearest part: bridges narrower than 5 pixels do not join vessels. Smaller pieces are specks and
are not measured.

A piece that is too large to hold is read at a part of the resolution.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from intima.arrays import BinaryMask, LabelMask
from intima.contracts.segmentation import RegionSpec
from intima.errors import Invalid
from intima.geometry import Region
from intima.labels import LUMEN, MEDIA, NEOINTIMA, LabelSchema
from intima.pieces import Piece, PieceFinder
from intima.rasters import LabelRaster, as_raster, read_blocks

MOST_VESSEL_PX = 2**24
"""Size of the rectangle round a vessel beyond which it is measured at a part of the resolution."""

MOST_VESSELS = 1000
"""More pieces than this are no slide of vessels but noise."""

PAD_PX = 4
"""Margin of a vessel's masks."""
_BRIDGE_PX = 5


@dataclass(frozen=True, slots=True)
class Vessel:
    """One cross-section, cut out with a margin. Masks are (height, width)."""

    bounds: RegionSpec
    lumen: BinaryMask
    neointima: BinaryMask
    media: BinaryMask
    at_edge: BinaryMask
    """Pixels of the image's outermost rows and columns."""
    reduction: int
    """Side of a pixel of these masks in pixels of the mask they were cut from."""

    @property
    def iel(self) -> BinaryMask:
        """Everything within the internal elastic lamina."""
        return self.lumen | self.neointima

    @property
    def eel(self) -> BinaryMask:
        """Everything within the external elastic lamina."""
        return self.lumen | self.neointima | self.media


def find_vessels(image: LabelMask | LabelRaster, *, schema: LabelSchema, min_area_px: int) -> Iterator[Vessel]:
    """Yield the vessels of a mask, one at a time; a schema without the arterial layers has none.

    Only the ``MOST_VESSELS`` largest pieces are looked at.

    Raises:
        Invalid: the mask is not (height, width) or holds a value the schema does not know.
    """
    mask = checked_mask(image)
    layers = np.zeros(256, np.uint8)
    if schema.is_arterial:
        layers[[schema.index_of(name) for name in (LUMEN, NEOINTIMA, MEDIA)]] = 1, 2, 3
    found = PieceFinder(width=mask.shape[1], by_corners=True)
    for _, rows in read_blocks(mask):
        require_known(int(rows.max()), schema)
        found.add((layers[rows] > 0).astype(np.uint8))
    pieces, _ = found.finish()
    least = max(1, min_area_px)
    largest = np.argsort(-pieces.pixels, kind="stable")[:MOST_VESSELS]
    for number in largest[pieces.pixels[largest] >= least].tolist():
        yield from _cut_out(mask, pieces[number], layers, least)


def _parts(piece: BinaryMask, min_area_px: int) -> list[BinaryMask]:
    """Cut a piece at bridges narrower than 5 pixels, if two vessels or more result."""
    worn = ndimage.minimum_filter(piece, size=_BRIDGE_PX, mode="constant", cval=0)
    opened = ndimage.maximum_filter(worn, size=_BRIDGE_PX, mode="constant", cval=0)
    labels, count = ndimage.label(opened, structure=np.ones((3, 3)))
    if count < 2:
        return [piece]
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    kept = [n for n in range(1, count + 1) if sizes[n] >= min_area_px]
    if len(kept) < 2:
        return [piece]
    seeds = np.where(np.isin(labels, kept), labels, 0)
    nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    owner = seeds[tuple(nearest)]
    return [piece & (owner == n) for n in kept]


def _cut_out(mask: LabelRaster, piece: Piece, layers: NDArray[np.uint8], min_area_px: int) -> Iterator[Vessel]:
    """Yield the vessels of a piece; one too large to hold is read at a part of the resolution."""
    step = math.ceil(math.sqrt(piece.bounds.size.pixels / MOST_VESSEL_PX))
    window = layers[_read_reduced(mask, piece.bounds, step)]
    labels, _ = ndimage.label(window > 0, structure=np.ones((3, 3)))
    least = max(1, min_area_px // step**2)
    own = _own(labels, piece, step, least)
    for part in _parts(own, least) if own.any() else ():
        rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        inner = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        left, width = _stretch(columns, step, start=piece.bounds.x, length=piece.bounds.width)
        top, height = _stretch(rows, step, start=piece.bounds.y, length=piece.bounds.height)
        bounds = RegionSpec(x=left, y=top, width=width, height=height)
        yield _vessel(window[inner], part[inner], bounds=bounds, step=step, shape=mask.shape)


def _own(labels: NDArray[Any], piece: Piece, step: int, least: int) -> BinaryMask:
    """Return the piece among all that lie in its rectangle; where it was read reduced, what has its size.

    A thin piece may fall apart there, and then its largest fragment counts.
    """
    if step == 1:
        own: BinaryMask = labels == labels[piece.first[0] - piece.bounds.y, piece.first[1] - piece.bounds.x]
        return own
    sizes = np.bincount(labels.ravel())[1:]
    if not len(sizes) or sizes.max() < least:
        return np.zeros(labels.shape, bool)
    nearest: BinaryMask = labels == 1 + int(np.argmin(np.abs(sizes - piece.pixels / step**2)))
    return nearest


def _stretch(used: NDArray[np.intp], step: int, *, start: int, length: int) -> tuple[int, int]:
    """Return where used rows or columns of a reduced piece begin in the mask, and how far they go."""
    first, last = int(used[0]) * step, int(used[-1] + 1) * step
    return start + first, (length if last > length - step else last) - first


def _read_reduced(mask: LabelRaster, bounds: Region, step: int) -> LabelMask:
    """Return every ``step``-th pixel of a window, the middle one of each square."""
    across = slice(bounds.x, bounds.x + bounds.width)
    if step == 1:
        return mask.read(slice(bounds.y, bounds.y + bounds.height), across)
    middles = range(bounds.y + min(step // 2, bounds.height - 1), bounds.y + bounds.height, step)
    at = slice(min(step // 2, bounds.width - 1), None, step)
    return np.concatenate([mask.read(slice(row, row + 1), across)[:, at] for row in middles])


def _vessel(layers: LabelMask, piece: BinaryMask, *, bounds: RegionSpec, step: int, shape: tuple[int, int]) -> Vessel:
    at_edge = np.zeros(piece.shape, dtype=bool)
    at_edge[[0] * (bounds.y == 0) + [-1] * (bounds.y + bounds.height == shape[0]), :] = True
    at_edge[:, [0] * (bounds.x == 0) + [-1] * (bounds.x + bounds.width == shape[1])] = True
    lumen, neointima, media = (np.pad((layers == number) & piece, PAD_PX) for number in (1, 2, 3))
    return Vessel(
        bounds=bounds,
        lumen=lumen,
        neointima=neointima,
        media=media,
        at_edge=np.pad(at_edge, PAD_PX),
        reduction=step,
    )


def checked_mask(mask: LabelMask | LabelRaster) -> LabelRaster:
    """Return a mask as a raster. Raises Invalid where it is not (height, width) of uint8."""
    if len(mask.shape) != 2 or 0 in mask.shape:
        raise Invalid(f"Got a mask of shape {mask.shape}; need (height, width).")
    if mask.dtype != np.uint8:
        raise Invalid(f"Got a mask of type {mask.dtype}; need uint8.")
    return as_raster(mask)


def require_known(largest: int, schema: LabelSchema) -> None:
    """Raise Invalid where the largest value of a mask is no class."""
    if largest >= len(schema):
        raise Invalid(f"Got value {largest} in the mask; the schema has 0 to {len(schema) - 1}.")
