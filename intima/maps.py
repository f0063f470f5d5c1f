"""Run all passes over a slide and write what they say into rasters, from top to bottom."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from intima.arrays import UncertaintyMap
from intima.geometry import Size
from intima.rasters import LabelRaster, MapRaster
from intima.store.scratch import Scratch, ScratchRaster
from intima.tiling import Block, Strip, label_strips
from intima.uncertainty import PassAgreement, PassStatistics, summarise_passes

_LEAST = np.finfo(np.float32).tiny
"""A probability of 0 is taken for this one."""
_SLAB_ROWS = 64
"""Working rows brought to the native size at once."""


_LOGITS_AT_ONCE = 2**23
_MOST_TILES = 4
_STEPS = 4096
"""Values of a map are rounded to one in so many: finer digits mean nothing and hardly compress."""


def tiles_at_once(tile_px: int, *, channels: int) -> int:
    """Return how many tiles of (channels, tile_px, tile_px) logits are held at a time; more gain nothing on a CPU."""
    return max(1, min(_MOST_TILES, _LOGITS_AT_ONCE // (channels * tile_px**2)))


@dataclass(frozen=True, slots=True)
class SlideMaps:
    """What all passes say of one analysed region."""

    mask: LabelRaster
    """Native resolution."""
    working_mask: LabelRaster
    """Of the mean over passes, at working resolution."""
    entropy: MapRaster
    """Predictive entropy / ln C, at working resolution."""
    disagreement: MapRaster
    """Mutual information / ln C, at working resolution."""
    pass_labels: tuple[LabelRaster, ...]
    """Of each pass, at working resolution."""
    mean_entropy: float
    mean_disagreement: float
    pairwise_dice: float | None


class _Writer:
    """Writes the statistics of blocks into rasters and yields the rows of mean probabilities."""

    def __init__(self, scratch: Scratch, *, working: Size, passes: int, classes: int) -> None:
        shape = (working.height, working.width)
        self.working_mask: ScratchRaster[np.uint8] = scratch.raster(shape, np.uint8)
        self.entropy: ScratchRaster[np.float32] = scratch.raster(shape, np.float32)
        self.disagreement: ScratchRaster[np.float32] = scratch.raster(shape, np.float32)
        self.labels: list[ScratchRaster[np.uint8]] = [scratch.raster(shape, np.uint8) for _ in range(passes)]
        self.agreement = PassAgreement(passes=passes, classes=classes)
        self.sums = np.zeros(2)

    def write(self, top: int, left: int, found: PassStatistics) -> None:
        self.working_mask.write(top, left, found.probabilities.argmax(0).astype(np.uint8))
        self.entropy.write(top, left, _rounded(found.entropy))
        self.disagreement.write(top, left, _rounded(found.disagreement))
        for raster, labels in zip(self.labels, found.labels, strict=True):
            raster.write(top, left, labels)
        self.agreement.add(found.labels)
        self.sums += found.entropy.sum(dtype=np.float64), found.disagreement.sum(dtype=np.float64)


def _rounded(values: UncertaintyMap) -> UncertaintyMap:
    rounded: UncertaintyMap = np.rint(values * np.float32(_STEPS)) / np.float32(_STEPS)
    return rounded


def map_slide(
    blocks: Iterator[Block],
    *,
    working: Size,
    native: Size,
    passes: int,
    classes: int,
    scratch: Scratch,
    report: Callable[[float], None],
) -> SlideMaps:
    """Gather blocks of stacked passes (``tiling.predict_blocks``) into masks and maps.

    The logarithm of the mean probability is brought to the native size, as scoring does with logits.

    Args:
        blocks: logits of (passes * classes) channels.
        working: size of the image in working pixels.
        native: its size in level-0 pixels.
        passes: how many passes there are.
        classes: classes of each.
        scratch: where the rasters are kept.
        report: told the share that is done.

    Raises:
        StorageFull: no room for the rasters.
    """
    writer = _Writer(scratch, working=working, passes=passes, classes=classes)
    mask: ScratchRaster[np.uint8] = scratch.raster((native.height, native.width), np.uint8)
    for top, rows in label_strips(
        _mean_slabs(blocks, writer, working, classes, report), working=working, native=native
    ):
        mask.write(top, 0, rows)
    entropy, disagreement = (writer.sums / working.pixels).tolist()
    return SlideMaps(
        mask=mask,
        working_mask=writer.working_mask,
        entropy=writer.entropy,
        disagreement=writer.disagreement,
        pass_labels=tuple(writer.labels),
        mean_entropy=entropy,
        mean_disagreement=disagreement,
        pairwise_dice=writer.agreement.dice(),
    )


def _mean_slabs(
    blocks: Iterator[Block], writer: _Writer, working: Size, classes: int, report: Callable[[float], None]
) -> Iterator[Strip]:
    """Write blocks as they come, and yield the logarithm of the mean probability in full rows."""
    row: list[np.ndarray] = []
    for region, stacked in blocks:
        found = summarise_passes(stacked, classes=classes)
        writer.write(region.y, region.x, found)
        row.append(np.log(np.maximum(found.probabilities, _LEAST)))
        done = region.y * working.width + (region.x + region.width) * region.height
        report(done / working.pixels)
        if region.x + region.width == working.width:
            for first in range(0, region.height, _SLAB_ROWS):
                slab = np.concatenate([part[:, first : first + _SLAB_ROWS] for part in row], axis=2)
                yield region.y + first, slab
            row = []
