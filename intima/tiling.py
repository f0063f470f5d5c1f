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

Read: TypeAlias = Callable[[Region], RgbImage]
"""Returns the pixels of a region in working pixels; the region lies inside the image."""

Block: TypeAlias = tuple[Region, Logits]
"""A region in working pixels, and its (channels, height, width) blended logits."""

Strip: TypeAlias = tuple[int, Logits]
"""First row in working pixels, and (channels, rows, width) class scores. Strips follow each other without gaps."""

In = TypeVar("In")
Out = TypeVar("Out")

_MIN_WEIGHT = 1e-3


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Where tiles lie: evenly spread, all of one size, covering the image exactly."""

    size: Size
    tile_px: int
    halo_px: int

    def __post_init__(self) -> None:
        if self.tile_px < 32 or not 0 <= 2 * self.halo_px < self.tile_px:
            raise Invalid(f"Got tiles of {self.tile_px} px with a halo of {self.halo_px} px; need halo < tile / 2.")

    @property
    def tile(self) -> Size:
        """Size of each tile: at most the tile size, at most the image."""
        return Size(min(self.tile_px, self.size.width), min(self.tile_px, self.size.height))

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
    """Tiles per call of the net."""
    threads: int = 1
    """Calls at a time. Tiles are read by one thread."""


def predict_blocks(
    read: Read, *, size: Size, predict: Predict, tile_px: int, halo_px: int, work: Work = Work()
) -> Iterator[Block]:
    """Run a net over an image of any size and yield blended logits.

    Blocks tile the image without gaps: rows of them from top to bottom, each row from left to right and of one height.

    Args:
        read: reads a region in working pixels.
        size: size of the image in working pixels.
        predict: (tiles, 3, h, w) in 0..1 to (tiles, channels, h, w); called with h, w multiples of 32.
        tile_px: side of a tile.
        halo_px: half of the smallest overlap between neighbours.
        work: how much runs at once.
    """
    rows = TileGrid(size, tile_px, halo_px).rows()
    overlap: _Overlap | None = None
    tiles = _predict_tiles(read, [region for row in rows for region in row], predict=predict, work=work)
    for index, row in enumerate(rows):
        final_below = rows[index + 1][0].y if index + 1 < len(rows) else size.height
        weights = _row_weights(rows, index)
        pending: _Pending | None = None
        for column, (region, weight) in enumerate(zip(row, weights, strict=True)):
            logits = next(tiles)
            if overlap is None:
                overlap = _Overlap.empty(rows, channels=len(logits), width=size.width)
            pending = _Pending.after(pending, region)
            pending.add(region, logits, weight)
            final_right = row[column + 1].x if column + 1 < len(row) else size.width
            yield pending.finish(final_right, final_below, overlap)


def predict_tiled(
    read: Read, *, size: Size, predict: Predict, tile_px: int, halo_px: int, work: Work = Work()
) -> Iterator[Strip]:
    """Run a net as ``predict_blocks`` does, and yield the rows of blocks as strips from top to bottom."""
    strip: list[Logits] = []
    for region, logits in predict_blocks(read, size=size, predict=predict, tile_px=tile_px, halo_px=halo_px, work=work):
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
    bottom, right = -stack.shape[1] % 32, -stack.shape[2] % 32
    if bottom or right:
        mode = "reflect" if stack.shape[1] > bottom and stack.shape[2] > right else "symmetric"
        stack = np.pad(stack, ((0, 0), (0, bottom), (0, right), (0, 0)), mode=mode)  # type: ignore[call-overload]
    return np.ascontiguousarray(stack.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255.0)


@dataclass(slots=True)
class _Overlap:
    """Weighted sums of the rows that the next row of tiles will touch too, over the whole width."""

    sums: Logits
    weights: NDArray[np.float32]

    @classmethod
    def empty(cls, rows: Sequence[Sequence[Region]], *, channels: int, width: int) -> "_Overlap":
        most = max((a[0].y + a[0].height - b[0].y for a, b in itertools.pairwise(rows)), default=0)
        return cls(np.zeros((channels, most, width), np.float32), np.zeros((most, width), np.float32))


@dataclass(slots=True)
class _Pending:
    """Weighted sums of the columns that the tiles of this row may still touch."""

    left: int
    top: int
    sums: Logits
    weights: NDArray[np.float32]

    @classmethod
    def after(cls, previous: "_Pending | None", region: Region) -> "_Pending":
        """Return the columns that are open once a tile has come; the columns before it are final."""
        if previous is None:
            return cls(region.x, region.y, np.zeros((0, 0, 0), np.float32), np.zeros((region.height, 0), np.float32))
        return previous

    def add(self, region: Region, logits: Logits, weight: NDArray[np.float32]) -> None:
        """Add a tile."""
        open_columns = self.weights.shape[1]
        missing = region.x + region.width - self.left - open_columns
        sums = np.zeros((len(logits), region.height, open_columns + missing), np.float32)
        sums[:, :, :open_columns] = self.sums if open_columns else 0
        sums[:, :, region.x - self.left :] += logits * weight
        self.weights = np.pad(self.weights, ((0, 0), (0, missing)))
        self.weights[:, region.x - self.left :] += weight
        self.sums = sums

    def finish(self, right: int, bottom: int, overlap: _Overlap) -> Block:
        """Cut off the columns left of ``right``: return their rows above ``bottom`` and keep the others."""
        count, rows = right - self.left, bottom - self.top
        sums, weights = self.sums[:, :, :count], self.weights[:, :count]
        across = slice(self.left, right)
        carried = min(overlap.weights.shape[0], sums.shape[1])
        sums[:, :carried] += overlap.sums[:, :carried, across]
        weights[:carried] += overlap.weights[:carried, across]
        region = Region(self.left, self.top, count, rows)
        block = (region, sums[:, :rows] / weights[:rows])
        kept = sums.shape[1] - rows
        overlap.sums[:, :kept, across], overlap.sums[:, kept:, across] = sums[:, rows:], 0
        overlap.weights[:kept, across], overlap.weights[kept:, across] = weights[rows:], 0
        self.sums, self.weights = self.sums[:, :, count:].copy(), self.weights[:, count:].copy()
        self.left = right
        return block


def _row_weights(rows: Sequence[Sequence[Region]], index: int) -> list[NDArray[np.float32]]:
    row = rows[index]
    above = rows[index - 1][0] if index > 0 else None
    below = rows[index + 1][0] if index + 1 < len(rows) else None
    here = row[0]
    vertical = _ramp(
        here.height,
        0 if above is None else above.y + above.height - here.y,
        0 if below is None else here.y + here.height - below.y,
    )
    weights = []
    for column, region in enumerate(row):
        left = row[column - 1].x + row[column - 1].width - region.x if column > 0 else 0
        right = region.x + region.width - row[column + 1].x if column + 1 < len(row) else 0
        weights.append(np.outer(vertical, _ramp(region.width, left, right)).astype(np.float32))
    return weights


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
    size = Size(image.shape[1], image.shape[0])
    strips = predict_tiled(read_from(image), size=size, predict=predict, tile_px=tile_px, halo_px=halo_px)
    return np.concatenate([logits for _, logits in strips], axis=1)


def resample_image(image: RgbImage, size: Size) -> RgbImage:
    """Resample an image to a size; a box filter as wide as the reduction comes first, so nothing aliases."""
    out = resample_planes(np.moveaxis(image.astype(np.float32), 2, 0), size)
    return np.moveaxis(np.clip(np.rint(out), 0, 255).astype(np.uint8), 0, 2)


def resample_planes(planes: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """Resample (planes, height, width) by area averaging when shrinking and bilinearly when growing."""
    return _along(_along(planes, size.height, axis=1), size.width, axis=2)


def upsample_logits(logits: Logits, size: Size) -> Logits:
    """Resample (channels, height, width) logits to the native size: bilinear, half-pixel centres; means if smaller."""
    return resample_planes(logits, size)


def _along(planes: NDArray[np.float32], length: int, *, axis: int) -> NDArray[np.float32]:
    if planes.shape[axis] == length:
        return planes
    if length > planes.shape[axis]:
        return _linear(planes, length, axis=axis)
    return _area(planes, length, axis=axis)


def _linear(planes: NDArray[np.float32], length: int, *, axis: int) -> NDArray[np.float32]:
    source = linear_positions(length, planes.shape[axis])
    low = np.floor(source).astype(np.intp)
    high = np.minimum(low + 1, planes.shape[axis] - 1)
    shape = [1] * planes.ndim
    shape[axis] = length
    fraction = (source - low).astype(np.float32).reshape(shape)
    out: NDArray[np.float32] = np.take(planes, low, axis) * (1 - fraction) + np.take(planes, high, axis) * fraction
    return out


def linear_positions(length: int, source_length: int) -> NDArray[np.float64]:
    """Return where target pixel centres lie in source pixels, clamped to the first and last centre."""
    positions = (np.arange(length) + 0.5) * (source_length / length) - 0.5
    return np.clip(positions, 0.0, source_length - 1.0)


def _area(planes: NDArray[np.float32], length: int, *, axis: int) -> NDArray[np.float32]:
    """Mean over each target pixel's footprint, from the running integral (exact for fractional footprints)."""
    integral = np.concatenate(
        [np.zeros_like(np.take(planes, [0], axis), np.float64), np.cumsum(planes, axis, dtype=np.float64)], axis
    )
    edges = np.linspace(0.0, planes.shape[axis], length + 1)
    low = np.minimum(np.floor(edges).astype(np.intp), planes.shape[axis])
    high = np.minimum(low + 1, planes.shape[axis])
    shape = [1] * planes.ndim
    shape[axis] = length + 1
    fraction = (edges - low).reshape(shape)
    at_edges = np.take(integral, low, axis) * (1 - fraction) + np.take(integral, high, axis) * fraction
    out: NDArray[np.float32] = (np.diff(at_edges, axis=axis) * (length / planes.shape[axis])).astype(np.float32)
    return out


