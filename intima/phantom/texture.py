"""Random fields that the painter lays over tissue. All are float32 of zero mean and unit variance."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field: TypeAlias = NDArray[np.float32]
"""(height, width) float32."""


def cloud(rng: np.random.Generator, shape: tuple[int, int], *, scale_px: float) -> Field:
    """Return isotropic smooth noise whose blobs are about ``scale_px`` wide."""
    step = max(1.0, scale_px / 3)
    coarse = tuple(int(np.ceil(n / step)) + 4 for n in shape)
    noise = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), scale_px / step / 2)
    if step > 1.0:
        grid = np.meshgrid(*(np.arange(n, dtype=np.float32) / np.float32(step) for n in shape), indexing="ij")
        noise = ndimage.map_coordinates(noise, grid, order=1)
    return _standardised(noise[: shape[0], : shape[1]])


def ring_tile(
    rng: np.random.Generator, shape: tuple[int, int], *, radial: float, along: float
) -> Field:
    """Return a (radius, angle) noise tile, periodic along both, smoothed by the given cells along each axis."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    return _standardised(ndimage.gaussian_filter(noise, (radial, along), mode="wrap"))


def sample_tile(tile: Field, rows: Field, turns: Field) -> Field:
    """Look the tile up at (row, turn in 0..1), bilinear and periodic."""
    columns = turns * np.float32(tile.shape[1])
    r0, c0 = np.floor(rows), np.floor(columns)
    fr, fc = rows - r0, columns - c0
    ri, ci = r0.astype(np.intp) % tile.shape[0], c0.astype(np.intp) % tile.shape[1]
    rj, cj = (ri + 1) % tile.shape[0], (ci + 1) % tile.shape[1]
    top = tile[ri, ci] * (1 - fc) + tile[ri, cj] * fc
    bottom = tile[rj, ci] * (1 - fc) + tile[rj, cj] * fc
    result: Field = top * (1 - fr) + bottom * fr
    return result


def _standardised(noise: Field) -> Field:
    result: Field = ((noise - noise.mean()) / max(float(noise.std()), 1e-6)).astype(np.float32)
    return result
