"""Colours of an EVG (elastica van Gieson) stain as optical densities per channel (Beer-Lambert)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intima.arrays import RgbImage
from intima.phantom.spec import Stain
from intima.phantom.texture import Field


@dataclass(frozen=True, slots=True)
class Palette:
    """Optical density (3,) of each component."""

    elastin: Field
    """Blue-black: laminae and fibres."""
    muscle: Field
    """Yellow-brown: picric acid."""
    collagen: Field
    """Red to magenta: acid fuchsin."""
    matrix: Field
    """Pale pink-tan ground of the neointima."""
    nucleus: Field
    blood: Field
    """Yellow-orange erythrocytes."""
    fat: Field
    """Walls of fat cells."""
    glass: Field


def stained(stain: Stain) -> Palette:
    """Return the palette of a stain."""
    red = np.array([186.0, 62.0, 96.0]) + stain.hue * np.array([-8.0, -14.0, 26.0])
    tan = np.array([216.0, 182.0, 168.0]) + stain.hue * np.array([-4.0, -6.0, 10.0])
    return Palette(
        elastin=_density((30, 25, 44), stain.elastin),
        muscle=_density((194, 156, 104), stain.muscle),
        collagen=_density(list(red), stain.collagen),
        matrix=_density(list(tan), math.sqrt(stain.collagen * stain.muscle)),
        nucleus=_density((66, 50, 64), stain.elastin),
        blood=_density((214, 152, 66), stain.muscle),
        fat=_density((204, 140, 150), stain.collagen),
        glass=_density((243, 241, 237), 1.0),
    )


def transmitted(density: Field) -> Field:
    """Return (height, width, 3) light in 0..1 that passes an optical density."""
    result: Field = np.exp(-density)
    return result


def to_bytes(light: Field) -> RgbImage:
    """Return light in 0..1 as 8-bit sRGB values."""
    result: RgbImage = np.clip(np.rint(light * 255.0), 0, 255).astype(np.uint8)
    return result


def _density(rgb: Sequence[float], strength: float) -> Field:
    result: Field = (-np.log(np.asarray(rgb) / 255.0) * strength).astype(np.float32)
    return result
