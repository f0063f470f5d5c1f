"""Lay tissue over glass: every pixel gets an optical density per colour channel.

The bold laminae lie wholly within the media: the luminal edge of the internal elastic lamina is the
border neointima/media, the outer edge of the external one the border media/adventitia.
"""

import numpy as np

from intima.phantom.cells import blood_cells, fat_walls, nuclei
from intima.phantom.palette import Palette
from intima.phantom.rings import Rings
from intima.phantom.spec import PhantomSpec
from intima.phantom.texture import Field, cloud, ring_tile, sample_tile

_BOLD_UM, _FINE_UM = 1.5, 0.75
"""Half width of the bold and the fine laminae."""


def paint(spec: PhantomSpec, rings: Rings, palette: Palette) -> Field:
    """Return the optical density (height, width, 3) of the section, before the microscope."""
    rng = np.random.default_rng([spec.seed, spec.section, 21])
    density = np.broadcast_to(palette.glass, (*rings.radius.shape, 3)).copy()
    outside = _surroundings(spec, rings, palette, rng)
    density = _over(density, outside, _cover(-rings.in_eel, spec.mpp))
    density = _over(density, _media(spec, rings, palette, rng), _cover(rings.in_eel, spec.mpp))
    density = _over(density, _neointima(spec, rings, palette, rng), _cover(rings.in_iel, spec.mpp))
    lumen = palette.glass + blood_cells(spec, rings, rng)[..., None] * palette.blood
    density = _over(density, lumen, _cover(rings.in_lumen, spec.mpp))
    cells = nuclei(spec, rings, rng)
    return _over(density, np.broadcast_to(palette.nucleus, density.shape), cells)


def _over(below: Field, above: Field, cover: Field) -> Field:
    result: Field = below + (above - below) * cover[..., None]
    return result


def _cover(inside_um: Field, mpp: float) -> Field:
    result: Field = np.clip(inside_um / np.float32(mpp) + np.float32(0.5), 0, 1)
    return result


def _fibres(rings: Rings, rng: np.random.Generator, *, width_um: float, length_um: float, waviness_um: float) -> Field:
    """Return noise drawn out along the wall, in bundles that wave in and out."""
    outer = float(rings.radius.max())
    columns = 2048
    rows = max(64, int(outer / width_um) + 8)
    tile = ring_tile(rng, (rows, columns), radial=1.0, along=length_um / outer * columns / 6)
    sway = cloud(rng, rings.radius.shape, scale_px=8 * length_um / 10)
    return sample_tile(tile, (rings.radius + waviness_um * sway) / np.float32(width_um), rings.turn)


def _line(offset_um: Field, half_um: float, mpp: float) -> Field:
    """Return the cover of a line of the given half width; thinner than a pixel it pales instead of vanishing."""
    half_px = half_um / mpp
    edge = np.clip(half_px + 0.5 - np.abs(offset_um) / np.float32(mpp), 0, 1)
    result: Field = edge * np.float32(min(1.0, 2 * half_px + 0.25))
    return result


def _media(spec: PhantomSpec, rings: Rings, palette: Palette, rng: np.random.Generator) -> Field:
    grain = _fibres(rings, rng, width_um=1.6, length_um=26.0, waviness_um=2.0)
    broad = cloud(rng, rings.radius.shape, scale_px=60 / spec.mpp)
    muscle = np.clip(0.95 + 0.16 * grain + 0.08 * broad, 0.3, 1.6)
    collagen = np.clip(0.10 + 0.10 * _fibres(rings, rng, width_um=2.5, length_um=40.0, waviness_um=3.0), 0, 0.5)
    density = muscle[..., None] * palette.muscle + collagen[..., None] * palette.collagen
    return _over(density, np.broadcast_to(palette.elastin, density.shape), _laminae(spec, rings, rng))


