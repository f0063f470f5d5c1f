"""The only sliding window. Training scores and served masks both come through here.

Frame: working pixels, i.e. the slide resampled to the model's own pixel size. Neighbouring tiles overlap by two
halos and are blended by a linear ramp over the overlap, on logits. The result is streamed in blocks, row by row; what
is kept between rows of tiles is their overlap, so memory grows with the width of the image and not with its area.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from intima.arrays import Logits, Predict, RgbImage, TileBatch
from intima.errors import Invalid
from intima.geometry import Region, Size
from intima.resampling import Strip

Read: TypeAlias = Callable[[Region], RgbImage]
"""Returns the pixels of a region in working pixels; the region lies inside the image."""

Block: TypeAlias = tuple[Region, Logits | None]
"""A region in working pixels, and its (channels, height, width) blended logits; None where no tile was wanted."""

In = TypeVar("In")
Out = TypeVar("Out")

_MIN_WEIGHT = 1e-3
SIDE_MULTIPLE = 32
"""Nets take tiles whose sides are multiples of it, in pixels."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Where tiles lie: evenly spread, all of one size, covering the image exactly."""

    size: Size
    tile_px: int
    halo_px: int
    even: bool = False
    """Whether tiles are cut to the multiple of 32 px that the image is covered with by as many, but less overlap."""

    def __post_init__(self) -> None:
        if self.tile_px < 32 or not 0 <= 2 * self.halo_px < self.tile_px:
            raise Invalid(f"Got tiles of {self.tile_px} px with a halo of {self.halo_px} px; need halo < tile / 2.")

    @property
    def tile(self) -> Size:
        """Size of each tile: at most the tile size, at most the image."""
        return Size(self._side(self.size.width), self._side(self.size.height))

    def _side(self, length: int) -> int:
        if not self.even or self.tile_px >= length:
            return min(self.tile_px, length)
        overlap = 2 * self.halo_px
        count = math.ceil((length - overlap) / (self.tile_px - overlap))
        least = math.ceil((length - overlap) / count) + overlap
        return min(self.tile_px, math.ceil(least / SIDE_MULTIPLE) * SIDE_MULTIPLE)

    def rows(self) -> list[list[Region]]:
        """Return the tiles, row by row, left to right."""
        tile = self.tile
        xs = _origins(self.size.width, tile.width, 2 * self.halo_px)
        ys = _origins(self.size.height, tile.height, 2 * self.halo_px)
        return [[Region(x, y, tile.width, tile.height) for x in xs] for y in ys]


def _origins(length: int, tile: int, overlap: int) -> list[int]:
    """Spread the fewest tiles of one length evenly, each overlapping the next by at least ``overlap``."""
    if tile >= length:
        return [0]
    count = int(np.ceil((length - overlap) / (tile - overlap)))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


@dataclass(frozen=True, slots=True)
class Work:
    """How much runs at once; changes no result."""

    batch: int = 4
    """Tiles per call of the net. On a CPU more than one gains nothing and takes memory."""
    threads: int = 1
    """Calls at a time. Tiles are read by one thread."""


def predict_blocks(
    read: Read,
    *,
    size: Size,
    predict: Predict,
    tile_px: int,
    halo_px: int,
    even: bool = False,
    wanted: Callable[[Region], bool] = lambda _tile: True,
    work: Work = Work(),
) -> Iterator[Block]:
    """Run a net over an image of any size and yield blended logits.

    Blocks tile the image without gaps: rows of them from top to bottom, each row from left to right and of one height.

    Args:
        read: reads a region in working pixels.
        size: size of the image in working pixels.
        predict: (tiles, 3, h, w) in 0..1 to (tiles, channels, h, w); called with h, w multiples of 32.
        tile_px: side of a tile.
        halo_px: half of the smallest overlap between neighbours.
        even: tiles may be smaller where that saves pixels, see ``TileGrid``.
        wanted: tells whether a tile is run. Pixels that no other tile covers have the logits they have when all are
            run; the others mean nothing.
        work: how much runs at once.
    """
    rows = TileGrid(size, tile_px, halo_px, even).rows()
    run = [[wanted(region) for region in row] for row in rows]
    chosen = [r for row, marks in zip(rows, run, strict=True) for r, mark in zip(row, marks, strict=True) if mark]
    tiles = _predict_tiles(read, chosen, predict=predict, work=work)
    overlap = _Overlap(max((a[0].y + a[0].height - b[0].y for a, b in itertools.pairwise(rows)), default=0), size.width)
    for index, row in enumerate(rows):
        bottom = rows[index + 1][0].y if index + 1 < len(rows) else size.height
        pending = _Pending(row[0])
        for column, region in enumerate(row):
            pending.reach(region.x + region.width)
            if run[index][column]:
                pending.add(region, next(tiles), _weight(rows, index, column))
            right = row[column + 1].x if column + 1 < len(row) else size.width
            yield pending.finish(right, bottom, overlap)


