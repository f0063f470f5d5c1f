"""What TIFF tags say: format, pixel size, orientation, warnings."""

import math

from tifffile import COMPRESSION, TiffFile, TiffPage, TiffPageSeries

from intima.contracts.segmentation import SlideInfo
from intima.slides import _tiff_color
from intima.slides.pixel_size import UNKNOWN, PixelSizeClaim, from_ome, from_resolution, from_unit

_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 274, 282, 283, 296
_FAX = (COMPRESSION.CCITTRLE, COMPRESSION.CCITT_T4, COMPRESSION.CCITT_T6)
_PER_INCH = {2: 1.0, 3: 2.54}


def slide_info(file: TiffFile, pages: tuple[TiffPage, ...], *, turned: bool = False) -> SlideInfo:
    """Describe the first image; ``turned`` says that upright width and height are the stored ones swapped."""
    first = pages[0]
    width, height = first.imagewidth, first.imagelength
    claim = pixel_size(file, first)
    return SlideInfo(
        format="ome-tiff" if file.is_ome else "bigtiff" if file.is_bigtiff else "tiff",
        width=height if turned else width,
        height=width if turned else height,
        levels=len(pages),
        mpp=claim.um,
        vendor=None,
        warnings=(*claim.warnings, *_tiff_color.warnings(first), *_gaps(first), *_further_images(file)),
    )


def main_series(file: TiffFile) -> TiffPageSeries:
    """Return the image with the most pixels per plane; of equals the first. Labels and macro photos are smaller."""
    return max(file.series, key=lambda s: s.keyframe.imagewidth * s.keyframe.imagelength)


def orientation(page: TiffPage) -> int:
    """Return the orientation tag, 1 where it is absent or senseless."""
    tag = page.tags.get(_ORIENTATION)
    return tag.value if tag is not None and tag.value in range(1, 9) else 1


def pixel_size(file: TiffFile, page: TiffPage) -> PixelSizeClaim:
    """Read the pixel size from OME-XML, ImageJ's unit or the resolution tags, in this order."""
    if file.is_ome and file.ome_metadata:
        return from_ome(file.ome_metadata)
    x, y = _resolution(page, _X_RESOLUTION), _resolution(page, _Y_RESOLUTION)
    imagej = file.imagej_metadata if file.is_imagej else None
    if imagej and "unit" in imagej:
        return from_unit(x, y, str(imagej["unit"]))
    unit = page.tags.get(_RESOLUTION_UNIT)
    factor = _PER_INCH.get(int(unit.value) if unit is not None else 2)
    return UNKNOWN if factor is None else from_resolution(x * factor, y * factor)


def _resolution(page: TiffPage, code: int) -> float:
    tag = page.tags.get(code)
    if tag is None or not isinstance(tag.value, tuple) or len(tag.value) != 2 or not tag.value[1]:
        return math.nan
    return float(tag.value[0]) / float(tag.value[1])


def _gaps(page: TiffPage) -> tuple[str, ...]:
    """Say what of the image may not be what was there."""
    counts, found = page.databytecounts, []
    if missing := sum(count == 0 for count in counts):
        found.append(f"{missing} of {len(counts)} tiles or strips are not in the file; they are white.")
    if page.compression in _FAX:
        found.append("The image is fax-coded: damaged lines are filled in without notice.")
    return tuple(found)


def _further_images(file: TiffFile) -> tuple[str, ...]:
    series = main_series(file)
    planes = math.prod(n for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXSC")
    found = []
    if planes > 1:
        found.append(f"The image has {planes} planes or time points; the first is used.")
    if len(file.series) > 1:
        found.append(f"The file holds {len(file.series)} images; the largest is used.")
    return tuple(found)
