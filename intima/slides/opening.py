"""Open a slide by its content; read regions of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from intima.arrays import RgbImage
from intima.contracts.segmentation import SlideInfo
from intima.errors import Invalid
from intima.geometry import Region, Size
from intima.slides import _bundle, _dicom, _openslide, _raster, _tiff
from intima.slides._guard import decoding
from intima.slides._source import Source

_HEAD_BYTES = _dicom.HEAD_BYTES


@dataclass(frozen=True, slots=True)
class Reader:
    """One family of formats."""

    recognises: Callable[[Path, bytes], bool]
    """Given the path and the first 132 bytes."""
    open: Callable[[Path], Source]


READERS: dict[str, Reader] = {
    "bundle": Reader(_bundle.recognises, _bundle.open_bundle),
    "dicom": Reader(_dicom.recognises, _dicom.open_file),
    "scanner": Reader(_openslide.recognises, _openslide.open_scanner_slide),
    "tiff": Reader(_tiff.recognises, _tiff.open_tiff),
    "raster": Reader(_raster.recognises, _raster.open_raster),
}
"""Families in the order in which they are asked; the content decides, never the file's extension."""


class Slide:
    """An open slide; a context manager. Not for use from several threads at once.

    Frame: level-0 pixels of the upright image, origin top left.
    """

    def __init__(self, source: Source, *, name: str) -> None:
        self._source = source
        self._name = name

    @property
    def info(self) -> SlideInfo:
        """What the file says about itself."""
        return self._source.info

    @property
    def size(self) -> Size:
        """Size of level 0."""
        return self._source.levels[0]

    @property
    def levels(self) -> tuple[Size, ...]:
        """Size of each pyramid level, largest first."""
        return self._source.levels

    def read(self, region: Region) -> RgbImage:
        """Read a region in level-0 pixels; outside the image is white. Raises Invalid for damaged pixels."""
        return self.read_level(0, region)

    def read_level(self, level: int, region: Region) -> RgbImage:
        """Read a region in pixels of a pyramid level; outside the image is white. Raises Invalid."""
        size = self.levels[level]
        inside = _clipped(region, size)
        if inside == region:
            return self._decode(level, region)
        canvas = np.full((region.height, region.width, 3), 255, np.uint8)
        if inside is not None:
            top, left = inside.y - region.y, inside.x - region.x
            canvas[top : top + inside.height, left : left + inside.width] = self._decode(level, inside)
        return canvas

    def close(self) -> None:
        """Release the file."""
        self._source.close()

    def __enter__(self) -> "Slide":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decode(self, level: int, region: Region) -> RgbImage:
        with decoding(self._name):
            return self._source.read_level(level, region)


def open_slide(path: Path, *, name: str = "") -> Slide:
    """Open a slide or image of any supported format.

    ``name`` is what the user calls the file, for messages. Raises Invalid: "unknown_format" where no reader
    knows the content, "unreadable_image" where it is damaged, "unsupported_image" where it has no RGB meaning,
    "image_too_large" where the header states more than a limit; for a zip also "bad_zip", "too_large",
    "several_slides", "incomplete_slide". Unavailable where there is no room to unpack a zip. A missing
    file is a FileNotFoundError.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    with decoding(name):
        for reader in READERS.values():
            if reader.recognises(path, head):
                return Slide(reader.open(path), name=name)
    raise Invalid(
        f"Got {name!r}, whose content is no known image format." if name else "Got no known image format.",
        code="unknown_format",
        hint="Send SVS, NDPI, SCN, BIF, DICOM, TIFF, OME-TIFF, PNG, JPEG, WebP or JPEG 2000; "
        "a zip for MRXS and the files of a DICOM slide.",
    )


def _clipped(region: Region, size: Size) -> Region | None:
    left, top = max(0, region.x), max(0, region.y)
    right, bottom = min(size.width, region.x + region.width), min(size.height, region.y + region.height)
    return Region(left, top, right - left, bottom - top) if right > left and bottom > top else None
