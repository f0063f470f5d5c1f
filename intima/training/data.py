"""Cases for training and scoring, from blobs to arrays at the working resolution."""

import hashlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load, save

from intima.arrays import LabelMask, RgbImage
from intima.contracts.dataset import Dataset, StoredCase
from intima.errors import Invalid
from intima.geometry import Region, Size
from intima.resampling import resample_planes
from intima.slides import open_slide, read_mask, read_working
from intima.store.keys import json_sha256
from intima.store.storage import Storage

_DECODING = 1
"""Grows when reading or resampling changes, so that the cache holds nothing of the old kind."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The pixel size at which a net works."""

    mpp: float | None
    """Working pixel size in µm; None when any case of the dataset has none."""
    pixel_scale: float
    """Working pixels per native pixel of the typical case, at most 1."""

    def working_size(self, case: StoredCase) -> Size:
        """Return the size of a case in working pixels."""
        return Size(case.width, case.height).scaled(self.scale_of(case))

    def scale_of(self, case: StoredCase) -> float:
        """Return working pixels per native pixel of a case."""
        if self.mpp is None or case.mpp is None:
            return self.pixel_scale
        return case.mpp / self.mpp


@dataclass(frozen=True, slots=True)
class TrainingCase:
    """One image with its mask, both at the working resolution and of one size."""

    image: RgbImage
    mask: LabelMask

    @property
    def identity(self) -> str:
        """SHA-256 of the pixels of both."""
        digest = hashlib.sha256(repr(self.image.shape).encode())
        digest.update(self.image.tobytes())
        digest.update(self.mask.tobytes())
        return digest.hexdigest()


def working_resolution(cases: Sequence[StoredCase], *, input_px: int) -> Resolution:
    """Choose the pixel size at which the median long side of the cases is ``input_px``; never finer than native.

    Raises:
        Invalid: no cases.
    """
    if not cases:
        raise Invalid("Got no cases; need at least one to choose a working resolution.")
    scale = min(1.0, input_px / statistics.median(max(c.width, c.height) for c in cases))
    sizes = [c.mpp for c in cases]
    if any(size is None for size in sizes):
        return Resolution(mpp=None, pixel_scale=scale)
    native = statistics.median(size for size in sizes if size is not None)
    extent = statistics.median(max(c.width, c.height) * (c.mpp or 0.0) for c in cases)
    return Resolution(mpp=max(native, extent / input_px), pixel_scale=scale)


def load_cases(
    storage: Storage, dataset: Dataset, names: Sequence[str], *, resolution: Resolution
) -> list[TrainingCase]:
    """Read cases by name, in that order, resampled to the working resolution."""
    by_name = {c.case: c for c in dataset.cases}
    return [load_case(storage, by_name[n], resolution=resolution, classes=len(dataset.classes)) for n in names]


def load_case(storage: Storage, case: StoredCase, *, resolution: Resolution, classes: int) -> TrainingCase:
    """Read one case, resampled to the working resolution; decoded once, then kept in the cache."""
    size = resolution.working_size(case)
    pixels = {"image": case.image_sha256, "mask": case.mask_sha256, "size": [size.width, size.height]}
    key = json_sha256({"case": _DECODING, "scale": resolution.scale_of(case), "classes": classes} | pixels)
    known = storage.cache.read(key)
    if known is not None:
        return _unpack(known)
    mask = resample_mask(read_truth(storage, case), size, classes=classes)
    read = TrainingCase(image=read_working_image(storage, case, resolution=resolution), mask=mask)
    storage.cache.write(key, _pack(read))
    return read


def _pack(case: TrainingCase) -> bytes:
    return save({"image": np.ascontiguousarray(case.image), "mask": np.ascontiguousarray(case.mask)})


def _unpack(data: bytes) -> TrainingCase:
    arrays = load(data)
    return TrainingCase(image=arrays["image"], mask=arrays["mask"])


def read_working_image(storage: Storage, case: StoredCase, *, resolution: Resolution) -> RgbImage:
    """Read the image of a case, resampled to the working resolution by the reader that serving uses."""
    size = resolution.working_size(case)
    with open_slide(storage.blobs.path(case.image_sha256), name=case.case) as slide:
        return read_working(slide, Region(0, 0, size.width, size.height), scale=resolution.scale_of(case))


def read_truth(storage: Storage, case: StoredCase) -> LabelMask:
    """Read the mask of a case at native resolution."""
    return read_mask(storage.blobs.path(case.mask_sha256))


def resample_mask(mask: LabelMask, size: Size, *, classes: int) -> LabelMask:
    """Resample a mask: each pixel takes the class that covers most of its footprint.

    Thin layers keep their area better than by taking the nearest pixel.
    """
    if mask.shape == (size.height, size.width):
        return mask
    cover = np.stack([resample_planes((mask == c)[None].astype(np.float32), size)[0] for c in range(classes)])
    labels: LabelMask = cover.argmax(axis=0).astype(np.uint8)
    return labels
