"""Draw training batches: crop, rotate, zoom, bend and flip in one interpolation; then stain, light and blur.

Geometry is drawn per crop as a map from crop pixels to image pixels, so that image and mask are read once, from the
whole image, and rotated corners show tissue rather than padding. Colour is changed for the whole batch at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from intima.training.data import TrainingCase

Batch: TypeAlias = tuple[Tensor, Tensor]
"""(n, 3, h, w) float32 RGB in 0..1 and (n, h, w) int64 classes."""

_HED = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical density of haematoxylin, eosin and DAB, one stain a row (Ruifrok and Johnston 2001)."""
_DENSITY_FLOOR = 1.0 / 255.0


@dataclass(frozen=True, slots=True)
class Ranges:
    """Half-widths of the uniform draws at augmentation strength 1."""

    rotate_deg: float = 180.0
    log_zoom: float = 0.25
    bend_px: float = 3.0
    """Amplitude of the elastic displacement, in working pixels."""
    stain: float = 0.15
    """Relative change of each stain's density."""
    stain_shift: float = 0.03
    brightness: float = 0.10
    contrast: float = 0.15
    blur_px: float = 1.0
    """Largest standard deviation of the blur; half of the crops are blurred."""


@dataclass(frozen=True, slots=True)
class CropSource:
    """Cases as tensors, and where each class lies, to centre crops on."""

    images: tuple[Tensor, ...]
    """(1, 3, h, w) float32 in 0..1 each."""
    masks: tuple[Tensor, ...]
    """(1, 1, h, w) float32 each."""
    places: tuple[tuple[int, ...], ...]
    """For each class the cases that contain it."""

    @classmethod
    def of(cls, cases: Sequence[TrainingCase], *, classes: int) -> "CropSource":
        """Turn cases into tensors."""
        images = tuple(torch.from_numpy(c.image).permute(2, 0, 1)[None].float() / 255.0 for c in cases)
        masks = tuple(torch.from_numpy(c.mask)[None, None].float() for c in cases)
        present = [set(np.unique(c.mask).tolist()) for c in cases]
        places = tuple(tuple(i for i, p in enumerate(present) if k in p) for k in range(classes))
        return cls(images=images, masks=masks, places=places)


def draw_batch(source: CropSource, *, batch: int, crop_px: int, strength: float, rng: Generator) -> Batch:
    """Draw a batch of augmented crops, their centres balanced over the classes that occur.

    Args:
        source: the cases.
        batch: number of crops.
        crop_px: side of a crop.
        strength: 0 leaves flips and quarter turns only; 1 is the default range.
        rng: the only source of randomness.
    """
    crops = [draw_crop(source, crop_px=crop_px, strength=strength, rng=rng) for _ in range(batch)]
    images = torch.cat([image for image, _ in crops])
    masks = torch.cat([mask for _, mask in crops])
    return vary_colour(images, strength=strength, rng=rng), masks[:, 0].round().long()


def draw_crop(source: CropSource, *, crop_px: int, strength: float, rng: Generator) -> Batch:
    """Read one crop at a random place, angle, zoom and bend."""
    case, centre = _draw_centre(source, rng)
    image, mask = source.images[case], source.masks[case]
    grid = _sampling_grid(image.shape[-2:], centre=centre, crop_px=crop_px, strength=strength, rng=rng)
    return (
        functional.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False),
        functional.grid_sample(mask, grid, mode="nearest", padding_mode="reflection", align_corners=False),
    )


def _draw_centre(source: CropSource, rng: Generator) -> tuple[int, tuple[float, float]]:
    """Choose a class, a case that has it, and one of its pixels."""
    occurring = [k for k, cases in enumerate(source.places) if cases]
    wanted = int(rng.choice(occurring))
    case = int(rng.choice(source.places[wanted]))
    where = torch.nonzero(source.masks[case][0, 0] == wanted)
    y, x = where[int(rng.integers(len(where)))].tolist()
    return case, (float(x), float(y))


def _sampling_grid(
    shape: torch.Size, *, centre: tuple[float, float], crop_px: int, strength: float, rng: Generator
) -> Tensor:
    """Return (1, crop, crop, 2) positions for grid_sample, drawn at random around a centre (x, y) in image pixels."""
    height, width = int(shape[0]), int(shape[1])
    axis = torch.arange(crop_px, dtype=torch.float32) - (crop_px - 1) / 2
    offsets = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    bent = offsets + _draw_bend(crop_px, amplitude_px=Ranges().bend_px * strength, rng=rng)
    shift = rng.uniform(-crop_px / 3, crop_px / 3, 2)
    middle = torch.tensor(
        [
            _keep_inside(centre[0] + shift[0], length=width, crop_px=crop_px),
            _keep_inside(centre[1] + shift[1], length=height, crop_px=crop_px),
        ],
        dtype=torch.float32,
    )
    pixels = bent @ _draw_linear_map(strength, rng).T + middle
    return ((2 * pixels + 1) / torch.tensor([width, height]) - 1)[None]


