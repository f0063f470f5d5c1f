"""SYNTHETIC slides for the bench of the viewer: one phantom section, repeated, in three files of one picture."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from intima.arrays import RgbImage
from intima.phantom import draw_specs, render

_SECTION_PX = 2048
_TILE_PX = 256
_STRIP_ROWS = 16
_GLASS = (244, 242, 238)
_MPP = 0.5
_COMMON = {
    "photometric": "rgb",
    "resolution": (1e4 / _MPP, 1e4 / _MPP),
    "resolutionunit": "CENTIMETER",
    "metadata": None,
}


def write_slides(folder: Path, side: int) -> dict[str, Path]:
    """Write the slide with levels, without levels in tiles, and without levels in strips; return them by name."""
    section = _section()
    paths = {name: folder / f"{name.replace(' ', '-')}.tif" for name in ("pyramid", "flat tiles", "flat strips")}
    _write_tiled(paths["pyramid"], section, side, levels=(1, 2, 4, 8, 16, 32))
    _write_tiled(paths["flat tiles"], section, side, levels=(1,))
    strips = (zlib.compress(band.tobytes(), 1) for band in _bands(section, side, _STRIP_ROWS))
    tifffile.imwrite(
        paths["flat strips"],
        strips,
        shape=(side, side, 3),
        dtype=np.uint8,
        rowsperstrip=_STRIP_ROWS,
        compression="zlib",
        bigtiff=True,
        **_COMMON,
    )
    return paths


def _section() -> RgbImage:
    drawn = render(draw_specs(seed=7, subjects=1, size_px=512, mpp=2.0)[0].spec).image
    image = Image.fromarray(drawn).resize((_SECTION_PX, _SECTION_PX), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(7).integers(-6, 7, (_SECTION_PX, _SECTION_PX, 1))
    return np.clip(np.asarray(image).astype(np.int16) + grain, 0, 255).astype(np.uint8)


def _write_tiled(path: Path, section: RgbImage, side: int, *, levels: tuple[int, ...]) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as out:
        for step in levels:
            small = np.asarray(Image.fromarray(section).reduce(step))
            length = -(-side // step)
            out.write(
                _tiles(small, length),
                shape=(length, length, 3),
                dtype=np.uint8,
                tile=(_TILE_PX, _TILE_PX),
                compression="jpeg",
                compressionargs={"level": 85},
                subifds=len(levels) - 1 if step == 1 else 0,
                subfiletype=int(step > 1),
                **_COMMON,
            )


def _tiles(section: RgbImage, side: int) -> Iterator[RgbImage]:
    for band in _bands(section, side, _TILE_PX):
        for left in range(0, side, _TILE_PX):
            yield band[:, left : left + _TILE_PX]


def _bands(section: RgbImage, side: int, rows: int) -> Iterator[RgbImage]:
    """Yield bands of a chessboard of sections and glass."""
    px = len(section)
    glass = np.full_like(section, _GLASS)
    boards = [np.concatenate([section, glass], 1), np.concatenate([glass, section], 1)]
    wide = [np.concatenate([board] * (side // (2 * px) + 1), 1)[:, :side] for board in boards]
    for top in range(0, side, rows):
        at = np.arange(top, min(top + rows, side))
        yield np.ascontiguousarray(np.stack([wide[y // px % 2][y % px] for y in at]))
