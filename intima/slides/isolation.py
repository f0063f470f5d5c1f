"""Decode files from outside in a child process that may die without harm.

Decoders abort the whole process on some damaged files (GLib's "failed to allocate" in OpenSlide) and expand some
112 kB files beyond 2.5 GiB. The child has limits on memory, CPU time, open files and file size, no core dump, and a
wall clock; whatever ends it early becomes Invalid "unreadable_image". It answers in JSON and in arrays without
pickle, so a child that was taken over cannot run code here. This module loads no decoder.

On Linux children are forked from a server process that has the decoders loaded (about 20 ms each), and no thread of
the caller is forked. macOS does not enforce the memory limit and Windows has no limits at all and starts a fresh
interpreter per call; there the wall clock is the only bound, so do not open a public service on them.
"""

import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from intima.arrays import Json, LabelMask, RgbImage
from intima.confined import Child, Limits, StartMethod, child, preload
from intima.contracts.segmentation import SlideInfo
from intima.deepzoom import DeepZoom
from intima.errors import Invalid, Unavailable
from intima.geometry import Size
from intima.likeness import Fingerprint, fingerprint_from_json
from intima.slides._archive import MAX_UNPACKED_BYTES, is_zip
from intima.slides._guard import MAX_DECODE_PIXELS, unreadable

_CHILD = "intima.slides._child"
_METHOD: StartMethod = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


DEFAULT = Limits()
_UNPACKED_BYTES_PER_S = 32 * 2**20
_ZIP_OPEN_FILES = 512
_OVERVIEW_PX_PER_S = 2**24
"""What the slowest decoder that is waited for does in a second of CPU time."""


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """An image and its mask on disk, with the names the user gave them."""

    image: Path
    mask: Path
    image_name: str = ""
    mask_name: str = ""


@dataclass(frozen=True, slots=True)
class CaseReport:
    """What a fully decoded pair of image and mask is."""

    image: SlideInfo
    size: Size
    """The same for image and mask."""
    pixels_sha256: str
    """Of the decoded image, its size included: the same for one picture in two files."""
    pixels: dict[int, int]
    """Pixels of the mask per class index, of the indices that occur."""
    fingerprint: Fingerprint
    """Of the image."""


def inspect_isolated(path: Path, *, name: str, limits: Limits = DEFAULT) -> SlideInfo:
    """Open a slide, decode a part of it as a probe, and return what it says about itself. Raises Invalid."""
    answer = _ask("inspect", {"path": str(path), "name": name}, name=name, limits=limits)
    return SlideInfo.model_validate(answer["info"])


def deidentify_isolated(path: Path, out: Path, *, name: str, limits: Limits = DEFAULT) -> None:
    """Write a copy of a slide without label, further images and identifying fields to ``out``. Raises Invalid."""
    extra_s = path.stat().st_size // _UNPACKED_BYTES_PER_S
    wider = replace(
        limits,
        cpu_s=limits.cpu_s + extra_s,
        wall_s=limits.wall_s + 4 * extra_s,
        file_bytes=max(limits.file_bytes, 2 * path.stat().st_size),
    )
    _ask("deidentify", {"path": str(path), "name": name, "out": str(out)}, name=name, limits=wider)


def decode_image_isolated(
    path: Path, *, name: str = "", max_pixels: int = MAX_DECODE_PIXELS, limits: Limits = DEFAULT
) -> RgbImage:
    """Decode a whole image at level 0. Raises Invalid, "image_too_large" beyond ``max_pixels``."""
    image: RgbImage = _array("image", path, name=name, max_pixels=max_pixels, limits=limits)
    return image


def decode_mask_isolated(
    path: Path, *, name: str = "", max_pixels: int = MAX_DECODE_PIXELS, limits: Limits = DEFAULT
) -> LabelMask:
    """Decode a label mask. Raises Invalid as ``read_mask`` does."""
    mask: LabelMask = _array("mask", path, name=name, max_pixels=max_pixels, limits=limits)
    return mask


@contextmanager
def overview_isolated(path: Path, *, name: str, size: Size) -> Iterator[dict[int, RgbImage]]:
    """Make the levels of a slide's Deep Zoom image that cost too much tile by tile; they lie in a file until the end.

    Args:
        path: the file.
        name: what the user calls it, for messages.
        size: of the slide, which must be what the catalog says.

    Raises:
        Invalid: the slide is damaged; "no_overview" where it would take too long.
    """
    with tempfile.TemporaryDirectory(prefix="intima-overview-") as folder:
        out = Path(folder) / "levels"
        work = {"path": str(path), "name": name, "out": str(out)}
        answer = _ask("overview", work, name=name, limits=_for_overview(size))
        yield _levels(out, int(answer["level"]), DeepZoom(size, tile_px=1, overlap_px=0), name=name)


def _for_overview(size: Size) -> Limits:
    cpu_s = DEFAULT.cpu_s + size.pixels // _OVERVIEW_PX_PER_S
    return replace(DEFAULT, cpu_s=cpu_s, wall_s=4.0 * cpu_s)


