"""The three borders of the wall as radius functions of the angle, and the exact truth that follows.

All borders are star-shaped about the vessel's centre: a radius in µm at each of RAYS equally spaced
angles. Area is the integral of r²/2 over the angle and is exact to rounding for the drawn polygon of rays.
"""

import math
from dataclasses import dataclass

import numpy as np

from intima.arrays import FloatVector
from intima.errors import Invalid
from intima.phantom.spec import Anatomy, PhantomSpec

RAYS = 16384
"""Angles at which a border is sampled."""

_ANGLES: FloatVector = np.arange(RAYS) * (math.tau / RAYS)
_WAVELENGTH_UM = 26.0
_SMALLEST_LUMEN = 0.07


@dataclass(frozen=True, slots=True)
class Outline:
    """Radius in µm of each border at every ray; lumen <= iel < eel everywhere."""

    lumen: FloatVector
    iel: FloatVector
    eel: FloatVector


def draw_outline(spec: PhantomSpec) -> Outline:
    """Return the borders of a spec.

    Raises:
        Invalid: the vessel would leave the image, or its media has no room.
    """
    anatomy = spec.anatomy
    subject = np.random.default_rng([spec.seed, 11])
    section = np.random.default_rng([spec.seed, spec.section, 12])
    smooth_eel = anatomy.eel_radius_um * _ellipse(anatomy) * (1 + anatomy.irregularity * _lobes(subject, section, 5))
    thickness = anatomy.media_um * (1 + anatomy.media_eccentricity * _lobes(subject, section, 3) / 2)
    smooth_iel = smooth_eel - np.maximum(thickness, 0.35 * anatomy.media_um) * _slant(smooth_eel)
    if smooth_iel.min() <= 0.15 * anatomy.eel_radius_um:
        raise Invalid(f"Got a media of {anatomy.media_um:.0f} µm; that leaves no room for a lumen.")
    wave = anatomy.wave_um * _waves(section, float(smooth_iel.mean()))
    outline = Outline(
        lumen=_lumen(anatomy, smooth_iel, wave, subject, section),
        iel=smooth_iel + wave,
        eel=smooth_eel + 0.35 * anatomy.wave_um * _waves(section, float(smooth_eel.mean())),
    )
    _check_fits(outline, spec)
    return outline


def area_um2(radius: FloatVector) -> float:
    """Return the area enclosed by a border in µm²."""
    return float(np.mean(radius**2) * math.pi)


def perimeter_um(radius: FloatVector) -> float:
    """Return the length of a border in µm."""
    x, y = radius * np.cos(_ANGLES), radius * np.sin(_ANGLES)
    return float(np.hypot(x - np.roll(x, 1), y - np.roll(y, 1)).sum())


def obliquity(radius: FloatVector) -> FloatVector:
    """Return, per ray, the cosine between the ray and the normal of the border."""
    return 1.0 / _slant(radius)


def _slant(radius: FloatVector) -> FloatVector:
    slope = (np.roll(radius, -1) - np.roll(radius, 1)) / (2 * math.tau / RAYS)
    result: FloatVector = np.hypot(1.0, slope / radius)
    return result


def _ellipse(anatomy: Anatomy) -> FloatVector:
    """Polar radius of an ellipse of area pi."""
    turned = _ANGLES - anatomy.rotation
    q = anatomy.aspect
    result: FloatVector = math.sqrt(q) / np.hypot(q * np.cos(turned), np.sin(turned))
    return result


def _lobes(subject: np.random.Generator, section: np.random.Generator, orders: int) -> FloatVector:
    """Sum of low harmonics of unit size, mostly the subject's, a little the section's."""
    total = np.zeros(RAYS)
    for order in range(1, orders + 1):
        amplitude = (subject.normal(size=2) + 0.15 * section.normal(size=2)) / order
        total += amplitude[0] * np.cos(order * _ANGLES) + amplitude[1] * np.sin(order * _ANGLES)
    return total


def _waves(rng: np.random.Generator, radius_um: float) -> FloatVector:
    """Scallops of about 26 µm with drifting wavelength and height, between -1.3 and 1.3."""
    cycles = max(5, round(math.tau * radius_um / _WAVELENGTH_UM))
    drift = sum(
        rng.normal() / math.sqrt(k) * np.sin(k * _ANGLES + rng.uniform(0, math.tau)) for k in range(1, cycles // 3 + 2)
    )
    height = sum(0.25 * rng.normal() * np.sin(k * _ANGLES + rng.uniform(0, math.tau)) for k in range(1, 8))
    result: FloatVector = np.clip(1 + height, 0.3, 1.3) * np.sin(cycles * _ANGLES + drift)
    return result


def _lumen(
    anatomy: Anatomy,
    smooth_iel: FloatVector,
    wave: FloatVector,
    subject: np.random.Generator,
    section: np.random.Generator,
) -> FloatVector:
    """Take the neointima off the internal elastic lamina; its waves level out where it is thick."""
    towards = _ANGLES - subject.uniform(0, math.tau)
    profile = 1 + anatomy.neointima_eccentricity * np.cos(towards) + 0.12 * _lobes(subject, section, 4)
    ripple = 0.02 * _lobes(section, section, 14)
    thickness = anatomy.neointima * smooth_iel * np.maximum(profile + (profile > 0) * ripple * (anatomy.neointima > 0), 0)
    thickness = np.minimum(thickness, (1 - _SMALLEST_LUMEN) * smooth_iel)
    levelled = np.exp(-thickness / (2.5 * max(anatomy.wave_um, 1e-9)))
    lumen: FloatVector = np.minimum(smooth_iel - thickness + wave * levelled, smooth_iel + wave)
    return np.maximum(lumen, _SMALLEST_LUMEN * smooth_iel)


def _check_fits(outline: Outline, spec: PhantomSpec) -> None:
    if np.any(outline.eel <= outline.iel):
        raise Invalid("The waves of the laminae cross: the media is too thin for this wave_um.")
    cx, cy = (c * spec.field_um for c in spec.anatomy.center)
    x, y = cx + outline.eel * np.cos(_ANGLES), cy + outline.eel * np.sin(_ANGLES)
    if min(x.min(), y.min()) < 0 or max(x.max(), y.max()) > spec.field_um:
        raise Invalid(
            f"Got a vessel of radius {spec.anatomy.eel_radius_um:.0f} µm that leaves the image of "
            f"{spec.field_um:.0f} µm; need a smaller radius or a larger image."
        )
