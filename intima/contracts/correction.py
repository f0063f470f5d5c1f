"""What a correction would change, before it is stored."""

from typing import Literal

from pydantic import Field

from intima.contracts._base import Contract
from intima.contracts.dataset import Name, PixelSize
from intima.contracts.segmentation import ClassArea, VesselMeasures


class NeedsClass(Contract):
    """A shape without a class; box in level-0 pixels."""

    feature: int
    """Which of the file, from 0."""
    name: str
    x: int
    y: int
    width: int
    height: int


class Overlap(Contract):
    """Pixels that shapes of two classes both cover: the smaller shape has them."""

    below: str
    on_top: str
    pixels: int


class VesselPair(Contract):
    """Which vessel was which, by the overlap of their boxes."""

    before: int | None
    """Null: there was none."""
    after: int | None
    """Null: it is gone."""


class MaskMeasures(Contract):
    """What a mask measures."""

    areas: tuple[ClassArea, ...]
    vessels: tuple[VesselMeasures, ...]
    """Their boxes are in pixels of the measured mask."""


class CorrectionPreview(Contract):
    """What a corrected mask measures, beside the version it starts from; nothing is stored."""

    base: str
    """The version it starts from."""
    measured_at: Literal["native", "working"]
    """native: what storing it gives. working: at the model's resolution, before and after alike, as the slide is too
    large to be measured while somebody waits; lengths differ a little from the stored ones."""
    width: int
    height: int
    mpp: PixelSize | None
    """Pixel size of the measured mask."""
    before: MaskMeasures
    after: MaskMeasures
    pairs: tuple[VesselPair, ...]
    changed_px: int
    """Pixels of the measured mask that have another class than before."""
    needs_class: tuple[NeedsClass, ...]
    overlaps: tuple[Overlap, ...]
    warnings: tuple[str, ...]


class CorrectedDatasetRequest(Contract):
    """Body of POST /v1/datasets/from_corrections."""

    name: Name
    licence: Name
    """Of the images and masks."""
    segmentations: tuple[str, ...] = Field(min_length=1, max_length=1000)
    """Corrections, or segmentations, which stand for their newest correction. A mask that no person has corrected is
    refused."""
