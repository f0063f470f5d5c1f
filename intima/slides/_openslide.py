"""Scanner formats (SVS, NDPI, SCN, BIF, MRXS, ...) by OpenSlide."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from openslide import OpenSlide
from tifffile import TiffFile, TiffPage

from intima.arrays import RgbImage
from intima.contracts.segmentation import RegionSpec, SlideInfo
from intima.errors import Invalid
from intima.geometry import Region, Size
from intima.slides import _jpeg_tiles
from intima.slides._guard import MAX_LEVELS, check_side, decoding, too_large
from intima.slides._jpeg_tiles import JpegTiles
from intima.slides._pixels import over_white
from intima.slides.pixel_size import UNKNOWN, PixelSizeClaim, from_microns

_GENERIC = "generic-tiff"
_FORMATS = {
    "aperio": "svs",
    "hamamatsu": "ndpi",
    "leica": "scn",
    "ventana": "bif",
    "philips-tiff": "philips-tiff",
    "mirax": "mrxs",
}

_MODELS = {
    "aperio": "aperio.ScanScope ID",
    "hamamatsu": "hamamatsu.Product",
    "leica": "leica.device-model",
    "ventana": "ventana.ScannerModel",
    "philips-tiff": "philips.DICOM_MANUFACTURERS_MODEL_NAME",
}


@dataclass(frozen=True, slots=True)
class ScannerSlide:
    """A slide open in OpenSlide."""

    info: SlideInfo
    levels: tuple[Size, ...]
    handle: OpenSlide
    tiles: JpegTiles | None = None
    """The faster way to the same pixels, where there is one."""

    def read_level(self, level: int, region: Region) -> RgbImage:
        """Decode a region inside the level; areas that were not scanned are white."""
        if self.tiles is not None:
            with suppress(*_jpeg_tiles.REFUSALS):
                return self.tiles.read(level, region)
        ratio_x = self.info.width / self.levels[level].width
        ratio_y = self.info.height / self.levels[level].height
        corner = (round(region.x * ratio_x), round(region.y * ratio_y))
        straight = np.asarray(self.handle.read_region(corner, level, (region.width, region.height)))
        return over_white(straight[:, :, :3], straight[:, :, 3])

    def close(self) -> None:
        """Release the file."""
        self.handle.close()
        if self.tiles is not None:
            self.tiles.close()


def recognises(path: Path, _head: bytes) -> bool:
    """Tell whether OpenSlide knows the scanner; what it calls a generic TIFF is left to the TIFF family."""
    return OpenSlide.detect_format(path) not in (None, _GENERIC)


def open_scanner_slide(path: Path) -> ScannerSlide:
    """Open a scanner's slide through OpenSlide."""
    vendor = OpenSlide.detect_format(path) or ""
    handle = OpenSlide(path)
    try:
        levels = tuple(Size(*size) for size in handle.level_dimensions)
        tiles = _jpeg_tiles_of(path, levels) if vendor == "aperio" else None
        return ScannerSlide(_info(handle, vendor), levels, handle, tiles)
    except BaseException:
        handle.close()
        raise


def _jpeg_tiles_of(path: Path, levels: tuple[Size, ...]) -> JpegTiles | None:
    """Open an SVS by its tile index, None unless every level is one page of JPEG tiles of which none is missing."""
    try:
        with decoding(""), TiffFile(path) as file:
            tiled = [page for page in file.pages if isinstance(page, TiffPage) and page.is_tiled]
            by_size = {Size(page.imagewidth, page.imagelength): page for page in tiled}
            if len(by_size) != len(tiled) or set(by_size) != set(levels):
                return None
            pages = [by_size[size] for size in levels]
            return _jpeg_tiles.open_tiles(path, pages) if all(min(page.databytecounts) > 0 for page in pages) else None
    except Invalid:
        return None


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
        bounds=_bounds(handle),
        associated=tuple(sorted(str(name)[:100] for name in handle.associated_images)),
        scanner=_scanner(handle, vendor),
    )


def _bounds(handle: OpenSlide) -> RegionSpec | None:
    """Return the rectangle that was scanned, where the scanner states one inside the slide."""
    stated = [handle.properties.get(f"openslide.bounds-{key}", "") for key in ("x", "y", "width", "height")]
    if not all(value.isdecimal() for value in stated):
        return None
    x, y, width, height = (int(value) for value in stated)
    inside = Region(x, y, width, height).inside(Size(*handle.dimensions)) if width and height else False
    return RegionSpec(x=x, y=y, width=width, height=height) if inside else None


def _scanner(handle: OpenSlide, vendor: str) -> dict[str, str]:
    """Return make, model and objective: nothing that says who or when."""
    keys = {"model": _MODELS.get(vendor, ""), "objective_power": "openslide.objective-power"}
    found = {key: handle.properties.get(name) for key, name in keys.items()}
    return {"make": vendor} | {key: value[:100] for key, value in found.items() if value}


def _pixel_size(handle: OpenSlide) -> PixelSizeClaim:
    x, y = (handle.properties.get(f"openslide.mpp-{axis}") for axis in "xy")
    return UNKNOWN if x is None or y is None else from_microns(float(x), float(y))