def _keep_inside(centre: float, *, length: int, crop_px: int) -> float:
    """Move a crop's centre so that an unrotated crop lies inside; the middle where the image is smaller than it."""
    half = crop_px / 2
    return length / 2 if length <= crop_px else float(min(max(centre, half), length - half))


def _draw_linear_map(strength: float, rng: Generator) -> Tensor:
    """Return a 2 x 2 map: a flip and a quarter turn at any strength, then rotation and zoom."""
    ranges = Ranges()
    flip = -1.0 if rng.random() < 0.5 else 1.0
    quarter = int(rng.integers(4)) * 90.0
    angle = np.deg2rad(quarter + rng.uniform(-1, 1) * min(1.0, strength) * ranges.rotate_deg)
    zoom = float(np.exp(rng.uniform(-1, 1) * strength * ranges.log_zoom))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return torch.tensor(rotation @ np.diag([flip, 1.0]) * zoom, dtype=torch.float32)


def _draw_bend(crop_px: int, *, amplitude_px: float, rng: Generator) -> Tensor:
    """Return a smooth random displacement (crop, crop, 2) in crop pixels, from a coarse grid of normal draws."""
    coarse = torch.tensor(rng.normal(size=(1, 2, 5, 5)) * amplitude_px, dtype=torch.float32)
    smooth = functional.interpolate(coarse, size=(crop_px, crop_px), mode="bicubic", align_corners=True)
    return smooth[0].permute(1, 2, 0)


def vary_colour(images: Tensor, *, strength: float, rng: Generator) -> Tensor:
    """Change stain, light and sharpness of each image on its own; the result stays in 0..1.

    Args:
        images: (n, 3, h, w) in 0..1.
        strength: 0 changes nothing.
        rng: the only source of randomness.
    """
    if strength == 0:
        return images
    stained = _vary_stain(images, strength=strength, rng=rng)
    return _blur(_vary_light(stained, strength=strength, rng=rng), strength=strength, rng=rng)


def _vary_stain(images: Tensor, *, strength: float, rng: Generator) -> Tensor:
    """Scale and shift the densities of three stains, as one linear map of optical density per image."""
    ranges, count = Ranges(), len(images)
    scale = _uniform(rng, (count, 3), ranges.stain * strength) + 1.0
    shift = _uniform(rng, (count, 3), ranges.stain_shift * strength)
    stains = functional.normalize(_HED, dim=1)
    mix = torch.linalg.inv(stains) @ (scale[:, :, None] * stains)
    density = -torch.log(images.clamp(min=_DENSITY_FLOOR))
    changed = torch.einsum("nchw,ncd->ndhw", density, mix) + (shift @ stains)[:, :, None, None]
    return torch.exp(-changed).clamp(0.0, 1.0)


def _vary_light(images: Tensor, *, strength: float, rng: Generator) -> Tensor:
    ranges, count = Ranges(), len(images)
    brightness = _uniform(rng, (count, 1, 1, 1), ranges.brightness * strength)
    contrast = _uniform(rng, (count, 1, 1, 1), ranges.contrast * strength) + 1.0
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    return ((images - middle) * contrast + middle + brightness).clamp(0.0, 1.0)


def _blur(images: Tensor, *, strength: float, rng: Generator) -> Tensor:
    """Blur each image by a Gaussian of its own width; half of them hardly at all."""
    count = len(images)
    widths = rng.uniform(0.0, Ranges().blur_px * strength, count) * (rng.random(count) < 0.5) + 1e-3
    taps = torch.arange(-3, 4, dtype=torch.float32)
    kernels = torch.exp(-0.5 * (taps[None] / torch.tensor(widths, dtype=torch.float32)[:, None]) ** 2)
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(3, dim=0)[:, None, None, :]
    flat = functional.pad(images.reshape(1, -1, *images.shape[-2:]), (3, 3, 3, 3), mode="replicate")
    across = functional.conv2d(flat, kernels, groups=3 * count)
    down = functional.conv2d(across, kernels.transpose(2, 3), groups=3 * count)
    return down.reshape(images.shape)


def _uniform(rng: Generator, shape: tuple[int, ...], half_width: float) -> Tensor:
    return torch.tensor(rng.uniform(-half_width, half_width, shape), dtype=torch.float32)
