"""The tiles of an overview in one file: what is made of a slide without levels, once."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

from intima.arrays import RgbImage
from intima.deepzoom import DeepZoom
from intima.formats.layers import slide_tile

MADE_AS = "overview 1"
"""Part of the name under which one is kept: another way to make them takes another."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The tiles of the lower levels of a slide's Deep Zoom image, each a JPEG."""

    tiles: Mapping[tuple[int, int, int], bytes]
    """By level, column and row."""

    @property
    def bytes_held(self) -> int:
        """What all tiles take."""
        return sum(map(len, self.tiles.values()))

    def packed(self) -> bytes:
        """Return one file with all tiles: a zip whose members are called ``level_column_row``."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
            for (level, column, row), data in self.tiles.items():
                packed.writestr(f"{level}_{column}_{row}", data)
        return out.getvalue()


def cut_overview(levels: Mapping[int, RgbImage], zoom: DeepZoom) -> Overview:
    """Cut whole levels of a Deep Zoom image into tiles."""
    places = (
        (at, column, row) for at in levels for column in range(zoom.tiles(at)[0]) for row in range(zoom.tiles(at)[1])
    )
    return Overview({place: _tile(levels[place[0]], zoom, place) for place in places})


def unpack_overview(data: bytes) -> Overview:
    """Return an overview that was packed here."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        return Overview({_place(name): packed.read(name) for name in packed.namelist()})


def _tile(level: RgbImage, zoom: DeepZoom, place: tuple[int, int, int]) -> bytes:
    part = zoom.region(*place)
    return slide_tile(level[part.y : part.y + part.height, part.x : part.x + part.width])


def _place(name: str) -> tuple[int, int, int]:
    level, column, row = map(int, name.split("_"))
    return level, column, row
