"""Tiles of the layers of a segmentation: class colours with a transparent background, maps in cividis."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from intima.arrays import RgbImage
from intima.deepzoom import DeepZoom
from intima.formats.ome_tiff import halve_labels, halve_map
from intima.formats.png import cividis
from intima.slides.layers import Layer

TILE_PX = 256
"""That of the stored pyramids, without overlap: a tile is one stored tile."""
_JPEG_QUALITY = 85


def layer_zoom(layer: Layer) -> DeepZoom:
    """Return the Deep Zoom pyramid of a layer."""
    return DeepZoom(layer.size, tile_px=TILE_PX, overlap_px=0)


def layer_tile(layer: Layer, *, level: int, column: int, row: int) -> bytes:
    """Return a tile as RGBA PNG. Raises NotFound where there is none."""
    out = io.BytesIO()
    Image.fromarray(_colored(layer, layer_values(layer, level, column, row)), "RGBA").save(out, "PNG", compress_level=1)
    return out.getvalue()


def layer_values(layer: Layer, level: int, column: int, row: int) -> NDArray[Any]:
    """Return (height, width) of what a tile shows. Raises NotFound where there is none."""
    zoom = layer_zoom(layer)
    region = zoom.region(level, column, row)
    stored = zoom.last_level - level
    return layer.read(stored, region) if stored < layer.levels else _smaller(layer, stored)


def slide_tile(pixels: RgbImage) -> bytes:
    """Return a part of a slide as JPEG, its colours at full resolution: stains meet at thin borders."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def _smaller(layer: Layer, level: int) -> NDArray[Any]:
    """Return a whole level below the stored ones."""
    halve: Callable[[NDArray[Any]], NDArray[Any]] = halve_map if layer.colors is None else halve_labels
    values = layer.read_level(layer.levels - 1)
    for _ in range(level - layer.levels + 1):
        values = halve(values)
    return values


def _colored(layer: Layer, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return (height, width, 4) colours."""
    table = layer.colors
    colors = cividis(values) if table is None else table[values]
    shown = np.ones_like(values, dtype=bool) if table is None else values > 0
    opacity = np.where(shown, 255, 0).astype(np.uint8)
    return np.where(opacity[:, :, None] > 0, np.dstack([colors, opacity]), 0).astype(np.uint8)
