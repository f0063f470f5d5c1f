"""A dataset: cases of one label schema, grouped by subject."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from intima.contracts._base import Contract
from intima.labels import LabelSchema, TissueClass

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Color = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]


def _refuse_truth(value: object) -> object:
    """Raise ValueError for true and false, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("Input should be a valid number")  # noqa: TRY004 - pydantic turns only this into a refusal
    return value


PixelSize = Annotated[float, Field(ge=0.01, le=1000.0), BeforeValidator(_refuse_truth)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ClassSpec(Contract):
    """One class: mask value, name, colour."""

    index: int = Field(ge=0, le=63)
    name: Name
    color: Color


class CaseSpec(Contract):
    """One image with its mask, as named in the manifest of an uploaded zip."""

    image: Name
    """Path of the image inside the zip."""
    mask: Name
    """Path of the single-channel mask inside the zip."""
    subject: Name
    """Animal or patient: the independent unit of every statistic."""
    block: Name | None = None
    section: Name | None = None
    mpp: PixelSize | None = None
    """Micrometres per pixel; null when unknown, never guessed."""


class DatasetManifest(Contract):
    """``manifest.json`` of an uploaded dataset."""

    name: Name
    licence: Name
    classes: tuple[ClassSpec, ...] = Field(min_length=2, max_length=64)
    cases: tuple[CaseSpec, ...] = Field(min_length=1, max_length=10_000)

    @model_validator(mode="after")
    def _schema_is_valid(self) -> "DatasetManifest":
        label_schema(self.classes)
        return self


class StoredCase(Contract):
    """One case of a stored dataset; image and mask are blobs."""

    case: Name
    """Unique within the dataset: the image path of the manifest."""
    subject: Name
    block: Name | None
    section: Name | None
    mpp: PixelSize | None
    width: int
    height: int
    image_sha256: Sha256
    mask_sha256: Sha256


class SimilarPair(Contract):
    """Two cases of different subjects that show the same tissue."""

    a: Name
    b: Name
    kind: Literal["near_duplicate", "overlap"]
    score: float
    """Correlation of fine detail in the overlap, at most 1."""
    share: float
    """Overlap as part of the smaller image."""
    view: int
    """How b is turned against a: quarter turns counter-clockwise, plus 4 where it was mirrored first."""
    offset_px: tuple[float, float]
    """x and y of the corner of b, so turned, in pixels of a; an estimate."""


class Similarity(Contract):
    """What comparing the images of different subjects at import has found."""

    pairs: tuple[SimilarPair, ...]
    compared: int
    """Pairs compared."""
    overlaps_searched: bool
    """False where there were too many pairs to look for overlaps; copies are looked for always."""
    fingerprints_sha256: Sha256
    """Blob: small grey pictures of all images, in the order of the cases."""


ImageComparison = Literal["copies_and_overlaps", "copies", "none"]
"""What images of different subjects were searched for when the leakage guard looked at a dataset."""


class Dataset(Contract):
    """A stored, immutable dataset. ``version`` is the hash of name, licence, classes and cases."""

    id: str
    version: Sha256
    name: Name
    licence: Name
    classes: tuple[ClassSpec, ...]
    cases: tuple[StoredCase, ...]
    similarity: Similarity | None = None
    """Null: imported before images were compared."""

    @property
    def image_comparison(self) -> ImageComparison:
        """What its images were searched for."""
        if self.similarity is None:
            return "none"
        return "copies_and_overlaps" if self.similarity.overlaps_searched else "copies"

    @property
    def synthetic(self) -> bool:
        """Whether its name says that the images are synthetic."""
        return "synthetic" in self.name.lower()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects in sorted order."""
        return tuple(sorted({c.subject for c in self.cases}))


def label_schema(classes: tuple[ClassSpec, ...]) -> LabelSchema:
    """Return the label schema of class specs. Raises Invalid for gaps or repeated names."""
    ordered = sorted(classes, key=lambda c: c.index)
    return LabelSchema(tuple(TissueClass(c.index, c.name, c.color) for c in ordered))
