"""Two masks of one region against each other: tiles that show where they differ, and how many pixels do."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from intima.contracts.difference import ClassAgreement, ClassPair, Kind, KindOfDifference
from intima.formats.layers import layer_values, layer_zoom
from intima.geometry import Region
from intima.slides.layers import Layer

_BLOCK = 256, 2**14
"""Rows and columns counted at once."""
_STRIPE_PX = 4
_STRONG, _WEAK = 255, 140
"""Opacity on the stripes and between them."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    kind: Kind
    color: str
    hatch: Literal["/", "\\", ""]


_DRAWN = (_Drawn("only_a", "#0072b2", "/"), _Drawn("only_b", "#d55e00", "\\"), _Drawn("other_class", "#f0e442", ""))
"""Blue, vermilion and yellow of Okabe and Ito: told apart by every kind of colour vision, and by their stripes."""


def difference_tile(a: Layer, b: Layer, *, level: int, column: int, row: int) -> bytes:
    """Return a tile as RGBA PNG, transparent where two masks of one size agree. Raises NotFound where there is none."""
    place = level, column, row
    kinds = _kinds(layer_values(a, *place), layer_values(b, *place))
    region = layer_zoom(a).region(*place)
    out = io.BytesIO()
    Image.fromarray(_painted(kinds, region), "RGBA").save(out, "PNG", compress_level=1)
    return out.getvalue()


def count_pairs(a: Layer, b: Layer, classes: int, *, go_on: Callable[[], None]) -> NDArray[np.int64]:
    """Return (classes, classes) pixels by class in a (rows) and in b, at full resolution, block by block.

    ``go_on`` is called before each block, and ends the work by what it raises.
    """
    counts = np.zeros(classes * classes, np.int64)
    rows, columns = _BLOCK
    for y in range(0, a.size.height, rows):
        for x in range(0, a.size.width, columns):
            go_on()
            block = Region(x, y, min(columns, a.size.width - x), min(rows, a.size.height - y))
            codes = a.read(0, block).astype(np.uint16) * classes + b.read(0, block)
            counts += np.bincount(codes.ravel(), minlength=counts.size)
    return counts.reshape(classes, classes)


def class_agreement(counts: NDArray[np.int64], names: Sequence[str], pixel_um2: float | None) -> list[ClassAgreement]:
    """Return how far each class agrees."""
    of_a, of_b, both = counts.sum(1), counts.sum(0), counts.diagonal()
    return [
        ClassAgreement(
            name=name,
            pixels_a=int(in_a),
            pixels_b=int(in_b),
            pixels_both=int(shared),
            area_a_um2=_area(in_a, pixel_um2),
            area_b_um2=_area(in_b, pixel_um2),
            dice=None if in_a + in_b == 0 else float(2 * shared / (in_a + in_b)),
        )
        for name, in_a, in_b, shared in zip(names, of_a, of_b, both, strict=True)
    ]


def mean_foreground_dice(classes: Sequence[ClassAgreement]) -> float | None:
    """Return the mean Dice of the foreground classes that either mask has; the first class is background."""
    known = [c.dice for c in classes[1:] if c.dice is not None]
    return fmean(known) if known else None


def class_pairs(counts: NDArray[np.int64], names: Sequence[str], pixel_um2: float | None) -> list[ClassPair]:
    """Return the pairs of different classes that occur, the largest first."""
    found = [
        ClassPair(a=names[i], b=names[j], pixels=int(counts[i, j]), area_um2=_area(counts[i, j], pixel_um2))
        for i, j in zip(*np.nonzero(counts), strict=True)
        if i != j
    ]
    return sorted(found, key=lambda pair: -pair.pixels)


def kinds_of_difference(counts: NDArray[np.int64], pixel_um2: float | None) -> list[KindOfDifference]:
    """Return the legend of the layer with the pixels of each kind."""
    inner = counts[1:, 1:]
    pixels = {
        "only_a": counts[1:, 0].sum(),
        "only_b": counts[0, 1:].sum(),
        "other_class": inner.sum() - inner.diagonal().sum(),
    }
    return [
        KindOfDifference(
            kind=drawn.kind,
            color=drawn.color,
            hatch=drawn.hatch,
            pixels=int(pixels[drawn.kind]),
            area_um2=_area(pixels[drawn.kind], pixel_um2),
        )
        for drawn in _DRAWN
    ]


def _kinds(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.intp]:
    """Return 0 where both agree, else 1 + the number of the kind in ``_DRAWN``."""
    return np.select([a == b, b == 0, a == 0], [0, 1, 2], 3)


def _painted(kinds: NDArray[np.intp], region: Region) -> NDArray[np.uint8]:
    """Return (height, width, 4); stripes go on over the borders of tiles."""
    table = np.zeros((len(_DRAWN) + 1, 4), np.uint8)
    table[1:, :3] = [list(bytes.fromhex(drawn.color[1:])) for drawn in _DRAWN]
    y = np.arange(region.y, region.y + region.height)[:, None]
    x = np.arange(region.x, region.x + region.width)[None, :]
    slants = {"/": x + y, "\\": x - y, "": np.zeros_like(x + y)}
    stripes = np.stack([slants[drawn.hatch] % (2 * _STRIPE_PX) < _STRIPE_PX for drawn in _DRAWN])
    strong = np.take_along_axis(stripes, np.maximum(kinds - 1, 0)[None], 0)[0]
    out = table[kinds]
    out[:, :, 3] = np.where(kinds == 0, 0, np.where(strong, _STRONG, _WEAK))
    return out


def _area(pixels: Any, pixel_um2: float | None) -> float | None:
    return None if pixel_um2 is None else float(pixels * pixel_um2)
