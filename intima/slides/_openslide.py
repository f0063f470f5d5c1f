"""Scanner formats (SVS, NDPI, SCN, BIF, DICOM, ...) by OpenSlide."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from openslide import OpenSlide

from intima.arrays import RgbImage
from intima.contracts.segmentation import SlideInfo
from intima.geometry import Region, Size
from intima.slides._guard import MAX_LEVELS, check_side, too_large
from intima.slides._pixel_size import UNKNOWN, PixelSizeClaim, from_microns
from intima.slides._pixels import over_white

_GENERIC = "generic-tiff"
_FORMATS = {"aperio": "svs", "hamamatsu": "ndpi", "leica": "scn", "ventana": "bif", "philips-tiff": "philips-tiff"}


@dataclass(frozen=True, slots=True)
class ScannerSlide:
    """A slide open in OpenSlide."""

    info: SlideInfo
    levels: tuple[Size, ...]
    handle: OpenSlide
    release: Callable[[], None]

    def read_level(self, level: int, region: Region) -> RgbImage:
        """Decode a region inside the level; areas that were not scanned are white."""
        ratio_x = self.info.width / self.levels[level].width
        ratio_y = self.info.height / self.levels[level].height
        corner = (round(region.x * ratio_x), round(region.y * ratio_y))
        straight = np.asarray(self.handle.read_region(corner, level, (region.width, region.height)))
        return over_white(straight[:, :, :3], straight[:, :, 3])

    def close(self) -> None:
        """Release the handle and its folder."""
        self.release()


def recognises(path: Path, _head: bytes) -> bool:
    """Tell whether OpenSlide knows the scanner; what it calls a generic TIFF is left to the TIFF family."""
    return OpenSlide.detect_format(path) not in (None, _GENERIC)


def open_scanner_slide(path: Path) -> ScannerSlide:
    """Open a scanner's slide through OpenSlide."""
    vendor = OpenSlide.detect_format(path) or ""
    with ExitStack() as stack:
        alone = _alone(path, stack) if vendor == "dicom" else path
        handle = stack.enter_context(OpenSlide(alone))
        levels = tuple(Size(*size) for size in handle.level_dimensions)
        info = _info(handle, vendor)
        return ScannerSlide(info, levels, handle, stack.pop_all().close)


def _alone(path: Path, stack: ExitStack) -> Path:
    """Link the file into a folder of its own: OpenSlide reads every DICOM file of the folder it is given."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="intima-slide-"))
    link = Path(folder) / path.name
    link.symlink_to(path.resolve())
    return link


def _info(handle: OpenSlide, vendor: str) -> SlideInfo:
    width, height = handle.dimensions
    check_side(width, height)
    if handle.level_count > MAX_LEVELS:
        raise too_large(f"{handle.level_count} pyramid levels", f"at most {MAX_LEVELS}")
    claim = _pixel_size(handle)
    return SlideInfo(
        format=_FORMATS.get(vendor, vendor),
        width=width,
        height=height,
        levels=handle.level_count,
        mpp=claim.um,
        vendor=vendor,
        warnings=claim.warnings,
    )


def _pixel_size(handle: OpenSlide) -> PixelSizeClaim:
    x, y = (handle.properties.get(f"openslide.mpp-{axis}") for axis in "xy")
    return UNKNOWN if x is None or y is None else from_microns(float(x), float(y))
