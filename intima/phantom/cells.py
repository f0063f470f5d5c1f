"""Cells: nuclei of the wall and its surroundings, erythrocytes in the lumen, fat cells outside."""

import math

import numpy as np
from scipy import ndimage, spatial

from intima.phantom.rings import Rings
from intima.phantom.spec import PhantomSpec
from intima.phantom.texture import Field, cloud

_FAT_UM = 46.0
_CELL_UM2 = {"media": 260.0, "neointima": 420.0, "outside": 1500.0}
"""One nucleus per so many µm²."""


def nuclei(spec: PhantomSpec, rings: Rings, rng: np.random.Generator) -> Field:
    """Return the cover of all nuclei: spindles along the wall in the media, plumper and freer in the neointima."""
    cover = np.zeros_like(rings.radius)
    margin = 2.5
    media = (rings.depth > 0) & (rings.in_iel < -4) & (rings.in_eel > 4)
    neointima = (rings.in_iel > margin) & (rings.in_lumen < -margin)
    outside = (rings.in_eel < -6) & (rings.in_eel > -0.35 * spec.anatomy.eel_radius_um)
    _scatter(cover, media, spec, rings, rng, per_um2=260.0, half=(5.5, 1.1), spread=0.12)
    _scatter(cover, neointima, spec, rings, rng, per_um2=360.0, half=(3.6, 1.4), spread=0.5)
    _scatter(cover, outside, spec, rings, rng, per_um2=1100.0, half=(4.5, 1.0), spread=0.35)
    return cover


def _scatter(
    cover: Field,
    where: np.ndarray,
    spec: PhantomSpec,
    rings: Rings,
    rng: np.random.Generator,
    *,
    per_um2: float,
    half: tuple[float, float],
    spread: float,
) -> None:
    places = np.flatnonzero(where)
    count = rng.poisson(len(places) * spec.mpp**2 / per_um2) if len(places) else 0
    for place in rng.choice(places, size=count) if count else ():
        y, x = divmod(int(place), cover.shape[1])
        tangent = math.tau * float(rings.turn[y, x]) + math.pi / 2 + rng.normal(0, spread)
        size = np.array(half) * rng.uniform(0.7, 1.3, size=2) / spec.mpp
        _stamp(cover, (y + rng.random(), x + rng.random()), size, tangent, rng.uniform(0.6, 0.95))


def _stamp(cover: Field, at: tuple[float, float], half_px: np.ndarray, angle: float, strength: float) -> None:
    """Darken an ellipse of the given half axes, soft by half a pixel."""
    reach = int(half_px.max()) + 2
    y0, x0 = int(at[0]) - reach, int(at[1]) - reach
    y1, x1 = y0 + 2 * reach + 1, x0 + 2 * reach + 1
    if y0 < 0 or x0 < 0 or y1 > cover.shape[0] or x1 > cover.shape[1]:
        return
    dy = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5 - at[0])
    dx = np.arange(x0, x1, dtype=np.float32)[None, :] + np.float32(0.5 - at[1])
    along, across = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
    distance = (1 - np.hypot(along / half_px[0], across / half_px[1])) * half_px[1]
    patch = cover[y0:y1, x0:x1]
    np.maximum(patch, strength * np.clip(distance + 0.5, 0, 1), out=patch)


def blood_cells(spec: PhantomSpec, rings: Rings, rng: np.random.Generator) -> Field:
    """Return the amount of erythrocytes in the lumen: discs of about 6 µm in loose clumps."""
    cover = np.zeros_like(rings.radius)
    places = np.flatnonzero(rings.in_lumen > 5)
    if not len(places) or spec.degradation.blood <= 0:
        return cover
    clumps = cloud(rng, cover.shape, scale_px=70 / spec.mpp).ravel()[places]
    weight = np.exp(2.2 * clumps)
    count = rng.poisson(spec.degradation.blood * 0.12 * len(places) * spec.mpp**2 / 28.0)
    for place in rng.choice(places, size=count, p=weight / weight.sum()) if count else ():
        y, x = divmod(int(place), cover.shape[1])
        half = np.array([2.9, rng.uniform(1.9, 2.9)]) * rng.uniform(0.85, 1.15) / spec.mpp
        _stamp(cover, (y + rng.random(), x + rng.random()), half, rng.uniform(0, math.pi), rng.uniform(0.5, 0.9))
    return cover


def fat_walls(spec: PhantomSpec, rings: Rings, rng: np.random.Generator) -> Field:
    """Return the walls of fat cells: a rounded Voronoi net over the whole image."""
    cells = max(2, math.ceil(spec.field_um / _FAT_UM))
    grid = np.stack(np.meshgrid(np.arange(-1, cells + 1), np.arange(-1, cells + 1)), axis=-1).reshape(-1, 2)
    seeds = (grid + 0.5 + rng.uniform(-0.42, 0.42, size=grid.shape)) * _FAT_UM / spec.mpp
    step = max(1, round(2 / spec.mpp))
    ticks = np.arange(0, spec.size_px + step, step, dtype=np.float32)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    near = spatial.cKDTree(seeds).query(points.reshape(-1, 2), k=2)[0].astype(np.float32)
    gap = (near[:, 1] - near[:, 0]).reshape(len(ticks), len(ticks))
    grid_px = np.mgrid[: spec.size_px, : spec.size_px].astype(np.float32) / np.float32(step)
    fine = ndimage.map_coordinates(ndimage.gaussian_filter(gap, 1.2), grid_px, order=1)
    result: Field = np.clip(1.0 - (fine * np.float32(spec.mpp) - 1.2) / 2.2, 0, 1)
    return result
