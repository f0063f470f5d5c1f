"""Random fields that the painter lays over tissue: float32, about zero mean and unit variance.

Fields are sampled at points, so that a tissue is painted only where it is.
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field: TypeAlias = NDArray[np.float32]
"""float32 of any shape: (height, width), (points,) or with a last axis of 3 channels."""


def cloud(rng: np.random.Generator, x_um: Field, y_um: Field, *, scale_um: float) -> Field:
    """Return isotropic smooth noise with blobs of about ``scale_um`` at points of the image."""
    step = scale_um / 3
    rows, columns = (_power_of_two(float(axis.max(initial=0)) / step + 4) for axis in (y_um, x_um))
    tile = _noise_tile(rng, (rows, columns), smooth=(1.5, 1.5))
    return _sampled(tile, y_um / np.float32(step), x_um / np.float32(step))


def strands(
    rng: np.random.Generator,
    across_um: Field,
    turn: Field,
    *,
    width_um: float,
    length_um: float,
    around_um: float,
) -> Field:
    """Return noise drawn out along a ring.

    Args:
        rng: source of randomness.
        across_um: position across the ring; strands follow its level lines.
        turn: position along the ring, 0..1.
        width_um: breadth of a strand.
        length_um: length of a strand.
        around_um: length of the whole ring.
    """
    columns = _power_of_two(9 * around_um / length_um)
    tile = _noise_tile(rng, (256, columns), smooth=(0.85, length_um * columns / around_um / 3))
    return _sampled(tile, across_um / np.float32(width_um), turn * np.float32(columns))


def strip(rng: np.random.Generator, turn: Field, *, cells: int, smooth: float) -> Field:
    """Return noise that varies along the ring only; ``turn`` is 0..1."""
    line = _noise_tile(rng, (1, cells), smooth=(0.0, smooth))[0]
    position = turn * np.float32(cells)
    index = position.astype(np.int32)
    start = line[index % cells]
    result: Field = start + (position - index.astype(np.float32)) * (line[(index + 1) % cells] - start)
    return result


def _noise_tile(rng: np.random.Generator, shape: tuple[int, int], *, smooth: tuple[float, float]) -> Field:
    """Return noise, periodic along both axes, smoothed by so many cells along each."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), smooth, mode="wrap")
    spread = max(float(noise.std()), 1e-6)
    result: Field = ((noise - noise.mean()) / np.float32(spread)).astype(np.float32)
    return result


def _sampled(tile: Field, rows: Field, columns: Field) -> Field:
    """Look a periodic tile, whose sides are powers of two, up at fractional (row, column), bilinear."""
    flat, height, width = tile.ravel(), tile.shape[0], tile.shape[1]
    top, left = np.floor(rows), np.floor(columns)
    down, right = rows - top, columns - left
    i, j = top.astype(np.int32) & (height - 1), left.astype(np.int32) & (width - 1)
    beside = (j + 1) & (width - 1)
    upper, lower = i * width, ((i + 1) & (height - 1)) * width
    first, second = flat.take(upper + j), flat.take(lower + j)
    first += (flat.take(upper + beside) - first) * right
    second += (flat.take(lower + beside) - second) * right
    result: Field = first + (second - first) * down
    return result


def _power_of_two(at_least: float) -> int:
    return 1 << max(2, math.ceil(math.log2(at_least)))


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
            distance = dx * dx + dy * dy
            second = np.minimum(second, np.maximum(first, distance))
            first = np.minimum(first, distance)
    result: Field = (np.sqrt(second) - np.sqrt(first)) * np.float32(0.5 * cell_um)
    return result