def _laminae(spec: PhantomSpec, rings: Rings, rng: np.random.Generator) -> Field:
    """Return the cover of all elastic laminae: two bold ones, finer and broken ones between."""
    turn = rings.turn
    cover = np.zeros_like(turn)
    for k in range(spec.anatomy.laminae):
        level = (k + 1 + rng.uniform(-0.15, 0.15)) / (spec.anatomy.laminae + 1)
        sway = sample_tile(ring_tile(rng, (1, 1024), radial=0, along=5.0), np.zeros_like(turn), turn)
        breaks = sample_tile(ring_tile(rng, (1, 2048), radial=0, along=9.0), np.zeros_like(turn), turn)
        offset = (rings.depth - level) * rings.media_um - np.float32(0.9) * sway
        strength = np.clip(0.78 + 0.35 * breaks, 0.05, 1.0)
        cover = np.maximum(cover, strength * _line(offset, _FINE_UM * rng.uniform(0.7, 1.3), spec.mpp))
    uneven = np.clip(1.0 + 0.25 * cloud(rng, turn.shape, scale_px=18 / spec.mpp), 0.5, 1.3)
    cover = np.maximum(cover, 0.97 * _line(rings.in_iel + _BOLD_UM, _BOLD_UM, spec.mpp))
    outer = np.clip(0.85 * uneven, 0.35, 0.95) * _line(rings.in_eel - _BOLD_UM, _BOLD_UM, spec.mpp)
    result: Field = np.maximum(cover, outer).astype(np.float32)
    return result


def _neointima(spec: PhantomSpec, rings: Rings, palette: Palette, rng: np.random.Generator) -> Field:
    mottle = cloud(rng, rings.radius.shape, scale_px=22 / spec.mpp)
    fibrils = _fibres(rings, rng, width_um=2.2, length_um=18.0, waviness_um=7.0)
    amount = np.clip(0.95 + 0.10 * mottle + 0.13 * fibrils, 0.35, 1.6)
    strands = np.clip(0.07 + 0.07 * fibrils + 0.05 * mottle, 0, 0.4)
    result: Field = amount[..., None] * palette.matrix + strands[..., None] * palette.collagen
    return result


def _surroundings(spec: PhantomSpec, rings: Rings, palette: Palette, rng: np.random.Generator) -> Field:
    """Adventitia next to the wall, fading into loose tissue and fat, torn and folded in places."""
    shape = rings.radius.shape
    away = -rings.in_eel
    breadth = spec.anatomy.eel_radius_um * np.clip(0.28 + 0.10 * cloud(rng, shape, scale_px=240 / spec.mpp), 0.12, 0.6)
    bundles = _fibres(rings, rng, width_um=4.0, length_um=70.0, waviness_um=9.0)
    threads = _fibres(rings, rng, width_um=1.7, length_um=45.0, waviness_um=9.0)
    packed = np.clip(1.25 - away / breadth, -1.6, 1.0)
    amount = np.clip(packed + 0.38 * bundles + 0.22 * threads, 0, 1.5) * np.clip(0.9 + 0.12 * threads, 0.5, 1.3)
    amount = np.maximum(amount * 0.8, 0)
    density = palette.glass + amount[..., None] * palette.collagen
    fine_elastic = np.clip(threads - 1.5, 0, 1) * np.clip(1.2 - away / (0.4 * breadth), 0, 1)
    density = density + 0.8 * fine_elastic[..., None] * palette.elastin
    fat = fat_walls(spec, rings, rng) * np.clip(0.75 - packed, 0, 1)
    density = density + fat[..., None] * palette.fat
    return _damaged(spec, rings, density, palette, rng)


def _damaged(spec: PhantomSpec, rings: Rings, density: Field, palette: Palette, rng: np.random.Generator) -> Field:
    for _ in range(spec.degradation.tears):
        at = spec.anatomy.eel_radius_um * rng.uniform(1.08, 1.4)
        arc = rng.uniform(0.02, 0.12)
        wide = rng.uniform(3.0, 12.0)
        distance = np.abs((rings.turn - rng.random() + 0.5) % 1.0 - 0.5)
        sway = cloud(rng, rings.radius.shape, scale_px=50 / spec.mpp)
        gap = wide * np.sqrt(np.clip(1 - (distance / arc) ** 2, 0, None))
        offset = np.abs(rings.in_eel + (at - spec.anatomy.eel_radius_um) + 5.0 * sway)
        cover = np.clip((gap - offset) / np.float32(spec.mpp), 0, 1)
        density = _over(density, np.broadcast_to(palette.glass, density.shape), cover)
    return density