def predict_tiled(
    read: Read, *, size: Size, predict: Predict, tile_px: int, halo_px: int, work: Work = Work()
) -> Iterator[Strip]:
    """Run a net as ``predict_blocks`` does, and yield the rows of blocks as strips from top to bottom."""
    strip: list[Logits] = []
    for region, logits in predict_blocks(read, size=size, predict=predict, tile_px=tile_px, halo_px=halo_px, work=work):
        assert logits is not None
        strip.append(logits)
        if region.x + region.width == size.width:
            yield region.y, np.concatenate(strip, axis=2)
            strip = []


def _predict_tiles(read: Read, regions: Sequence[Region], *, predict: Predict, work: Work) -> Iterator[Logits]:
    """Yield the logits of each region in order."""
    groups = [regions[start : start + work.batch] for start in range(0, len(regions), work.batch)]
    batches = ((group, to_tile_batch([read(region) for region in group])) for group in groups)

    def run(batch: tuple[Sequence[Region], TileBatch]) -> list[Logits]:
        group, tiles = batch
        return [out[:, : r.height, : r.width] for out, r in zip(predict(tiles), group, strict=True)]

    for found in _in_order(run, batches, threads=work.threads):
        yield from found


def _in_order(run: Callable[[In], Out], items: Iterator[In], *, threads: int) -> Iterator[Out]:
    """Yield the results in the order of the items; ``threads`` run at a time, and as many wait or are read ahead."""
    if threads == 1:
        yield from map(run, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Out]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(run, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def to_tile_batch(images: Sequence[RgbImage]) -> TileBatch:
    """Stack images of one size as (tiles, 3, h, w) in 0..1, padded by reflection to multiples of 32."""
    stack = np.stack(images)
    bottom, right = -stack.shape[1] % SIDE_MULTIPLE, -stack.shape[2] % SIDE_MULTIPLE
    if bottom or right:
        mode = "reflect" if stack.shape[1] > bottom and stack.shape[2] > right else "symmetric"
        stack = np.pad(stack, ((0, 0), (0, bottom), (0, right), (0, 0)), mode=mode)  # type: ignore[call-overload]
    return np.ascontiguousarray(stack.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255.0)


class _Overlap:
    """Weighted sums of the rows that the next row of tiles will touch too, over the whole width."""

    def __init__(self, rows: int, width: int) -> None:
        self.weights = np.zeros((rows, width), np.float32)
        self.sums: Logits | None = None

    def take(self, columns: slice, *, rows: int, sums: Logits | None, weights: NDArray[np.float32]) -> Logits | None:
        """Add what lies here to sums and weights of as many rows from the same top; return the sums."""
        count = min(len(self.weights), rows)
        if self.sums is None or not self.weights[:count, columns].any():
            return sums
        if sums is None:
            sums = np.zeros((len(self.sums), *weights.shape), np.float32)
        sums[:, :count] += self.sums[:, :count, columns]
        weights[:count] += self.weights[:count, columns]
        return sums

    def put(self, columns: slice, *, sums: Logits | None, weights: NDArray[np.float32]) -> None:
        """Replace what lies here."""
        kept = len(weights)
        self.weights[:kept, columns], self.weights[kept:, columns] = weights, 0
        if self.sums is None and sums is not None:
            self.sums = np.zeros((len(sums), *self.weights.shape), np.float32)
        if self.sums is not None:
            self.sums[:, :, columns] = 0
        if self.sums is not None and sums is not None:
            self.sums[:, :kept, columns] = sums


class _Pending:
    """Weighted sums of the columns that the tiles of this row may still touch."""

    def __init__(self, first: Region) -> None:
        self.left, self.top = first.x, first.y
        self.sums: Logits | None = None
        self.weights = np.zeros((first.height, 0), np.float32)

    def reach(self, right: int) -> None:
        """Open the columns up to ``right``."""
        missing = right - self.left - self.weights.shape[1]
        self.weights = np.pad(self.weights, ((0, 0), (0, missing)))
        if self.sums is not None:
            self.sums = np.pad(self.sums, ((0, 0), (0, 0), (0, missing)))

    def add(self, region: Region, logits: Logits, weight: NDArray[np.float32]) -> None:
        """Add a tile that ends where the open columns do."""
        if self.sums is None:
            self.sums = np.zeros((len(logits), *self.weights.shape), np.float32)
        self.sums[:, :, region.x - self.left :] += logits * weight
        self.weights[:, region.x - self.left :] += weight

    def finish(self, right: int, bottom: int, overlap: _Overlap) -> Block:
        """Cut off the columns left of ``right``: return their rows above ``bottom`` and keep the others."""
        count, rows = right - self.left, bottom - self.top
        region, across = Region(self.left, self.top, count, rows), slice(self.left, right)
        weights, sums = self.weights[:, :count], None if self.sums is None else self.sums[:, :, :count]
        if not weights.any():
            sums = None
        sums = overlap.take(across, rows=len(weights), sums=sums, weights=weights)
        overlap.put(across, sums=None if sums is None else sums[:, rows:], weights=weights[rows:])
        self.left = right
        self.weights = self.weights[:, count:].copy()
        self.sums = None if self.sums is None else self.sums[:, :, count:].copy()
        if sums is None:
            return region, None
        total = weights[:rows]
        total[total == 0] = 1
        return region, sums[:, :rows] / total


def _weight(rows: Sequence[Sequence[Region]], index: int, column: int) -> NDArray[np.float32]:
    """Return the weights of a tile's pixels."""
    row = rows[index]
    here = row[column]
    above = rows[index - 1][0].y + rows[index - 1][0].height - here.y if index > 0 else 0
    below = here.y + here.height - rows[index + 1][0].y if index + 1 < len(rows) else 0
    left = row[column - 1].x + row[column - 1].width - here.x if column > 0 else 0
    right = here.x + here.width - row[column + 1].x if column + 1 < len(row) else 0
    vertical, horizontal = _ramp(here.height, above, below), _ramp(here.width, left, right)
    return np.outer(vertical, horizontal).astype(np.float32)


def _ramp(length: int, before: int, after: int) -> NDArray[np.float32]:
    """Weight 1 inside, falling linearly over the overlaps on both ends, never 0."""
    position = np.arange(length, dtype=np.float32) + 0.5
    rising = np.minimum(1.0, position / before) if before else np.ones(length, np.float32)
    falling = np.minimum(1.0, position[::-1] / after) if after else np.ones(length, np.float32)
    weights: NDArray[np.float32] = np.maximum(rising * falling, _MIN_WEIGHT).astype(np.float32)
    return weights


def read_from(image: RgbImage) -> Read:
    """Return a reader of an image in memory."""

    def read(region: Region) -> RgbImage:
        return image[region.y : region.y + region.height, region.x : region.x + region.width]

    return read


def predict_image(image: RgbImage, predict: Predict, *, tile_px: int, halo_px: int) -> Logits:
    """Run a net over a whole image in memory.

    Args:
        image: (height, width, 3) at the working resolution.

    Returns:
        (channels, height, width) blended logits.
    """
    strips = image_strips(image, predict, tile_px=tile_px, halo_px=halo_px)
    return np.concatenate([logits for _, logits in strips], axis=1)


def image_strips(image: RgbImage, predict: Predict, *, tile_px: int, halo_px: int) -> Iterator[Strip]:
    """Yield the strips of a whole image in memory, (height, width, 3) at the working resolution."""
    size = Size(image.shape[1], image.shape[0])
    return predict_tiled(read_from(image), size=size, predict=predict, tile_px=tile_px, halo_px=halo_px)
