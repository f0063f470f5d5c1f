"""What the microscope and scanner add: shadows, uneven light, blur, loss of resolution, noise."""

import numpy as np
from scipy import ndimage

from intima.arrays import RgbImage
from intima.phantom.palette import to_bytes, transmitted
from intima.phantom.spec import PhantomSpec
from intima.phantom.texture import Field


def photograph(spec: PhantomSpec, density: Field) -> RgbImage:
    """Return the 8-bit picture of a section of the given optical density (height, width, 3)."""
    rng = np.random.default_rng([spec.seed, spec.section, 31])
    light = transmitted(density + _shadows(spec, rng)[..., None])
    light = _resolved(light, sigma_px=spec.degradation.blur_um / spec.mpp, factor=spec.degradation.resolution)
    light = light * _lamp(spec, rng)[..., None] * np.asarray(spec.stain.balance, dtype=np.float32)
    grain = rng.standard_normal(light.shape, dtype=np.float32) * np.sqrt(np.clip(light, 0.05, 1))
    return to_bytes(light + np.float32(spec.degradation.noise) * grain)


def _lamp(spec: PhantomSpec, rng: np.random.Generator) -> Field:
    """Return the light of the lamp relative to its mean: a slanting plane and a slight vignette."""
    at = np.linspace(-1, 1, spec.size_px, dtype=np.float32)
    slant = rng.uniform(-1, 1, size=3).astype(np.float32)
    shape = slant[0] * at[None, :] + slant[1] * at[:, None] - np.abs(slant[2]) * (at[None, :] ** 2 + at[:, None] ** 2)
    result: Field = 1 + np.float32(spec.degradation.illumination) * (shape - shape.max())
    return result


def _shadows(spec: PhantomSpec, rng: np.random.Generator) -> Field:
    """Return the extra density of dust out of focus."""
    at = (np.arange(spec.size_px, dtype=np.float32) + np.float32(0.5)) / np.float32(spec.size_px)
    total = np.zeros((spec.size_px, spec.size_px), dtype=np.float32)
    for _ in range(spec.degradation.shadows):
        (x, y), reach = rng.random(2), rng.uniform(0.05, 0.15)
        squeeze = np.float32(rng.uniform(0.6, 1.6))
        distance = np.hypot(at[None, :] - np.float32(x), (at[:, None] - np.float32(y)) * squeeze)
        total += np.float32(rng.uniform(0.08, 0.2)) / (1 + np.exp(np.clip((distance - reach) / 0.012, -30, 30)))
    return total


def _resolved(light: Field, *, sigma_px: float, factor: float) -> Field:
    if factor > 1:
        sigma_px = max(sigma_px, 0.5 * factor)
    light = ndimage.gaussian_filter(light, (sigma_px, sigma_px, 0), truncate=3.0)
    if factor <= 1:
        return light
    shape = light.shape
    small = ndimage.zoom(light, (1 / factor, 1 / factor, 1), order=1, grid_mode=True, mode="nearest")
    scale = (shape[0] / small.shape[0], shape[1] / small.shape[1], 1)
    result: Field = ndimage.zoom(small, scale, order=1, grid_mode=True, mode="nearest")
    return result
