"""The arithmetic of Deep Zoom images (DZI): levels of half the size each, cut into tiles.

Level 0 is one pixel and the last level the whole image; level l has ceil(side / 2^(last - l)) pixels along each side. A
tile holds ``tile_px`` pixels along each side and ``overlap_px`` more of every neighbour it has.
"""

from dataclasses import dataclass

from intima.errors import NotFound
from intima.geometry import Region, Size

_SCHEMA = "http://schemas.microsoft.com/deepzoom/2008"


@dataclass(frozen=True, slots=True)
class DeepZoom:
    """An image as a Deep Zoom pyramid."""

    size: Size
    tile_px: int
    overlap_px: int

    @property
    def last_level(self) -> int:
        """The level of full resolution: the logarithm of the longer side to base 2, rounded up."""
        return (max(self.size.width, self.size.height) - 1).bit_length()

    def level_size(self, level: int) -> Size:
        """Return the size of a level. Raises NotFound where there is none."""
        if not 0 <= level <= self.last_level:
            raise NotFound(f"There is no level {level}; the last is {self.last_level}.", code="level_not_found")
        step = 2 ** (self.last_level - level)
        return Size(-(-self.size.width // step), -(-self.size.height // step))

    def tiles(self, level: int) -> tuple[int, int]:
        """Return how many columns and rows of tiles a level has. Raises NotFound."""
        size = self.level_size(level)
        return -(-size.width // self.tile_px), -(-size.height // self.tile_px)

    def region(self, level: int, column: int, row: int) -> Region:
        """Return the pixels of a level that a tile shows. Raises NotFound where there is no such tile."""
        size, (columns, rows) = self.level_size(level), self.tiles(level)
        if not (0 <= column < columns and 0 <= row < rows):
            raise NotFound(
                f"There is no tile {column}_{row}; level {level} has {columns} x {rows} tiles.", code="tile_not_found"
            )
        left, width = self._span(column, size.width)
        top, height = self._span(row, size.height)
        return Region(left, top, width, height)

    def _span(self, number: int, length: int) -> tuple[int, int]:
        first = max(0, number * self.tile_px - self.overlap_px)
        last = min(length, (number + 1) * self.tile_px + self.overlap_px)
        return first, last - first

    def descriptor(self, form: str) -> str:
        """Return the DZI file of an image whose tiles have the extension ``form``."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<Image xmlns="{_SCHEMA}" Format="{form}" Overlap="{self.overlap_px}" TileSize="{self.tile_px}">'
            f'<Size Width="{self.size.width}" Height="{self.size.height}"/></Image>\n'
        )
