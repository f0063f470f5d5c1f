"""Cells: nuclei of the wall and its surroundings, erythrocytes in the lumen."""

import math
from dataclasses import dataclass

import numpy as np

from intima.arrays import BinaryMask, FloatVector
from intima.phantom.rings import Rings
from intima.phantom.spec import PhantomSpec
from intima.phantom.texture import Field, cloud


@dataclass(frozen=True, slots=True)
class Population:
    """Cells of one tissue."""

    per_um2: float
    """One cell per so many µm²."""
    half_um: tuple[float, float]
    """Half axes along and across the wall."""
    spread: float
    """Standard deviation of the direction about the wall's, radians."""
    strength: tuple[float, float] = (0.5, 0.95)
    """Faintest and darkest cell."""


_MUSCLE = Population(190.0, (5.5, 1.0), 0.10, (0.45, 0.9))
_INTIMAL = Population(170.0, (3.8, 1.2), 0.45)
_FIBROBLASTS = Population(700.0, (4.2, 0.9), 0.3, (0.4, 0.85))
_ENDOTHELIUM = Population(38.0, (3.6, 0.9), 0.08, (0.6, 0.95))


def nuclei(spec: PhantomSpec, rings: Rings, rng: np.random.Generator) -> Field:
    """Return the cover of all nuclei: spindles along the wall in the media, plumper and freer in the neointima."""
    cover = np.zeros_like(rings.turn)
    reach = 0.9 * spec.anatomy.adventitia * spec.anatomy.eel_radius_um
    _scatter(cover, _MUSCLE, (rings.in_iel < -4) & (rings.in_eel > 4), spec=spec, rings=rings, rng=rng)
    _scatter(cover, _INTIMAL, (rings.in_iel > 2) & (rings.in_lumen < -3), spec=spec, rings=rings, rng=rng)
    _scatter(cover, _FIBROBLASTS, (rings.away > 4) & (rings.away < reach), spec=spec, rings=rings, rng=rng)
    _scatter(cover, _ENDOTHELIUM, (rings.in_lumen < -0.4) & (rings.in_lumen > -1.9), spec=spec, rings=rings, rng=rng)
    return cover


def erythrocytes(spec: PhantomSpec, rings: Rings, rng: np.random.Generator) -> Field:
    """Return the cover of erythrocytes in the lumen: discs of about 6 µm in loose clumps."""
    cover = np.zeros_like(rings.turn)
    inside = rings.in_lumen > 3.5
    places = np.flatnonzero(inside)
    part = rings.where(inside)
    count = rng.poisson(spec.degradation.blood * 0.1 * len(places) * spec.mpp**2 / 28.0)
    if count == 0:
        return cover
    weight = np.exp(2.5 * cloud(rng, part.x, part.y, scale_um=80.0).astype(np.float64))
    for place in rng.choice(places, size=count, p=weight / weight.sum()):
        half = np.array([3.0, rng.uniform(1.5, 3.0)]) * rng.uniform(0.85, 1.15) / spec.mpp
        _stamp(cover, _jittered(place, cover, rng), half, angle=rng.uniform(0, math.pi), strength=rng.uniform(0.5, 0.9))
    return cover


def _scatter(
    cover: Field, cells: Population, where: BinaryMask, *, spec: PhantomSpec, rings: Rings, rng: np.random.Generator
) -> None:
    places = np.flatnonzero(where)
    count = rng.poisson(len(places) * spec.mpp**2 / cells.per_um2)
    if count == 0:
        return
    for place in rng.choice(places, size=count):
        half = np.array(cells.half_um) * rng.uniform(0.65, 1.35, size=2) / spec.mpp
        angle = float(rings.along.flat[place]) + rng.normal(0, cells.spread)
        _stamp(cover, _jittered(place, cover, rng), half, angle=angle, strength=rng.uniform(*cells.strength))


def _jittered(place: int, cover: Field, rng: np.random.Generator) -> tuple[float, float]:
    y, x = divmod(int(place), cover.shape[1])
    return y + rng.random(), x + rng.random()


def _stamp(cover: Field, at: tuple[float, float], half_px: FloatVector, *, angle: float, strength: float) -> None:
    """Darken an ellipse of the given half axes, soft by half a pixel; thinner than a pixel it pales."""
    reach = int(half_px.max()) + 2
    y0, x0 = max(int(at[0]) - reach, 0), max(int(at[1]) - reach, 0)
    patch = cover[y0 : int(at[0]) + reach + 1, x0 : int(at[1]) + reach + 1]
    dy = np.arange(y0, y0 + patch.shape[0], dtype=np.float32)[:, None] + np.float32(0.5 - at[0])
    dx = np.arange(x0, x0 + patch.shape[1], dtype=np.float32)[None, :] + np.float32(0.5 - at[1])
    along = (dx * math.cos(angle) + dy * math.sin(angle)) / half_px[0]
    across = (dy * math.cos(angle) - dx * math.sin(angle)) / half_px[1]
    distance = (1 - np.sqrt(along * along + across * across)) * half_px[1]
    np.maximum(patch, strength * np.clip(distance + 0.5, 0, min(1.0, 2 * half_px[1])), out=patch)
