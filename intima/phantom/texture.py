"""Random fields that the painter lays over tissue: float32, about zero mean and unit variance.

Fields are sampled at points, so that a tissue is painted only where it is.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field: TypeAlias = NDArray[np.float32]
"""float32 of any shape: (height, width), (points,) or with a last axis of 3 channels."""


def cloud(rng: np.random.Generator, x_um: Field, y_um: Field, *, scale_um: float) -> Field:
    """Return isotropic smooth noise with blobs of about ``scale_um`` at points of the image."""
    step = scale_um / 3
    shape = tuple(int(axis.max(initial=0) / step) + 4 for axis in (y_um, x_um))
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 1.5, mode="wrap")
    return sample_tile(_standardised(noise), y_um / np.float32(step), x_um / np.float32(step))


def ring_tile(rng: np.random.Generator, shape: tuple[int, int], *, radial: float, along: float) -> Field:
    """Return a (radius, angle) noise tile, periodic along both, smoothed by so many cells along each axis."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    return _standardised(ndimage.gaussian_filter(noise, (radial, along), mode="wrap"))


def sample_tile(tile: Field, rows: Field, columns: Field) -> Field:
    """Look a tile up at fractional (row, column), bilinear and periodic."""
    top, left = np.floor(rows), np.floor(columns)
    down, right = rows - top, columns - left
    i, j = top.astype(np.int32) % tile.shape[0], left.astype(np.int32) % tile.shape[1]
    below, beside = (i + 1) % tile.shape[0], (j + 1) % tile.shape[1]
    upper = tile[i, j] * (1 - right) + tile[i, beside] * right
    lower = tile[below, j] * (1 - right) + tile[below, beside] * right
    result: Field = upper * (1 - down) + lower * down
    return result


def strip(rng: np.random.Generator, turn: Field, *, cells: int, smooth: float) -> Field:
    """Return noise that varies with the angle only; ``turn`` is 0..1."""
    line = ring_tile(rng, (1, cells), radial=0.0, along=smooth)[0]
    position = turn * np.float32(cells)
    left = np.floor(position)
    index = left.astype(np.int32) % cells
    result: Field = line[index] + (position - left) * (line[(index + 1) % cells] - line[index])
    return result


def cell_net(rng: np.random.Generator, x_um: Field, y_um: Field, *, cell_um: float) -> Field:
    """Return the distance in µm to the nearest wall of a net of irregular polygons (Worley's F2 - F1, halved)."""
    cells = int(max(x_um.max(initial=0), y_um.max(initial=0)) / cell_um) + 4
    seeds = rng.uniform(-0.36, 0.36, size=(2, cells, cells)).astype(np.float32)
    column, row = x_um / np.float32(cell_um), y_um / np.float32(cell_um)
    j, i = column.astype(np.int32) + 1, row.astype(np.int32) + 1
    first = np.full(x_um.shape, 9.0, dtype=np.float32)
    second = first.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            dx = (j + (right - 0.5)).astype(np.float32) + seeds[0, i + down, j + right] - column
            dy = (i + (down - 0.5)).astype(np.float32) + seeds[1, i + down, j + right] - row
            distance = np.hypot(dx, dy)
            second = np.minimum(second, np.maximum(first, distance))
            first = np.minimum(first, distance)
    result: Field = (second - first) * np.float32(0.5 * cell_um)
    return result


def _standardised(noise: Field) -> Field:
    spread = max(float(noise.std()), 1e-6)
    result: Field = ((noise - noise.mean()) / np.float32(spread)).astype(np.float32)
    return result
