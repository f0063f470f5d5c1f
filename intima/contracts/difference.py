"""How far two segmentations of one region agree."""

from typing import Literal

from intima.contracts._base import Contract
from intima.contracts.dataset import PixelSize
from intima.contracts.segmentation import RegionSpec

Kind = Literal["only_a", "only_b", "other_class"]
"""Foreground in a and background in b, the reverse, and two foreground classes."""


class ClassAgreement(Contract):
    """One class in both masks."""

    name: str
    pixels_a: int
    pixels_b: int
    pixels_both: int
    area_a_um2: float | None
    area_b_um2: float | None
    dice: float | None
    """2 |A and B| / (|A| + |B|); null where neither has the class."""


class ClassPair(Contract):
    """Pixels that are one class in a and another in b."""

    a: str
    b: str
    pixels: int
    area_um2: float | None


class KindOfDifference(Contract):
    """How one kind of disagreement is drawn, and how much there is of it."""

    kind: Kind
    color: str
    """#rrggbb in the difference layer."""
    hatch: Literal["/", "\\", ""]
    """Direction of its stripes; "" is filled."""
    pixels: int
    area_um2: float | None


class Difference(Contract):
    """Where two segmentations of one slide and region differ, and by how much."""

    a: str
    b: str
    slide: str
    region: RegionSpec | None
    width: int
    height: int
    mpp: PixelSize | None
    """Null where it is unknown, or the two were made with different ones; areas are null then too."""
    pixels: int
    agreeing_pixels: int
    agreeing_share: float
    """Of all pixels, background included: large where most of a slide is background."""
    mean_foreground_dice: float | None
    """Over the foreground classes that either has."""
    classes: tuple[ClassAgreement, ...]
    pairs: tuple[ClassPair, ...]
    """That occur, the largest first."""
    kinds: tuple[KindOfDifference, ...]
