"""What every writer is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from intima.arrays import RgbImage
from intima.contracts.segmentation import SegmentationResult
from intima.formats._rings import Outlines, TooIntricate, outlines
from intima.geometry import MicronsPerPixel
from intima.labels import LabelSchema
from intima.rasters import LabelRaster, MapRaster
from intima.store.scratch import Scratch


@dataclass(frozen=True)
class ResultArrays:
    """The images of one segmentation."""

    mask: LabelRaster
    """At native resolution (level 0)."""
    entropy: MapRaster
    """Predictive entropy / ln C, at working resolution."""
    disagreement: MapRaster
    """Mutual information / ln C, at working resolution."""
    thumbnail: RgbImage
    """The analysed part of the slide, small."""
    schema: LabelSchema
    mpp: MicronsPerPixel | None
    """Pixel size of the mask."""
    working_mpp: MicronsPerPixel | None
    """Pixel size of the uncertainty maps."""
    origin: tuple[int, int]
    """Level-0 pixel (x, y) of the mask's top left corner."""
    scratch: Scratch
    """Where a writer keeps images of its own."""

    @cached_property
    def outlines(self) -> Outlines:
        """The components of the mask, traced once for all writers. Raises NotWritten where they are too many."""
        try:
            return outlines(self.mask)
        except TooIntricate as error:
            raise NotWritten(f"the outlines in the mask are too intricate: {error}") from error


@dataclass(frozen=True, slots=True)
class Format:
    """One file that a segmentation gives. The bytes depend on the arguments only, so their hash repeats."""

    media_type: str
    write: Callable[[ResultArrays, SegmentationResult, BinaryIO], Sequence[str] | None]
    """Writes into an empty file that can be read and sought; may return what a reader of the file should be warned of.
    Raises NotWritten."""
    of_uncertainty: bool = False
    """Whether it exists only where uncertainty was sampled."""


class NotWritten(Exception):
    """A result has no such file, and why."""
