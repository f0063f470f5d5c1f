"""A mask at native resolution that follows what a person has painted at working resolution.

Nothing changes where nothing was painted: a working image that was not touched gives the native mask back, pixel by
pixel. A border that was painted is smoothed and brought to the native size as scores of a model are, bilinearly, so
it is no staircase of working pixels. Detail of the native mask that is finer than a working pixel belongs to the
nearest working pixels of its class, and goes where all of those have got another one: no sliver of it stays behind.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from intima.arrays import BinaryMask, LabelMask
from intima.framing import Frame
from intima.rasters import LabelRaster, read_blocks
from intima.resampling import Resampling, Strip, label_strips

_SLAB_ROWS = 64
_SMOOTHING = np.array([0.25, 0.5, 0.25], np.float32)
"""Of working pixels: without it a painted circle has a perimeter that is 6 % too long at a quarter of the resolution, \
with it 1 %."""
_REACH = 4
"""Rows beyond a slab that decide about it: one each of smoothing, of sampling, and of what is near, twice."""
_AROUND = np.ones((3, 3), bool)
_TILE_ROWS = 256
"""Rows of the tiles that stored masks have."""


def working_labels(mask: LabelRaster, frame: Frame) -> LabelMask:
    """Return the class under the centre of each working pixel of the frame's window.

    ``mask`` is of the frame's region at native resolution.
    """
    rows, columns = _under_centres(frame)
    out = np.empty((len(rows), len(columns)), np.uint8)
    for top, block in read_blocks(mask, multiple=_TILE_ROWS):
        first, behind = np.searchsorted(rows, (top, top + len(block)))
        out[first:behind] = block[rows[first:behind] - top][:, columns]
    return out


def _under_centres(frame: Frame) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return native row and column of the region under the centre of each working row and column of the window."""
    window, region = frame.window, frame.region
    down = np.floor((window.y + np.arange(window.height) + 0.5) / frame.scale_y).astype(np.intp) - region.y
    across = np.floor((window.x + np.arange(window.width) + 0.5) / frame.scale_x).astype(np.intp) - region.x
    return np.clip(down, 0, region.height - 1), np.clip(across, 0, region.width - 1)


def edited_mask(
    mask: LabelRaster, *, before: LabelMask, after: LabelMask, frame: Frame, classes: int
) -> Iterator[tuple[int, LabelMask]]:
    """Yield first row and pixels of the native mask that follows an edited working mask, from top to bottom.

    Args:
        mask: native, of the frame's region.
        before: its ``working_labels``.
        after: the same, painted on.
        frame: of both.
        classes: how many there are.
    """
    window, region = frame.window, frame.region
    kept = _kept(before, after, classes)
    down = np.floor((region.y + np.arange(region.height) + 0.5) * frame.scale_y).astype(np.intp) - window.y
    across = np.floor((region.x + np.arange(region.width) + 0.5) * frame.scale_x).astype(np.intp) - window.x
    down, across = np.clip(down, 0, window.height - 1), np.clip(across, 0, window.width - 1)
    for (top, new), (_, old) in zip(_native(after, frame, classes), _native(before, frame, classes), strict=True):
        rows = slice(top, top + len(new))
        held = mask.read(rows, slice(0, region.width))
        stays = (new == old) & kept[held, down[rows][:, None], across[None, :]]
        yield top, np.where(stays, held, new)


def _kept(before: LabelMask, after: LabelMask, classes: int) -> NDArray[np.bool_]:
    """Return (classes, height, width): whether native pixels of a class in a working pixel may stay what they are."""
    untouched = ~ndimage.binary_dilation(before != after, structure=_AROUND)
    still = (
        ndimage.binary_dilation((before == value) & (after == value), structure=_AROUND) for value in range(classes)
    )
    return np.stack([untouched | near for near in still])


def _native(labels: LabelMask, frame: Frame, classes: int) -> Iterator[tuple[int, LabelMask]]:
    down, across = frame.down.moved(frame.window.y), frame.across.moved(frame.window.x)
    return label_strips(_scores(labels, frame, classes), down=down, across=across)


def _scores(labels: LabelMask, frame: Frame, classes: int) -> Iterator[Strip]:
    """Yield scores whose borders are smooth; detail that smoothing would lose keeps its steps."""
    values = np.arange(classes, dtype=np.uint8)[:, None, None]
    rows, columns = _under_centres(frame)
    down = _part(frame.down.moved(frame.window.y), rows)
    across = _part(frame.across.moved(frame.window.x), columns)
    for top in range(0, len(labels), _SLAB_ROWS):
        first = max(0, top - _REACH)
        block = labels[first : top + _SLAB_ROWS + _REACH]
        sharp = (block[None] == values).astype(np.float32)
        soft = ndimage.correlate1d(sharp, _SMOOTHING, axis=1, mode="nearest")
        soft = ndimage.correlate1d(soft, _SMOOTHING, axis=2, mode="nearest")
        here = _part(down.moved(first), slice(first, first + len(block)))
        seen = _sampled(_sampled(soft, here, axis=1), across, axis=2).argmax(0)
        lost = ndimage.binary_dilation(_vanished(block, seen, classes), structure=_AROUND)
        yield top, np.where(lost, sharp, soft)[:, top - first : top - first + _SLAB_ROWS]


def _vanished(painted: LabelMask, seen: LabelMask, classes: int) -> BinaryMask:
    """Mark pixels whose class is seen nowhere near them."""
    gone = np.zeros(painted.shape, bool)
    for value in range(classes):
        gone |= (painted == value) & ~ndimage.binary_dilation(seen == value, structure=_AROUND)
    return gone


def _part(of: Resampling, which: NDArray[np.intp] | slice) -> Resampling:
    return Resampling(of.first[which], of.weights[which])


def _sampled(planes: NDArray[np.float32], how: Resampling, *, axis: int) -> NDArray[np.float32]:
    """Return planes where native pixels would read them, along one axis."""
    shape = [1, 1, 1]
    shape[axis] = len(how.first)
    last = planes.shape[axis] - 1
    taps = range(how.weights.shape[1])
    parts = (
        np.take(planes, np.clip(how.first + tap, 0, last), axis) * how.weights[:, tap].reshape(shape) for tap in taps
    )
    out: NDArray[np.float32] = np.sum(np.stack(list(parts)), axis=0, dtype=np.float32)
    return out
