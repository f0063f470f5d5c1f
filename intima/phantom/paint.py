"""Lay tissue over glass: every pixel gets an optical density per colour channel.

The bold laminae lie wholly within the media: the luminal edge of the internal elastic lamina is the
border neointima/media, the outer edge of the external one the border media/adventitia.
"""

import numpy as np

from intima.phantom.cells import erythrocytes, nuclei
from intima.phantom.palette import Palette
from intima.phantom.rings import Rings
from intima.phantom.spec import PhantomSpec
from intima.phantom.surroundings import surroundings
from intima.phantom.texture import Field, cloud, strands, strip

_BOLD_UM, _FINE_UM = 1.5, 0.7
"""Half width of the bold and the fine laminae."""

_AROUND_UM = 1400.0
"""Nominal length of the wall; fibres of larger vessels are longer in proportion."""


def paint(spec: PhantomSpec, rings: Rings, palette: Palette) -> Field:
    """Return the optical density (height, width, 3) of the section, before the microscope."""
    streams = iter(np.random.default_rng([spec.seed, spec.section, 21]).spawn(6))
    density: Field = np.broadcast_to(palette.glass, (*rings.turn.shape, 3)).copy()
    for painter, inside_um in (
        (surroundings, -rings.in_eel),
        (_media, rings.in_eel),
        (_neointima, rings.in_iel),
        (_plasma, rings.in_lumen),
    ):
        cover = np.clip(inside_um / np.float32(spec.mpp) + np.float32(0.5), 0, 1)
        where = cover > 0
        _stain(density, cover, painter(spec, rings.where(where), palette, next(streams)))
    _stain(density, erythrocytes(spec, rings, next(streams)), palette.blood + palette.glass)
    _stain(density, nuclei(spec, rings, next(streams)), palette.nucleus)
    return density


def _stain(density: Field, cover: Field, colour: Field) -> None:
    """Lay a colour, (3,) or one per covered pixel, over what is there."""
    where = cover > 0
    density[where] += (colour - density[where]) * cover[where][:, None]


def _fibres(
    rings: Rings, depth_um: Field, rng: np.random.Generator, *, width_um: float, length_um: float, sway_um: float
) -> Field:
    """Return noise drawn out along the wall; ``depth_um`` is the position across it."""
    across: Field = depth_um + np.float32(sway_um) * cloud(rng, rings.x, rings.y, scale_um=1.5 * length_um)
    return strands(rng, across, rings.turn, width_um=width_um, length_um=length_um, around_um=_AROUND_UM)


def _line(offset_um: Field, half_um: Field | float, mpp: float) -> Field:
    """Return the cover of a line of the given half width; thinner than a pixel it pales instead of vanishing."""
    half_px = np.asarray(half_um, dtype=np.float32) / np.float32(mpp)
    edge = np.clip(half_px + np.float32(0.5) - np.abs(offset_um) / np.float32(mpp), 0, 1)
    result: Field = edge * np.minimum(np.float32(1.0), 2 * half_px + np.float32(0.25))
    return result


def _media(spec: PhantomSpec, rings: Rings, palette: Palette, rng: np.random.Generator) -> Field:
    depth = rings.media_depth * np.float32(spec.anatomy.media_um)
    grain = _fibres(rings, depth, rng, width_um=1.3, length_um=16.0, sway_um=1.0)
    broad = cloud(rng, rings.x, rings.y, scale_um=60.0)
    muscle = np.clip(0.92 + 0.17 * grain + 0.08 * broad, 0.25, 1.6)
    between = _fibres(rings, depth, rng, width_um=2.0, length_um=30.0, sway_um=1.5)
    collagen = np.clip(0.09 + 0.11 * between, 0, 0.5)
    density = muscle[:, None] * palette.muscle + collagen[:, None] * palette.collagen
    cover = _laminae(spec, rings, rng)[:, None]
    result: Field = density + (palette.elastin - density) * cover
    return result


def _laminae(spec: PhantomSpec, rings: Rings, rng: np.random.Generator) -> Field:
    """Return the cover of all elastic laminae: two bold ones, finer and broken ones between."""
    turn, mpp = rings.turn, spec.mpp
    cover = np.zeros_like(turn)
    for k in range(spec.anatomy.laminae):
        level = np.float32((k + 1 + rng.uniform(-0.15, 0.15)) / (spec.anatomy.laminae + 1))
        sway = strip(rng, turn, cells=1024, smooth=5.0)
        offset = (rings.media_depth - level) * rings.media_um - np.float32(0.9) * sway
        strength = np.clip(0.72 + 0.36 * strip(rng, turn, cells=2048, smooth=9.0), 0.05, 0.95)
        half = np.float32(_FINE_UM) * np.clip(1 + 0.3 * strip(rng, turn, cells=1024, smooth=6.0), 0.5, 1.7)
        cover = np.maximum(cover, strength * _line(offset, half, mpp))
    swell = np.clip(1 + 0.22 * strip(rng, turn, cells=1024, smooth=5.0), 0.55, 1.5)
    inner = 0.96 * _line(rings.in_iel + _BOLD_UM * swell, _BOLD_UM * swell, mpp)
    fray = np.clip(0.8 + 0.2 * strip(rng, turn, cells=2048, smooth=8.0), 0.3, 0.95)
    outer = fray * _line(rings.in_eel - 0.8 * _BOLD_UM, 0.8 * _BOLD_UM, mpp)
    result: Field = np.maximum(np.maximum(cover, inner), outer).astype(np.float32)
    return result


def _neointima(spec: PhantomSpec, rings: Rings, palette: Palette, rng: np.random.Generator) -> Field:
    depth = rings.intima_depth * np.float32(spec.anatomy.neointima * spec.anatomy.eel_radius_um + 1.0)
    fibrils = _fibres(rings, depth, rng, width_um=1.4, length_um=13.0, sway_um=3.0)
    bands = _fibres(rings, depth, rng, width_um=4.5, length_um=36.0, sway_um=5.0)
    grain = cloud(rng, rings.x, rings.y, scale_um=4.0)
    broad = cloud(rng, rings.x, rings.y, scale_um=90.0)
    amount = np.clip(0.9 + 0.13 * fibrils + 0.10 * bands + 0.09 * grain + 0.07 * broad, 0.2, 1.6)
    strands = np.clip(0.05 + 0.045 * bands + 0.035 * fibrils + 0.03 * broad, 0, 0.4)
    surface = 0.35 * np.exp(-np.maximum(-rings.in_lumen, 0) / np.float32(1.2))
    result: Field = (amount + surface)[:, None] * palette.matrix + strands[:, None] * palette.collagen
    return result


def _plasma(spec: PhantomSpec, rings: Rings, palette: Palette, rng: np.random.Generator) -> Field:
    """Glass with a breath of dried plasma."""
    film = np.clip(0.4 * cloud(rng, rings.x, rings.y, scale_um=110.0) - 0.1, 0, 1)
    result: Field = palette.glass + (0.05 * spec.degradation.blood * film)[:, None] * palette.matrix
    return result
