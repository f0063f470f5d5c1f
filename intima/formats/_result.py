"""What every writer is given."""

from collections.abc import Callable
from dataclasses import dataclass

from intima.arrays import LabelMask, RgbImage, UncertaintyMap
from intima.contracts.segmentation import SegmentationResult
from intima.geometry import MicronsPerPixel
from intima.labels import LabelSchema


@dataclass(frozen=True, slots=True)
class ResultArrays:
    """The arrays of one segmentation."""

    mask: LabelMask
    """At native resolution (level 0)."""
    entropy: UncertaintyMap
    """Predictive entropy / ln C, at working resolution."""
    disagreement: UncertaintyMap
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


@dataclass(frozen=True, slots=True)
class Format:
    """One file that a segmentation gives. The bytes depend on the arguments only, so their hash repeats."""

    media_type: str
    write: Callable[[ResultArrays, SegmentationResult], bytes]
