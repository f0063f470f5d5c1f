"""PNG pictures: the index mask, classes over the slide, and uncertainty as a heat map with a legend."""

import io
from typing import BinaryIO

import numpy as np
import png
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from intima.arrays import BinaryMask, LabelMask, RgbImage, UncertaintyMap
from intima.contracts.segmentation import SegmentationResult
from intima.formats._result import ResultArrays
from intima.formats.ome_tiff import halve_map, pyramid
from intima.labels import LabelSchema
from intima.rasters import LabelRaster, as_raster, read_blocks, read_whole

MAX_SIDE_PX = 2048
_OPACITY = 0.35
_MIN_SIDE_PX = 512
_LEGEND_PX = 64
_BAR_PX = 16
_LEVEL = 1
"""Of deflate for masks, which have few values and long runs."""

_CIVIDIS = np.array(
    [
        (0, 34, 78),
        (26, 56, 111),
        (67, 78, 108),
        (97, 101, 111),
        (125, 124, 120),
        (155, 148, 118),
        (188, 174, 108),
        (222, 201, 88),
        (254, 232, 56),
    ],
    np.float64,
)
"""Every 32nd colour of cividis (Nuñez, Anderton and Renslow 2018), made for colour-blind readers."""


def write_mask(arrays: ResultArrays, _result: SegmentationResult, out: BinaryIO) -> None:
    """Write the mask as an 8-bit palette PNG whose pixel values are the class indices."""
    _write_indices(out, arrays.mask, schema=arrays.schema)


def mask_png(mask: LabelMask, *, schema: LabelSchema) -> bytes:
    """Return a mask as an 8-bit palette PNG whose pixel values are the class indices."""
    out = io.BytesIO()
    _write_indices(out, as_raster(mask), schema=schema)
    return out.getvalue()


def _write_indices(out: BinaryIO, mask: LabelRaster, *, schema: LabelSchema) -> None:
    height, width = mask.shape
    writer = png.Writer(
        width, height, palette=[tuple(color) for color in _palette(schema).tolist()], bitdepth=8, compression=_LEVEL
    )
    writer.write_packed(out, (row.tobytes() for _, rows in read_blocks(mask) for row in rows))


def write_overlay(arrays: ResultArrays, _result: SegmentationResult, out: BinaryIO) -> None:
    """Write the slide with each class tinted and outlined in its colour, at most 2048 pixels on the long side."""
    out.write(_png(result_overlay(arrays)))


def result_overlay(arrays: ResultArrays) -> RgbImage:
    """Return the analysed part of the slide, small, with each class tinted and outlined in its colour."""
    height, width = _fitted(*arrays.thumbnail.shape[:2])
    labels = _nearest(arrays.mask, height, width)
    return overlay(arrays.thumbnail, labels, schema=arrays.schema)


def write_uncertainty(arrays: ResultArrays, _result: SegmentationResult, out: BinaryIO) -> None:
    """Write predictive entropy / ln C on the fixed scale 0 to 1 with a legend bar."""
    small = pyramid(arrays.entropy, halve=halve_map, scratch=arrays.scratch, smallest_px=MAX_SIDE_PX)[-1]
    out.write(_png(heat_map(read_whole(small), title="entropy")))


def overlay(image: RgbImage, mask: LabelMask, *, schema: LabelSchema) -> RgbImage:
    """Blend class colours over an image; image and mask show the same area, in whatever resolutions.

    Background is left as it is. Outlines are one pixel wide and lie inside each class.
    """
    height, width = _fitted(image.shape[0], image.shape[1])
    small = image
    if small.shape[:2] != (height, width):
        small = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    labels = _nearest(as_raster(mask), height, width)
    colors = _palette(schema)[labels]
    opacity = np.where(labels == 0, 0.0, np.where(_outline(labels), 1.0, _OPACITY))[:, :, None]
    blended: RgbImage = np.rint(small * (1 - opacity) + colors * opacity).astype(np.uint8)
    return blended


def heat_map(values: UncertaintyMap, *, title: str) -> RgbImage:
    """Colour a map of values 0..1 and put a legend bar beside it; small maps are enlarged without smoothing."""
    while max(values.shape) > MAX_SIDE_PX:
        values = halve_map(values)
    enlarge = max(1, _MIN_SIDE_PX // max(values.shape))
    picture = cividis(values.repeat(enlarge, axis=0).repeat(enlarge, axis=1))
    legend = _legend(max(picture.shape[0], 64), title=title)
    padded = np.full((legend.shape[0], picture.shape[1], 3), 255, np.uint8)
    padded[: picture.shape[0]] = picture
    return np.concatenate([padded, legend], axis=1)


def cividis(values: NDArray[np.float32]) -> RgbImage:
    """Return the colours of values 0..1; what lies beyond takes the colour of the end."""
    steps = np.linspace(0, 1, len(_CIVIDIS))
    ramp = np.stack([np.interp(np.linspace(0, 1, 256), steps, _CIVIDIS[:, i]) for i in range(3)], axis=1)
    index = np.rint(np.clip(values, 0, 1) * 255).astype(np.intp)
    out: RgbImage = np.rint(ramp).astype(np.uint8)[index]
    return out


def _legend(height: int, *, title: str) -> RgbImage:
    canvas = Image.new("RGB", (_LEGEND_PX, height), "white")
    bar = cividis(np.linspace(1, 0, height - 32, dtype=np.float32)[:, None].repeat(_BAR_PX, axis=1))
    canvas.paste(Image.fromarray(bar), (8, 24))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default()
    draw.text((4, 4), title, fill="black", font=font)
    for value in (1.0, 0.5, 0.0):
        draw.text((8 + _BAR_PX + 4, 24 + (1 - value) * (height - 33) - 6), f"{value:g}", fill="black", font=font)
    return np.asarray(canvas)


def _fitted(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, MAX_SIDE_PX / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _nearest(mask: LabelRaster, height: int, width: int) -> LabelMask:
    """Pick the pixel under the centre of each target pixel."""
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.intp)
    every = slice(0, mask.shape[1])
    return np.stack([mask.read(slice(row, row + 1), every)[0, columns] for row in rows.tolist()])


def _outline(labels: LabelMask) -> BinaryMask:
    """Mark pixels with a neighbour (by an edge) of another class."""
    padded = np.pad(labels, 1, mode="edge")
    centre = padded[1:-1, 1:-1]
    out: BinaryMask = (
        (centre != padded[:-2, 1:-1])
        | (centre != padded[2:, 1:-1])
        | (centre != padded[1:-1, :-2])
        | (centre != padded[1:-1, 2:])
    )
    return out


def _palette(schema: LabelSchema) -> NDArray[np.uint8]:
    """Return (256, 3) colours; indices beyond the schema are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(schema)] = [tissue.rgb for tissue in schema.classes]
    return table


def _png(image: RgbImage) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()
