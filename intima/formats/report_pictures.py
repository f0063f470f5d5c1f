"""The two pictures of a report: classes with vessel numbers and a scale bar, and uncertainty with its scale.

Both have the same width, and their words the same size, whatever the slide's shape.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from intima.contracts.segmentation import VesselMeasures
from intima.formats._result import ResultArrays
from intima.formats.ome_tiff import halve_map, pyramid
from intima.formats.png import cividis, result_overlay
from intima.labels import LabelSchema
from intima.rasters import read_whole
from intima.reports.document import printable
from intima.reports.fonts import bold, regular

_SIDE_PX = 900
_NARROWEST_PX = 450
_TEXT_PX = 26
_LINE_PX = 38
_GAP_PX = 12
_MOST_NUMBERS = 40
_MOST_IN_LEGEND = 8
_INK, _PAPER, _HALO = (27, 31, 36), (255, 255, 255), 3
_JPEG_QUALITY = 90


def overlay_picture(arrays: ResultArrays, vessels: Sequence[VesselMeasures]) -> bytes:
    """Return a JPEG of the slide with its classes, the numbers of its largest vessels, a scale bar and a legend."""
    picture = _enlarged(Image.fromarray(result_overlay(arrays)), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    height, width = arrays.mask.shape
    across, down = picture.width / width, picture.height / height
    for vessel in reversed(vessels[:_MOST_NUMBERS]):
        box = vessel.bounds
        _number(draw, (box.x + box.width / 2) * across, (box.y + box.height / 2) * down, vessel.vessel)
    if arrays.mpp is not None:
        _scale_bar(draw, picture.size, um_per_px=arrays.mpp.x / across)
    out = io.BytesIO()
    _above(picture, _legend(arrays.schema, _canvas_width(picture))).save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()


def uncertainty_picture(arrays: ResultArrays) -> bytes:
    """Return a PNG of predictive entropy / ln C on the fixed scale 0 to 1 with its colours below."""
    small = pyramid(arrays.entropy, halve=halve_map, scratch=arrays.scratch, smallest_px=_SIDE_PX)[-1]
    picture = _enlarged(Image.fromarray(cividis(read_whole(small))), Image.Resampling.NEAREST)
    out = io.BytesIO()
    _above(picture, _color_bar(_canvas_width(picture))).save(out, "PNG")
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class ScaleBar:
    """A bar of a round length."""

    px: float
    label: str


def scale_bar(width_px: float, *, um_per_px: float) -> ScaleBar:
    """Return the longest bar of 1, 2 or 5 times a power of ten that is at most a quarter of the width."""
    longest = width_px / 4 * um_per_px
    power = 10.0 ** math.floor(math.log10(longest))
    length = next(step * power for step in (5, 2, 1) if step * power <= longest * (1 + 1e-9))
    label = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    return ScaleBar(length / um_per_px, label)


def _enlarged(picture: Image.Image, how: Image.Resampling) -> Image.Image:
    factor = _SIDE_PX / max(picture.size)
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    return picture.resize(size, how)


def _canvas_width(picture: Image.Image) -> int:
    return max(picture.width, _NARROWEST_PX)


def _above(picture: Image.Image, strip: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", (strip.width, picture.height + _GAP_PX + strip.height), _PAPER)
    canvas.paste(picture, (0, 0))
    canvas.paste(strip, (0, picture.height + _GAP_PX))
    return canvas


def _number(draw: ImageDraw.ImageDraw, x: float, y: float, number: int) -> None:
    font = ImageFont.truetype(str(bold()), _TEXT_PX + 6)
    draw.text((x, y), str(number), font=font, anchor="mm", fill=_INK, stroke_width=_HALO, stroke_fill=_PAPER)


def _scale_bar(draw: ImageDraw.ImageDraw, size: tuple[int, int], *, um_per_px: float) -> None:
    bar = scale_bar(max(size[0], 1), um_per_px=um_per_px)
    left, bottom = _GAP_PX * 2, size[1] - _GAP_PX * 2
    right = left + bar.px
    draw.rectangle((left - _HALO, bottom - 8 - _HALO, right + _HALO, bottom + _HALO), fill=_PAPER)
    draw.rectangle((left, bottom - 8, right, bottom), fill=_INK)
    font = ImageFont.truetype(str(regular()), _TEXT_PX)
    draw.text((left, bottom - 16), bar.label, font=font, anchor="ls", fill=_INK, stroke_width=_HALO, stroke_fill=_PAPER)


def _legend(schema: LabelSchema, width: int) -> Image.Image:
    """Return colours and names of the classes but background, two a line."""
    classes = schema.foreground[:_MOST_IN_LEGEND]
    columns = min(len(classes), 3 if width > 2 * _NARROWEST_PX - 1 else 2)
    rows = math.ceil(len(classes) / columns)
    strip = Image.new("RGB", (width, rows * _LINE_PX), _PAPER)
    draw = ImageDraw.Draw(strip)
    font = ImageFont.truetype(str(regular()), _TEXT_PX)
    cell = width / columns
    for place, tissue in enumerate(classes):
        x, y = place % columns * cell, place // columns * _LINE_PX
        draw.rectangle((x, y + 4, x + _TEXT_PX, y + 4 + _TEXT_PX), fill=tissue.rgb)
        room = int(cell - _TEXT_PX - 2 * _GAP_PX)
        name = _cut(printable(tissue.name), font, room)
        draw.text((x + _TEXT_PX + _GAP_PX, y + 4 + _TEXT_PX / 2), name, font=font, anchor="lm", fill=_INK)
    return strip


def _cut(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    kept = text[:100]
    while kept and font.getlength(kept + "…") > room and font.getlength(text) > room:
        kept = kept[:-1]
    return text if kept == text else f"{kept}…"


def _color_bar(width: int) -> Image.Image:
    ramp = np.linspace(0, 1, width, dtype=np.float32)[None, :].repeat(_TEXT_PX, axis=0)
    strip = Image.new("RGB", (width, 2 * _LINE_PX), _PAPER)
    strip.paste(Image.fromarray(cividis(ramp)), (0, 0))
    draw = ImageDraw.Draw(strip)
    font = ImageFont.truetype(str(regular()), _TEXT_PX)
    y = _TEXT_PX + _LINE_PX / 2 + 4
    for x, label, anchor in ((0, "0 certain", "lm"), (width / 2, "0.5", "mm"), (width, "1 guessing", "rm")):
        draw.text((x, y), label, font=font, anchor=anchor, fill=_INK)
    return strip
