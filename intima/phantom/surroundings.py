"""What lies outside the wall: dense adventitia, loose tissue, fat, and the damage of cutting and mounting."""

import math

import numpy as np

from intima.phantom.palette import Palette
from intima.phantom.rings import Rings
from intima.phantom.spec import PhantomSpec
from intima.phantom.texture import Field, cell_net, cloud, strands

_FAT_UM = 44.0
_CRIMP_UM = 34.0
_AROUND_UM = 1800.0
"""Nominal length of the adventitia; fibres of larger vessels are longer in proportion."""


def surroundings(spec: PhantomSpec, rings: Rings, palette: Palette, rng: np.random.Generator) -> Field:
    """Return the optical density (points, 3) outside the wall."""
    tissue, tears, folds = rng.spawn(3)
    density = palette.glass + _adventitia(spec, rings, palette, tissue)
    density = _torn(spec, rings, palette, density, tears)
    return _folded(spec, rings, density, folds)


def _adventitia(spec: PhantomSpec, rings: Rings, palette: Palette, rng: np.random.Generator) -> Field:
    breadth = np.float32(spec.anatomy.eel_radius_um) * np.clip(
        spec.anatomy.adventitia * (1 + 0.3 * cloud(rng, rings.x, rings.y, scale_um=260.0)), 0.1, 0.6
    )
    away = rings.away / breadth
    wavy = _crimped(rings, rng)
    bundles = strands(rng, wavy, rings.turn, width_um=5.0, length_um=60.0, around_um=_AROUND_UM)
    sheets = strands(rng, wavy, rings.turn, width_um=2.2, length_um=40.0, around_um=_AROUND_UM)
    threads = strands(rng, wavy, rings.turn, width_um=0.9, length_um=24.0, around_um=_AROUND_UM)
    grain = cloud(rng, rings.x, rings.y, scale_um=4.0)
    packed = np.clip(1.35 - 1.05 * away, -0.85, 1.0)
    amount = np.clip(packed + 0.42 * bundles + 0.3 * sheets, 0, 1.25) * np.clip(
        0.8 + 0.3 * threads + 0.1 * grain, 0.2, 1.7
    )
    elastic = np.clip(threads - 1.5, 0, 1) * np.clip(1.25 - 2.2 * away, 0, 0.9)
    patch = cloud(rng, rings.x, rings.y, scale_um=200.0) + 4 * (spec.anatomy.fat - 0.6)
    fatty = np.clip(1.5 * away - 0.9, 0, 1) * np.clip(1.2 * patch + 0.6, 0, 1)
    wall = np.zeros_like(fatty)
    wall[fatty > 0] = _fat_wall(rings.where(fatty > 0), rng) * fatty[fatty > 0]
    amount = amount * (1 - 0.85 * fatty)
    density = amount[:, None] * palette.collagen + (0.18 * amount)[:, None] * palette.matrix
    result: Field = density + elastic[:, None] * palette.elastin + wall[:, None] * palette.fat
    return result


def _crimped(rings: Rings, rng: np.random.Generator) -> Field:
    """Return the position across the wall in µm, bent as bundles of collagen are: slow sway and tight crimp."""
    slow = cloud(rng, rings.x, rings.y, scale_um=130.0)
    phase = cloud(rng, rings.x, rings.y, scale_um=60.0)
    height = np.clip(1.7 + 1.1 * cloud(rng, rings.x, rings.y, scale_um=120.0), 0.4, 5.0)
    cycles = max(8, round(_AROUND_UM / _CRIMP_UM))
    crimp = height * np.sin(np.float32(cycles * math.tau) * rings.turn + 2.2 * phase)
    result: Field = rings.away + 7.0 * slow + crimp
    return result


def _fat_wall(rings: Rings, rng: np.random.Generator) -> Field:
    """Return the amount of fat-cell wall: thin sides, thicker corners."""
    sway = [3.0 * cloud(rng, rings.x, rings.y, scale_um=30.0) for _ in range(2)]
    gap = cell_net(rng, np.abs(rings.x + sway[0]), np.abs(rings.y + sway[1]), cell_um=_FAT_UM)
    thickness = np.clip(1.0 + 0.35 * cloud(rng, rings.x, rings.y, scale_um=40.0), 0.5, 2.5)
    result: Field = np.clip(1.4 - gap / thickness, 0, 1)
    return result


def _torn(spec: PhantomSpec, rings: Rings, palette: Palette, density: Field, rng: np.random.Generator) -> Field:
    """Open clefts along the bundles, at some distance from the wall."""
    for _ in range(spec.degradation.tears):
        at = spec.anatomy.eel_radius_um * rng.uniform(0.06, 0.35)
        arc, wide = rng.uniform(0.02, 0.09), rng.uniform(3.0, 10.0)
        aside = np.abs((rings.turn - np.float32(rng.random()) + np.float32(0.5)) % 1 - np.float32(0.5))
        near = aside < arc
        part = rings.where(near)
        half = wide * np.sqrt(1 - (aside[near] / arc) ** 2)
        bent = part.away - at + 6.0 * cloud(rng, part.x, part.y, scale_um=60.0)
        cover = np.clip((half - np.abs(bent)) / np.float32(spec.mpp), 0, 1)[:, None]
        density[near] += (palette.glass - density[near]) * cover
    return density


def _folded(spec: PhantomSpec, rings: Rings, density: Field, rng: np.random.Generator) -> Field:
    """Double the tissue in a strip that ends before the wall."""
    for _ in range(spec.degradation.folds):
        angle = rng.uniform(0, math.tau)
        middle = spec.field_um * (0.5 + 0.36 * np.array([math.cos(angle), math.sin(angle)]))
        turn = angle + rng.uniform(0.9, 2.2)
        offset = (rings.x - middle[0]) * math.cos(turn) + (rings.y - middle[1]) * math.sin(turn)
        offset = np.abs(offset + 8.0 * cloud(rng, rings.x, rings.y, scale_um=150.0))
        wide = rng.uniform(5.0, 14.0)
        depth = np.clip(0.55 + 0.3 * cloud(rng, rings.x, rings.y, scale_um=25.0), 0.1, 1.1)
        strip = depth * np.clip((wide - offset) / 5.0, 0, 1) * np.clip(rings.away / 25.0 - 0.5, 0, 1)
        density = density * (1 + strip[:, None])
    return density
