"""Run all passes over a slide and write what they say into rasters, from top to bottom."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from intima.arrays import FloatMatrix, Logits, UncertaintyMap
from intima.errors import Invalid
from intima.framing import Frame
from intima.geometry import Region, Size
from intima.rasters import LabelRaster, MapRaster
from intima.resampling import Strip, label_strips
from intima.store.scratch import Scratch, ScratchRaster
from intima.temperature import log_probabilities
from intima.tiling import Block
from intima.tissue import NearTissue
from intima.uncertainty import PassAgreement, PassStatistics, summarise_passes

_NEVER = float(log_probabilities(np.zeros(1, np.float32))[0])
_SLAB_ROWS = 64
"""Working rows brought to the native size at once."""
_STEPS = 4096
"""Values of a map are rounded to one in so many: finer digits mean nothing and hardly compress."""


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
    overlap: FloatMatrix
    """(classes, 3) what the calibrated mean expects of its own mask (``intima.review``)."""


class _Writer:
    """Writes the statistics of parts of the window into rasters."""

    def __init__(self, scratch: Scratch, *, window: Size, passes: int, classes: int) -> None:
        shape = (window.height, window.width)
        self.working_mask: ScratchRaster[np.uint8] = scratch.raster(shape, np.uint8)
        self.entropy: ScratchRaster[np.float32] = scratch.raster(shape, np.float32)
        self.disagreement: ScratchRaster[np.float32] = scratch.raster(shape, np.float32)
        self.labels: list[ScratchRaster[np.uint8]] = [scratch.raster(shape, np.uint8) for _ in range(passes)]
        self.agreement = PassAgreement(passes=passes, classes=classes)
        self.sums = np.zeros(2)
        self.overlap: FloatMatrix = np.zeros((classes, 3))

    def write(self, top: int, left: int, found: PassStatistics) -> None:
        self.working_mask.write(top, left, found.probabilities.argmax(0).astype(np.uint8))
        self.entropy.write(top, left, _rounded(found.entropy))
        self.disagreement.write(top, left, _rounded(found.disagreement))
        for raster, labels in zip(self.labels, found.labels, strict=True):
            raster.write(top, left, labels)
        self.agreement.add(found.labels)
        self.overlap += found.overlap
        self.sums += found.entropy.sum(dtype=np.float64), found.disagreement.sum(dtype=np.float64)


def _rounded(values: UncertaintyMap) -> UncertaintyMap:
    rounded: UncertaintyMap = np.rint(values * np.float32(_STEPS)) / np.float32(_STEPS)
    return rounded


def map_slide(
    blocks: Iterator[Block],
    *,
    frame: Frame,
    near: NearTissue | None,
    passes: int,
    classes: int,
    scratch: Scratch,
    report: Callable[[float], None],
    temperature: float = 1.0,
) -> SlideMaps:
    """Gather blocks of stacked passes (``tiling.predict_blocks``) into masks and maps.

    The logarithm of the mean probability is brought to the native size, as scoring does with logits. What is not near
    tissue, and what was not run, is background without uncertainty.

    Args:
        blocks: logits of (passes * classes) channels over the slide's working image.
        frame: the part of the slide that is wanted.
        near: where the slide was looked at; None: everywhere.
        passes: how many passes there are.
        classes: classes of each.
        scratch: where the rasters are kept.
        report: told the share that is done.
        temperature: divides the logarithm of the mean probability where its entropy is taken.

    Raises:
        Invalid: a logit is not finite.
        StorageFull: no room for the rasters.
    """
    window, native = frame.window, frame.native
    writer = _Writer(scratch, window=window.size, passes=passes, classes=classes)
    mask: ScratchRaster[np.uint8] = scratch.raster((native.height, native.width), np.uint8)
    slabs = _mean_slabs(
        blocks, writer, window=window, near=near, classes=classes, temperature=temperature, report=report
    )
    for top, rows in label_strips(slabs, down=frame.down.moved(window.y), across=frame.across.moved(window.x)):
        mask.write(top, 0, rows)
    entropy, disagreement = (writer.sums / window.size.pixels).tolist()
    return SlideMaps(
        mask=mask,
        working_mask=writer.working_mask,
        entropy=writer.entropy,
        disagreement=writer.disagreement,
        pass_labels=tuple(writer.labels),
        mean_entropy=entropy,
        mean_disagreement=disagreement,
        pairwise_dice=writer.agreement.dice(),
        overlap=writer.overlap,
    )


def _mean_slabs(
    blocks: Iterator[Block],
    writer: _Writer,
    *,
    window: Region,
    near: NearTissue | None,
    classes: int,
    temperature: float,
    report: Callable[[float], None],
) -> Iterator[Strip]:
    """Write blocks as they come, and yield the logarithm of the mean probability in full rows of the window."""
    for rows, row in itertools.groupby(blocks, key=lambda block: (block[0].y, block[0].height)):
        inside = Region(window.x, rows[0], window.width, rows[1]).shared(window)
        if inside is None:
            continue
        scores = np.full((classes, inside.height, inside.width), _NEVER, np.float32)
        scores[0] = 0
        for region, stacked in row:
            part = region.shared(window)
            if part is None or stacked is None or (near is not None and not near.touches(part)):
                continue
            if not np.isfinite(stacked).all():
                raise Invalid("The model gives numbers that are not finite on this slide.", code="model_not_finite")
            found = summarise_passes(_cropped(stacked, region, part), classes=classes, temperature=temperature)
            found = found if near is None else found.where(near.of(part))
            writer.write(part.y - window.y, part.x - window.x, found)
            across = slice(part.x - window.x, part.x - window.x + part.width)
            scores[:, :, across] = log_probabilities(found.probabilities)
            report((part.y - window.y + part.height * across.stop / window.width) / window.height)
        for first in range(0, inside.height, _SLAB_ROWS):
            yield inside.y - window.y + first, scores[:, first : first + _SLAB_ROWS]


def _cropped(stacked: Logits, region: Region, part: Region) -> Logits:
    top, left = part.y - region.y, part.x - region.x
    return stacked[:, top : top + part.height, left : left + part.width]