def _levels(out: Path, first: int, zoom: DeepZoom, *, name: str) -> dict[int, RgbImage]:
    """Map the levels that a child wrote, after checking that they are all there and nothing else."""
    sizes = {level: zoom.level_size(level) for level in range(first, -1, -1)} if 0 <= first <= zoom.last_level else {}
    if not sizes or out.stat().st_size != 3 * sum(size.pixels for size in sizes.values()):
        raise unreadable(name, "an overview of another size")
    levels: dict[int, RgbImage] = {}
    offset = 0
    for level, size in sizes.items():
        levels[level] = np.memmap(out, np.uint8, "r", offset, (size.height, size.width, 3))
        offset += 3 * size.pixels
    return levels


def inspect_cases_isolated(pairs: Sequence[CaseFiles], *, limits: Limits = DEFAULT) -> list[CaseReport | Invalid]:
    """Decode every image and mask completely, many in one child; limits hold per pair.

    Returns one report or one error per pair, in order; a pair that kills the child costs only itself.
    """
    found: list[CaseReport | Invalid] = []
    while len(found) < len(pairs):
        found.extend(_inspect_until_death(pairs[len(found) :], limits))
    return found


def _inspect_until_death(pairs: Sequence[CaseFiles], limits: Limits) -> Iterator[CaseReport | Invalid]:
    """Yield outcomes until all pairs are done or the child has died; the death is the last outcome."""
    arguments = [
        {"image": str(p.image), "mask": str(p.mask), "image_name": p.image_name, "mask_name": p.mask_name}
        for p in pairs
    ]
    with _child("cases", {"pairs": arguments}, limits) as child:
        for pair in pairs:
            answer = child.answer(limits.wall_s)
            if answer is None:
                yield unreadable(pair.image_name, "the decoder was stopped")
                return
            yield _case_error(answer["error"]) if "error" in answer else _case_report(answer)


def _case_error(answer: Json) -> Invalid:
    """Return the error of one case; one that is not the case's fault ends the whole."""
    error = _error(answer)
    if isinstance(error, Unavailable):
        raise error
    return error


def _case_report(answer: Json) -> CaseReport:
    info = SlideInfo.model_validate(answer["info"])
    pixels = {int(index): int(count) for index, count in answer["pixels"].items()}
    return CaseReport(
        image=info,
        size=Size(info.width, info.height),
        pixels_sha256=answer["pixels_sha256"],
        pixels=pixels,
        fingerprint=fingerprint_from_json(answer["fingerprint"]),
    )


def _array(kind: str, path: Path, *, name: str, max_pixels: int, limits: Limits) -> Any:
    with tempfile.TemporaryDirectory(prefix="intima-decode-") as folder:
        out = Path(folder) / "pixels.npy"
        arguments = {"path": str(path), "name": name, "max_pixels": max_pixels, "out": str(out)}
        _ask(kind, arguments, name=name, limits=limits)
        return np.load(out, allow_pickle=False)


def _ask(task: str, arguments: Json, *, name: str, limits: Limits) -> Json:
    limits = _wider_for_zip(Path(arguments["path"]), limits)
    with _child(task, arguments, limits) as child:
        answer = child.answer(limits.wall_s)
    if answer is None:
        raise unreadable(name, "the decoder was stopped")
    if "error" in answer:
        raise _error(answer["error"])
    return answer


@contextmanager
def _child(task: str, arguments: Json, limits: Limits) -> Iterator[Child]:
    """Start a child on a task; the fork server has the decoders loaded. What a killed child unpacked goes here."""
    preload(_CHILD)
    with tempfile.TemporaryDirectory(prefix="intima-child-") as scratch:
        work = {"task": task, "scratch": scratch, **arguments}
        with child(_CHILD, work, limits, method=_METHOD) as started:
            yield started


def _wider_for_zip(path: Path, limits: Limits) -> Limits:
    """Allow a slide of several files to be unpacked: time by its size, larger files, more of them open."""
    if not is_zip(path):
        return limits
    extra_s = path.stat().st_size // _UNPACKED_BYTES_PER_S
    return replace(
        limits,
        cpu_s=limits.cpu_s + extra_s,
        wall_s=limits.wall_s + 4 * extra_s,
        open_files=max(limits.open_files, _ZIP_OPEN_FILES),
        file_bytes=max(limits.file_bytes, MAX_UNPACKED_BYTES),
    )


@contextmanager
def open_child(module: str, arguments: Json, limits: Limits) -> Iterator[Child]:
    """Start a child of another module that answers questions; the fork server has the decoders loaded."""
    preload(_CHILD)
    limits = _wider_for_zip(Path(str(arguments["path"])), limits)
    with tempfile.TemporaryDirectory(prefix="intima-child-") as scratch:
        work = {"scratch": scratch, **arguments}
        with child(module, work, limits, method=_METHOD, questions=True) as started:
            yield started


def _error(answer: Json) -> Invalid | Unavailable:
    family = Unavailable if answer["unavailable"] else Invalid
    return family(str(answer["message"]), code=str(answer["code"]), hint=str(answer["hint"]))
