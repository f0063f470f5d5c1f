"""DICOM whole slides by wsidicom: the levels, label and overview of one slide, each a file of its own."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import UID, VLWholeSlideMicroscopyImageStorage
from wsidicom import WsiDicom
from wsidicom.config import Settings
from wsidicom.errors import WsiDicomNoResolutionError
from wsidicom.geometry import Point
from wsidicom.group import Level

from intima.arrays import RgbImage
from intima.contracts.segmentation import SlideInfo
from intima.errors import Invalid
from intima.geometry import Region, Size
from intima.slides._guard import (
    MAX_LEVELS,
    MAX_SEGMENT_BYTES,
    MAX_SEGMENTS,
    check_side,
    too_large,
    unreadable,
    unsupported,
)
from intima.slides._pixels import grey_to_rgb
from intima.slides.pixel_size import from_microns

_TAGS = [
    "SOPClassUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "ContainerIdentifier",
    "ImageType",
    "Manufacturer",
    "ManufacturerModelName",
    "OpticalPathSequence",
    "TotalPixelMatrixColumns",
]
_CACHE_BYTES = 32 * 2**20
_SETTINGS = Settings(
    strict_tile_size_check=False,
    decoded_frame_cache_size=_CACHE_BYTES,
    encoded_frame_cache_size=_CACHE_BYTES,
    level_scale_tolerance=0.2,
)
_LOST_LEVELS = ("The pyramid's levels are not at powers of two; only the full resolution is used.",)
_KINDS = {"LABEL": "label", "OVERVIEW": "overview", "THUMBNAIL": "thumbnail"}
_COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "MONOCHROME2")


@dataclass(frozen=True, slots=True)
class DicomSlide:
    """A slide open in wsidicom."""

    info: SlideInfo
    levels: tuple[Size, ...]
    handle: WsiDicom
    groups: tuple[Level, ...]

    def read_level(self, level: int, region: Region, /) -> RgbImage:
        """Decode a region inside the level; frames that the file lacks are white."""
        canvas = np.full((region.height, region.width, 3), 255, np.uint8)
        group = self.groups[level]
        height, width = group.tile_size.height, group.tile_size.width
        for row in range(region.y // height, -(-(region.y + region.height) // height)):
            for column in range(region.x // width, -(-(region.x + region.width) // width)):
                y, x = row * height - region.y, column * width - region.x
                top, left, bottom, right = max(0, y), max(0, x), y + height, x + width
                frame = _frame(group, row, column)[top - y :, left - x :]
                part = canvas[top:bottom, left:right]
                part[:] = frame[: part.shape[0], : part.shape[1]]
        return canvas

    def close(self) -> None:
        """Release the files."""
        self.handle.close()


def _frame(group: Level, row: int, column: int) -> RgbImage:
    """Decode one frame. Raises Invalid for one of another size or depth than the header says."""
    instance = group.default_instance
    pixels = instance.image_data.get_decoded_tile(Point(column, row), instance.default_z, instance.default_path)
    if pixels.dtype != np.uint8 or pixels.shape[:2] != (group.tile_size.height, group.tile_size.width):
        raise unreadable("", f"a frame of {pixels.shape} {pixels.dtype}")
    return grey_to_rgb(pixels.reshape(pixels.shape[:2])) if pixels.size == pixels.shape[0] * pixels.shape[1] else pixels


def open_instances(paths: Sequence[Path]) -> DicomSlide:
    """Open the one slide whose instances the files hold; other DICOM files beside them are passed over.

    Raises:
        Invalid: no slide ("unsupported_image"), several ("several_slides"), an instance that cannot be read.
    """
    found = [(path, _header(path)) for path in paths]
    instances = [(p, h) for p, h in found if h.get("SOPClassUID") == VLWholeSlideMicroscopyImageStorage]
    headers = [header for _, header in instances]
    if not any(_kind(header) == "VOLUME" for header in headers):
        raise Invalid(
            f"Got DICOM of {_class_name(found[0][1])}; need a slide (VL Whole Slide Microscopy Image Storage, VOLUME).",
            code="unsupported_image",
            hint="Send the instances of the slide itself; labels, overviews and annotations alone are no slide.",
        )
    _check_one(headers)
    with ExitStack() as stack:
        handle, dropped = _open(instances)
        stack.callback(handle.close)
        instances = [(path, header) for path, header in instances if path not in dropped]
        if len(handle.files or ()) < len(instances):
            raise unreadable("", f"{len(instances) - len(handle.files or ())} of {len(instances)} DICOM instances")
        slide = _slide(handle, [header for _, header in instances], _LOST_LEVELS if dropped else ())
        stack.pop_all()
        return slide


def _open(instances: Sequence[tuple[Path, pydicom.Dataset]]) -> tuple[WsiDicom, set[Path]]:
    """Open the instances; of levels that are not at powers of two, which wsidicom refuses, the largest alone."""
    try:
        return WsiDicom.open([path for path, _ in instances], settings=_SETTINGS), set()
    except WsiDicomNoResolutionError as error:
        raise unsupported("a DICOM slide without pixel spacing", "State PixelSpacing in every level.") from error
    except NotImplementedError:
        volumes = {path: int(h.get("TotalPixelMatrixColumns") or 0) for path, h in instances if _kind(h) == "VOLUME"}
        dropped = {path for path, width in volumes.items() if width < max(volumes.values())}
        kept = [path for path, _ in instances if path not in dropped]
        return WsiDicom.open(kept, settings=_SETTINGS), dropped


def _header(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))


def _class_name(header: pydicom.Dataset) -> str:
    """Return what kind of object a file says it is."""
    return UID(str(header.get("SOPClassUID", "")) or "no stated class").name[:100]


def _kind(header: pydicom.Dataset) -> str:
    values = tuple(header.get("ImageType") or ())
    return str(values[2]) if len(values) > 2 else ""


def _check_one(headers: Sequence[pydicom.Dataset]) -> None:
    """Refuse instances of several slides. Raises Invalid."""
    glass = {(h.get("StudyInstanceUID"), h.get("ContainerIdentifier")) for h in headers}
    series = {h.get("SeriesInstanceUID") for h in headers if _kind(h) == "VOLUME"}
    if max(len(glass), len(series)) > 1:
        raise Invalid(
            f"Got the DICOM instances of {max(len(glass), len(series))} slides; need those of one.",
            code="several_slides",
            hint="Send one zip for each slide: the instances of one series, with its label and overview.",
        )


def _slide(handle: WsiDicom, headers: Sequence[pydicom.Dataset], lost: tuple[str, ...]) -> DicomSlide:
    levels = list(handle.pyramid)
    if len(levels) > MAX_LEVELS:
        raise too_large(f"{len(levels)} pyramid levels", f"at most {MAX_LEVELS}")
    for level in levels:
        _check(level)
    sizes = tuple(Size(level.size.width, level.size.height) for level in levels)
    claim = from_microns(levels[0].mpp.width, levels[0].mpp.height)
    main = next(header for header in headers if _kind(header) == "VOLUME")
    info = SlideInfo(
        format="dicom",
        width=sizes[0].width,
        height=sizes[0].height,
        levels=len(sizes),
        mpp=claim.um,
        vendor="dicom",
        warnings=(*claim.warnings, *_warnings(handle, levels[0]), *lost),
        associated=tuple(sorted({_KINDS[kind] for h in headers if (kind := _kind(h)) in _KINDS})),
        scanner=_scanner(main),
    )
    return DicomSlide(info, sizes, handle, tuple(levels))


def _check(level: Level) -> None:
    """Check size, tiles and colours of a level from its header. Raises Invalid."""
    check_side(level.size.width, level.size.height)
    data = level.default_instance.image_data
    if level.tiled_size.area > MAX_SEGMENTS:
        raise too_large(f"a DICOM level of {level.tiled_size.area} frames", f"at most {MAX_SEGMENTS}")
    if level.tile_size.area * 3 > MAX_SEGMENT_BYTES:
        raise too_large(f"a DICOM frame of {level.tile_size.area} pixels", f"at most {MAX_SEGMENT_BYTES} bytes")
    if data.bits != 8 or data.photometric_interpretation not in _COLORS:
        raise unsupported(
            f"DICOM of {data.bits}-bit {data.photometric_interpretation} samples", "Save it as 8-bit RGB."
        )
    if data.samples_per_pixel == 1 and len(level.optical_paths) > 1:
        raise unsupported(
            f"DICOM with {len(level.optical_paths)} separate channels",
            "Fluorescence channels have no RGB meaning; export the view you want as RGB.",
        )


def _warnings(handle: WsiDicom, base: Level) -> Iterator[str]:
    if len(base.focal_planes) > 1:
        yield f"The slide has {len(base.focal_planes)} focal planes; the middle one is used."
    if len(base.optical_paths) > 1:
        yield f"The slide has {len(base.optical_paths)} optical paths; the first is used."
    if len(handle.pyramids) > 1:
        yield f"The slide holds {len(handle.pyramids)} pyramids; the largest is used."


def _scanner(header: pydicom.Dataset) -> dict[str, str]:
    """Return make, model and objective: nothing that says who or when."""
    power = next((p.get("ObjectiveLensPower") for p in header.get("OpticalPathSequence") or ()), None)
    found = {
        "make": header.get("Manufacturer"),
        "model": header.get("ManufacturerModelName"),
        "objective_power": None if power is None else f"{float(power):g}",
    }
    return {key: str(value)[:100] for key, value in found.items() if value not in (None, "")}
