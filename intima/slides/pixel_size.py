"""Pixel size from file metadata: trusted only where it can be one, never guessed."""

import html
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from intima.geometry import MicronsPerPixel

_PRINT_DPI = (72, 75, 90, 96, 100, 120, 144, 150, 180, 200, 240, 254, 300, 350, 360, 400, 600, 720, 1200, 2400, 4800)
_LARGEST_UM = 20.0
_ANISOTROPY = 1.05
_TO_UM = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1e3, "cm": 1e4}
_ATTRIBUTE = re.compile(r"\s(\w+)\s*=\s*[\"']([^\"']*)[\"']")
_PIXELS_TAG = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")


@dataclass(frozen=True, slots=True)
class PixelSizeClaim:
    """A pixel size in µm, or None with the reason as a warning for the user."""

    um: float | None
    warnings: tuple[str, ...] = ()


_NONE_STATED = "The file states no pixel size"
_NOT_USED = "The stated pixel size is not used"
UNKNOWN = PixelSizeClaim(None, (f"{_NONE_STATED}; give it in µm (mpp) to get lengths and areas.",))


def standing_warnings(warnings: Iterable[str], *, mpp: float | None) -> tuple[str, ...]:
    """Return what a file warns of still, once a pixel size in µm was given (null: none was)."""
    answered = () if mpp is None else (_NONE_STATED, _NOT_USED)
    return tuple(warning for warning in warnings if not warning.startswith(answered))


def from_resolution(per_inch_x: float, per_inch_y: float) -> PixelSizeClaim:
    """Judge a resolution tag in pixels per inch; screen and print values are not a pixel size."""
    if not (_usable(per_inch_x) and _usable(per_inch_y)):
        return UNKNOWN
    if round(per_inch_x) in _PRINT_DPI and abs(per_inch_x - round(per_inch_x)) < 0.05:
        return _refused(f"{per_inch_x:.6g} dpi is a print or screen resolution")
    claim = from_microns(25_400 / per_inch_x, 25_400 / per_inch_y)
    if claim.um is not None and claim.um > _LARGEST_UM:
        return _refused(f"{claim.um:.4g} µm per pixel from the resolution tag is no microscope's")
    return claim


def from_microns(x: float, y: float) -> PixelSizeClaim:
    """Judge a pixel size stated in µm; both sides must be plausible and equal within 5 %."""
    if not (_usable(x) and _usable(y)):
        return UNKNOWN
    if not (0.01 <= x <= 1000 and 0.01 <= y <= 1000):
        return _refused(f"{x:.4g} x {y:.4g} µm per pixel is out of range")
    if max(x, y) / min(x, y) > _ANISOTROPY:
        return _refused(f"the pixels are not square ({x:.4g} x {y:.4g} µm)")
    return PixelSizeClaim(MicronsPerPixel(x, y).mean)


def from_ome(xml: str) -> PixelSizeClaim:
    """Read PhysicalSizeX/Y and their units from the first Pixels element of OME-XML."""
    tag = _PIXELS_TAG.search(xml)
    if tag is None:
        return UNKNOWN
    attributes = _attributes(tag.group(0))
    return from_microns(_ome_length(attributes, "X"), _ome_length(attributes, "Y"))


def from_unit(per_unit_x: float, per_unit_y: float, unit: str) -> PixelSizeClaim:
    """Judge pixels per named unit, as ImageJ writes them (unit "micron")."""
    factor = _TO_UM.get(unit.replace("\\u00B5", "µ").strip(), math.nan)
    if not (_usable(per_unit_x) and _usable(per_unit_y)):
        return UNKNOWN
    return from_microns(factor / per_unit_x, factor / per_unit_y)


def _usable(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _refused(reason: str) -> PixelSizeClaim:
    return PixelSizeClaim(None, (f"{_NOT_USED}: {reason}. Give it in µm (mpp).",))


def _attributes(tag: str) -> dict[str, str]:
    """Return the attributes of one start tag; no XML parser sees the untrusted document."""
    return {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(tag)}


def _ome_length(attributes: dict[str, str], axis: str) -> float:
    unit = attributes.get(f"PhysicalSize{axis}Unit", "µm")
    return float(attributes.get(f"PhysicalSize{axis}", "nan")) * _TO_UM.get(unit, math.nan)
