"""The three borders of the wall as radius functions of the angle, and the exact truth that follows.

All borders are star-shaped about one pole, the centre of the lumen: a radius in µm at each of RAYS equally
spaced angles. Area is the integral of r²/2 over the angle, exact for the sectors that are drawn.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from intima.arrays import FloatVector
from intima.errors import Invalid
from intima.phantom.spec import Anatomy, PhantomSpec

RAYS = 16384
"""Angles at which a border is sampled."""

_ANGLES: FloatVector = np.arange(RAYS, dtype=np.float64) * (math.tau / RAYS)
_WAVELENGTH_UM = 26.0
_SMALLEST_LUMEN = 0.07


@dataclass(frozen=True, slots=True)
class Outline:
    """Radius in µm of each border at every ray about the pole; lumen <= iel < eel everywhere."""

    pole_um: tuple[float, float]
    """Pole in µm from the image's top left corner, x and y."""
    lumen: FloatVector
    iel: FloatVector
    eel: FloatVector
    smooth_eel: FloatVector
    """The external elastic lamina without its waves, to lay the surroundings along."""


def draw_outline(spec: PhantomSpec) -> Outline:
    """Return the borders of a spec.

    Raises:
        Invalid: the vessel would leave the image, or its layers have no room in each other.
    """
    anatomy = spec.anatomy
    subject = np.random.default_rng([spec.seed, 11])
    section = np.random.default_rng([spec.seed, spec.section, 12])
    shape = _ellipse(anatomy) * (1 + anatomy.irregularity * _lobes(subject, section, 5))
    media = anatomy.media_um * np.maximum(1 + anatomy.media_eccentricity * _lobes(subject, section, 3) / 2, 0.35)
    inner_um = anatomy.eel_radius_um - anatomy.media_um
    if inner_um <= 0.2 * anatomy.eel_radius_um:
        raise Invalid(f"Got a media of {anatomy.media_um:.0f} µm; that leaves no room for a lumen.")
    offset_um = anatomy.neointima_eccentricity * anatomy.neointima * inner_um
    towards = anatomy.rotation + subject.uniform(0, math.tau)
    shift = (offset_um * math.cos(towards), offset_um * math.sin(towards))
    smooth_eel = _recentred(anatomy.eel_radius_um * shape, shift)
    smooth_iel = smooth_eel - media * _slant(smooth_eel)
    along = math.tau * arc_share(smooth_eel)
    wave = anatomy.wave_um * _waves(section, along, perimeter_um(smooth_iel))
    outline = Outline(
        pole_um=(
            anatomy.center[0] * spec.field_um + shift[0],
            anatomy.center[1] * spec.field_um + shift[1],
        ),
        lumen=_lumen(anatomy, smooth_iel, wave, inner_um * shape * (1 + _relief(anatomy, subject, section))),
        iel=smooth_iel + wave,
        eel=smooth_eel + 0.35 * anatomy.wave_um * _waves(section, along, perimeter_um(smooth_eel)),
        smooth_eel=smooth_eel,
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


def arc_share(radius: FloatVector) -> FloatVector:
    """Return, per ray, the length of the border up to it as a share of the whole, 0 to below 1."""
    x, y = radius * np.cos(_ANGLES), radius * np.sin(_ANGLES)
    steps = np.hypot(np.roll(x, -1) - x, np.roll(y, -1) - y)
    result: FloatVector = (np.cumsum(steps) - steps) / steps.sum()
    return result


def tilt(radius: FloatVector) -> FloatVector:
    """Return, per ray, the angle by which the border's normal lags behind the ray, in radians."""
    slope = (np.roll(radius, -1) - np.roll(radius, 1)) / (2 * math.tau / RAYS)
    result: FloatVector = np.arctan2(slope, radius)
    return result


def _slant(radius: FloatVector) -> FloatVector:
    result: FloatVector = 1.0 / np.cos(tilt(radius))
    return result


def _ellipse(anatomy: Anatomy) -> FloatVector:
    """Polar radius of an ellipse of area pi."""
    turned = _ANGLES - anatomy.rotation
    q = anatomy.aspect
    result: FloatVector = math.sqrt(q) / np.hypot(q * np.cos(turned), np.sin(turned))
    return result


def _recentred(radius: FloatVector, shift: tuple[float, float]) -> FloatVector:
    """Express a border about a pole that lies at ``shift`` from the present one."""
    x, y = radius * np.cos(_ANGLES) - shift[0], radius * np.sin(_ANGLES) - shift[1]
    angle = np.unwrap(np.arctan2(y, x))
    if np.any(np.diff(angle) <= 0):
        raise Invalid("Got a lumen too far off the centre of the vessel; need less neointima_eccentricity.")
    result: FloatVector = np.interp(_ANGLES, angle, np.hypot(x, y), period=math.tau)
    return result


def _lobes(subject: np.random.Generator, section: np.random.Generator, orders: int) -> FloatVector:
    """Sum of low harmonics of unit size, mostly the subject's, a little the section's."""
    total = np.zeros(RAYS)
    for order in range(2, orders + 2):
        amplitude = (subject.normal(size=2) + 0.15 * section.normal(size=2)) / (order - 1)
        total += amplitude[0] * np.cos(order * _ANGLES) + amplitude[1] * np.sin(order * _ANGLES)
    return total


def _relief(anatomy: Anatomy, subject: np.random.Generator, section: np.random.Generator) -> FloatVector:
    """Relative unevenness of the luminal surface: that of its cushions, and small ripples."""
    ripples = sum(section.normal() * np.sin(k * _ANGLES + section.uniform(0, math.tau)) for k in range(8, 40))
    size = min(1.0, 4 * anatomy.neointima)
    result: FloatVector = size * (0.05 * _lobes(subject, section, 3) + 0.0015 * ripples)
    return result


def _waves(rng: np.random.Generator, along: FloatVector, length_um: float) -> FloatVector:
    """Scallops of about 26 µm with drifting wavelength and height, between -1.3 and 1.3.

    ``along`` is the position on the border as an angle, so that scallops are as long on every side.
    """
    cycles = max(5, round(length_um / _WAVELENGTH_UM))
    orders = np.arange(1, cycles // 3 + 2)
    sizes, phases = rng.normal(size=orders.size) / np.sqrt(orders), rng.uniform(0, math.tau, orders.size)
    drift = sum(s * np.sin(k * along + p) for s, k, p in zip(sizes, orders, phases, strict=True))
    height = sum(0.25 * rng.normal() * np.sin(k * along + rng.uniform(0, math.tau)) for k in range(1, 8))
    result: FloatVector = np.clip(1 + height, 0.3, 1.3) * np.sin(cycles * along + drift)
    return result


def _lumen(anatomy: Anatomy, smooth_iel: FloatVector, wave: FloatVector, inner: FloatVector) -> FloatVector:
    """Take the neointima off the internal elastic lamina; its waves level out where it is thick."""
    surface = np.maximum(1 - anatomy.neointima, _SMALLEST_LUMEN) * inner
    thickness = np.maximum(smooth_iel - surface, 0) if anatomy.neointima > 0 else np.zeros(RAYS)
    rounded = ndimage.gaussian_filter1d(thickness, RAYS / 360, mode="wrap")
    thickness = np.where(thickness > 0, np.minimum(rounded, smooth_iel - _SMALLEST_LUMEN * inner), 0)
    levelled = np.exp(-thickness / (2.5 * max(anatomy.wave_um, 1e-9)))
    lumen: FloatVector = np.minimum(smooth_iel - thickness + wave * levelled, smooth_iel + wave)
    return lumen


def _check_fits(outline: Outline, spec: PhantomSpec) -> None:
    if np.any(outline.eel <= outline.iel):
        raise Invalid("The waves of the laminae cross: the media is too thin for this wave_um.")
    if outline.lumen.min() <= 0:
        raise Invalid("Got no lumen left; need less neointima.")
    x = outline.pole_um[0] + outline.eel * np.cos(_ANGLES)
    y = outline.pole_um[1] + outline.eel * np.sin(_ANGLES)
    if min(x.min(), y.min()) < 0 or max(x.max(), y.max()) > spec.field_um:
        raise Invalid(
            f"Got a vessel of radius {spec.anatomy.eel_radius_um:.0f} µm that leaves the image of "
            f"{spec.field_um:.0f} µm; need a smaller radius or a larger image."
        )