def label_strips(strips: Iterator[Strip], *, working: Size, native: Size) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Turn strips of class scores into strips of native-resolution labels, resampled as ``upsample_logits`` does.

    Args:
        strips: (first row, (classes, rows, width)) from top to bottom, in working pixels.
        working: size of the image in working pixels.
        native: size of the mask in level-0 pixels.

    Yields:
        First native row and (rows, native width) class indices, from top to bottom without gaps.
    """
    first, weights = _taps(native.height, working.height)
    needed = first + np.where(weights > 0, np.arange(weights.shape[1]), 0).max(axis=1)
    carried: NDArray[np.float32] | None = None
    carried_top, next_row = 0, 0
    for top, scores in strips:
        carried_top = top if carried is None else carried_top
        block = scores if carried is None else np.concatenate([carried, scores], axis=1)
        bottom = top + scores.shape[1]
        last = native.height if bottom >= working.height else int(np.searchsorted(needed, bottom))
        if last > next_row:
            rows = slice(next_row, last)
            yield next_row, _label_rows(block, first[rows] - carried_top, weights[rows], native.width)
        keep = max(0, int(first[min(last, native.height - 1)]) - carried_top)
        carried, carried_top, next_row = block[:, keep:], carried_top + keep, max(last, next_row)


def _taps(length: int, source_length: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return what ``resample_planes`` takes for each target row: its first source row, and (length, taps) weights."""
    if length >= source_length:
        positions = linear_positions(length, source_length)
        first = np.floor(positions).astype(np.intp)
        fraction = (positions - first).astype(np.float32)
        return first, np.stack([1 - fraction, fraction], axis=1)
    edges = np.linspace(0.0, source_length, length + 1)
    first = np.floor(edges[:-1]).astype(np.intp)
    rows = first[:, None] + np.arange(math.ceil(source_length / length) + 1)
    covered = np.minimum(rows + 1, edges[1:, None]) - np.maximum(rows, edges[:-1, None])
    return first, (np.maximum(covered, 0.0) * (length / source_length)).astype(np.float32)


_MIXED_AT_ONCE = 2**22
"""Class scores at native resolution held at once."""


def _label_rows(
    block: NDArray[np.float32], first: NDArray[np.intp], weights: NDArray[np.float32], width: int
) -> NDArray[np.uint8]:
    out = np.empty((len(first), width), np.uint8)
    step = max(1, _MIXED_AT_ONCE // (len(block) * width))
    for start in range(0, len(first), step):
        at, weight = first[start : start + step], weights[start : start + step]
        mixed = np.zeros((len(block), len(at), block.shape[2]), np.float32)
        for tap in range(weights.shape[1]):
            mixed += block[:, np.minimum(at + tap, block.shape[1] - 1)] * weight[:, tap, None]
        out[start : start + len(at)] = _along(mixed, width, axis=2).argmax(0)
    return out
