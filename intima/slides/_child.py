"""What runs inside the decode child: limits first, then one task, answers as JSON."""

import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intima.arrays import Json, RgbImage
from intima.confined import Limits, allow_cpu, apply_limits
from intima.errors import IntimaError, Invalid, Unavailable
from intima.geometry import Region, Size
from intima.likeness import fingerprint_to_json, take_fingerprint
from intima.slides import _dicom_slide
from intima.slides._deidentify import deidentify
from intima.slides._guard import check_pixels, decoding
from intima.slides._overview import write_overview
from intima.slides.masks import read_mask
from intima.slides.opening import Slide, open_slide
from intima.slides.working import read_image

_PROBE_PX = 256
_DARK_BELOW = 32
_DARK = (
    "The middle of the image is nearly black. If its samples do not use their full range (12 bits stored in 16), "
    "scale it to 8 bits and upload it again."
)


def work(sender: Connection, arguments: Json, limits: Limits) -> None:
    """Apply the limits, do the task and send every answer; an Intima error is an answer too."""
    apply_limits(limits)
    tempfile.tempdir = arguments["scratch"]
    # tifffile logs every bad tag and Pillow warns of every bad EXIF field: a hostile file could fill the disk so
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with sender:
        answers = TASKS[arguments["task"]](arguments)
        while (answer := _next(answers, limits)) is not None:
            sender.send_bytes(json.dumps(answer).encode())


def _next(answers: Iterator[Json], limits: Limits) -> Json | None:
    """Return the next answer under a fresh allowance of CPU time."""
    allow_cpu(limits.cpu_s)
    try:
        with decoding(""):
            return next(answers, None)
    except IntimaError as error:
        return _error(error)


def _error(error: IntimaError) -> Json:
    body = {"message": error.message, "code": error.code, "hint": error.hint}
    return {"error": body | {"unavailable": isinstance(error, Unavailable)}}


def _inspect(arguments: Json) -> Iterator[Json]:
    with open_slide(Path(arguments["path"]), name=arguments["name"]) as slide:
        found = (*slide.info.warnings, *_probe(slide))
        yield {"info": slide.info.model_dump() | {"warnings": found}}


def _probe(slide: Slide) -> tuple[str, ...]:
    """Decode the middle of every level, so that a file whose headers alone are intact is refused; warn where dark."""
    middles = [slide.read_level(level, _middle(size)) for level, size in enumerate(slide.levels)]
    return (_DARK,) if middles[0].max() < _DARK_BELOW else ()


def _middle(size: Size) -> Region:
    width, height = min(_PROBE_PX, size.width), min(_PROBE_PX, size.height)
    return Region((size.width - width) // 2, (size.height - height) // 2, width, height)


def _image(arguments: Json) -> Iterator[Json]:
    with open_slide(Path(arguments["path"]), name=arguments["name"]) as slide:
        yield _saved(read_image(slide, max_pixels=arguments["max_pixels"]), arguments)


def _deidentified(arguments: Json) -> Iterator[Json]:
    deidentify(Path(arguments["path"]), Path(arguments["out"]), name=arguments["name"])
    yield {"done": True}


def _overview(arguments: Json) -> Iterator[Json]:
    with open_slide(Path(arguments["path"]), name=arguments["name"]) as slide:
        yield {"level": write_overview(slide, Path(arguments["out"]))}


def _mask(arguments: Json) -> Iterator[Json]:
    mask = read_mask(Path(arguments["path"]), name=arguments["name"])
    check_pixels(mask.shape[1], mask.shape[0], most=arguments["max_pixels"])
    yield _saved(mask, arguments)


def _saved(pixels: NDArray[np.uint8], arguments: Json) -> Json:
    np.save(Path(arguments["out"]), pixels, allow_pickle=False)
    return {"done": True}


def _cases(arguments: Json) -> Iterator[Json]:
    for pair in arguments["pairs"]:
        try:
            with decoding(pair["image_name"]):
                answer = _case(pair)
        except IntimaError as error:
            answer = _error(error)
        yield answer


def _case(pair: Json) -> Json:
    with open_slide(Path(pair["image"]), name=pair["image_name"]) as slide:
        image = read_image(slide)
        info = slide.info
    mask = read_mask(Path(pair["mask"]), name=pair["mask_name"])
    if mask.shape != image.shape[:2]:
        raise Invalid(
            f"Got image {pair['image_name']!r} of {info.width} x {info.height} pixels and mask {pair['mask_name']!r} "
            f"of {mask.shape[1]} x {mask.shape[0]}; need the same size.",
            code="mask_size",
            hint="Export the mask at the image's full resolution.",
        )
    indices, counts = np.unique(mask, return_counts=True)
    digest = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()
    pixels = dict(zip(indices.tolist(), counts.tolist(), strict=True))
    return {"info": info.model_dump(), "pixels_sha256": digest, "pixels": pixels, "fingerprint": _fingerprint(image)}


def _fingerprint(image: RgbImage) -> Json:
    return fingerprint_to_json(take_fingerprint(image))


PRELOADED = (_dicom_slide,)
"""Readers that are loaded at first use elsewhere: the fork server loads them once for all children."""

TASKS: dict[str, Callable[[Json], Iterator[Json]]] = {
    "inspect": _inspect,
    "image": _image,
    "overview": _overview,
    "deidentify": _deidentified,
    "mask": _mask,
    "cases": _cases,
}
