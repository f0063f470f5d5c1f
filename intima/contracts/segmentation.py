"""A segmentation: request, measures, artefacts."""

from typing import Literal

from pydantic import Field

from intima.contracts._base import Contract
from intima.contracts.dataset import Name, PixelSize, Sha256
from intima.contracts.model import Precision, ProviderName

PrecisionWish = Literal["auto", Precision]


class RegionSpec(Contract):
    """A rectangle in level-0 pixels, origin top left."""

    x: int = Field(ge=0, title="Left (px)")
    y: int = Field(ge=0, title="Top (px)")
    width: int = Field(ge=1, title="Width (px)")
    height: int = Field(ge=1, title="Height (px)")


class UncertaintySpec(Contract):
    """How uncertainty is sampled: by every member of the model in the same views (orientations) of each tile.

    A pass is one member on one view, and time grows with passes. Each member weighs the same, so their number is a
    multiple of the members, at most 8 views of each; any other is refused with 422. Null takes the least from 8 up.
    "ensemble" needs two members; "tta" (test-time augmentation) has at least two views, on an ensemble those of every
    member; "mc_dropout" runs every member under 2 to 64 draws of dropout before its head, which take the networks
    little longer than one pass, and needs a model published with masks (``dropout_rate`` of its card); "none" runs
    every member once and reports no uncertainty.
    """

    sampler: Literal["auto", "ensemble", "tta", "mc_dropout", "none"] = "auto"
    """auto: ensemble where the model has two members or more, else tta. The one used is recorded."""
    passes: int | None = Field(default=None, ge=1, le=64)
    """Null: 8 where the members allow it (1, 2, 4, 8), else the next multiple of them; recorded too."""
    seed: int = Field(default=0, ge=0)
    """The same seed gives the same map: it decides the order of views, and the draws of dropout."""


class SegmentationRequest(Contract):
    """Body of POST /v1/slides/{id}/segmentations."""

    model: Name = Field(examples=["artery-phantom", "artery-phantom@v1"])
    """A model by name, name@version or name@alias."""
    region: RegionSpec | None = None
    """What of the slide is segmented, in level-0 pixels; null: all of it."""
    uncertainty: UncertaintySpec = UncertaintySpec()
    """How uncertainty is sampled; more passes take longer."""
    precision: PrecisionWish = "auto"
    """Which variant of the model runs; auto is fp32. One the model was not published in is refused."""
    background: Literal["skip", "segment"] = "skip"
    """skip: glass far from tissue is background without being looked at. Tissue is found on a thumbnail of the slide,
    and all within the convex hull of each of its pieces, and 64 working pixels round it, is looked at. segment: every
    pixel is."""
    force: bool = False
    """Make the result anew although it exists."""


class Correction(Contract):
    """How a person has corrected a mask: a version of a segmentation."""

    parent: str
    """The segmentation whose mask a model made."""
    number: int = Field(ge=1)
    """Versions of one parent are counted from 1; the model's own mask is none of them."""
    base: str
    """The version that was corrected: a correction, or the parent."""
    base_mask_sha256: Sha256
    """Its mask.ome.tiff: outside of what was painted, the mask stays this one."""
    author: str
    """Id of the token, "oidc:" and subject, or "local"."""
    author_name: str
    note: str
    source: Literal["geojson", "mask"]
    """geojson: polygons, drawn in pixels of the slide. mask: painted at the working resolution."""
    origin: Literal["full", "openslide-bounds"] | None = None
    """What coordinates of polygons count from, where the caller said so."""
    correction_sha256: Sha256
    """Blob: what was sent."""


class SegmentPayload(Contract):
    """Payload of a "segment" or a "correct" unit; everything that decides the result."""

    segmentation: str
    slide: str
    slide_sha256: Sha256
    slide_name: str
    subject: str | None
    mpp: PixelSize | None
    """Override in µm; null: what the file says."""
    model: str
    """name@version, resolved."""
    region: RegionSpec | None
    uncertainty: UncertaintySpec
    precision: Precision = "fp32"
    background: Literal["skip", "segment"] = "skip"
    provider: ProviderName = "cpu"
    """Where ONNX Runtime is to run the model."""
    provider_fallback: bool = False
    """Whether the CPU may stand in for it."""
    correction: Correction | None = None
    """How a person has corrected the mask; null: it is the model's."""


class WorkTime(Contract):
    """How long work takes from its start, without the wait before it."""

    low_s: float
    high_s: float
    basis: str
    """What the two stand on; neither is a bound."""


class SegmentationCost(Contract):
    """What a segmentation takes at most, were all of the slide tissue; counted but for the time."""

    working_width: int
    """Of what is analysed, in pixels of the model's resolution."""
    working_height: int
    sampler: str
    """The one that "auto" becomes for this model."""
    passes: int
    tiles: int
    """Glass far from tissue takes none where the background is skipped: the slide's own count may be lower."""
    tile_width: int
    tile_height: int
    network_runs: int
    """Tiles times networks times views. Draws of dropout share the run of their network."""
    flops: int | None
    """Floating-point operations of all of them in float32, two per multiplication with addition; null where nobody
    counted those of the model."""
    time: WorkTime | None
    """Null where neither the card nor an earlier result of about this size tells."""
    known: str | None = None
    """The segmentation that has the result already, or is on its way to it: starting costs nothing more."""


class Artefact(Contract):
    """One file of a result."""

    name: str
    sha256: Sha256
    bytes: int
    media_type: str


class SlideInfo(Contract):
    """What the file says about itself."""

    format: str
    width: int
    height: int
    levels: int
    mpp: PixelSize | None
    vendor: str | None
    warnings: tuple[str, ...] = ()
    bounds: RegionSpec | None = None
    """What the scanner scanned of the slide's frame, in level-0 pixels, where it says so."""
    associated: tuple[str, ...] = ()
    """Further images in the file: label, macro or overview, thumbnail. A label often names the patient."""
    scanner: dict[str, str] = Field(default_factory=dict)
    """make, model, objective_power, where the file states them."""


class Interval(Contract):
    """A prediction interval or a range over passes: ``interval_basis`` of the result says which."""

    low: float
    high: float


class Measure(Contract):
    """One number with its unit and, where several passes ran, an interval and its spread over passes."""

    name: str
    value: float | None
    """Null where it is undefined; the reason stands in the vessel's warnings."""
    unit: str
    interval: Interval | None = None
    pass_sd: float | None = Field(default=None, ge=0)
    """Standard deviation over passes, in the unit; null where fewer than two passes have a value."""


class VesselMeasures(Contract):
    """Morphometry of one cross-section."""

    vessel: int
    """1-based, largest first."""
    bounds: RegionSpec
    measures: tuple[Measure, ...]
    warnings: tuple[str, ...]


class ClassArea(Contract):
    """Area of one class over the whole image."""

    name: str
    pixels: int
    area_um2: float | None
    fraction: float


class UncertaintySummary(Contract):
    """Slide-level summary of the sampled uncertainty."""

    sampler: str
    passes: int
    mean_entropy: float
    """Mean over the image of predictive entropy / ln C, after temperature."""
    mean_disagreement: float
    """Mean over the image of mutual information / ln C."""
    pairwise_dice: float | None
    """Mean Dice over foreground between pairs of passes; 1 means that all passes agree."""
    calibration: str
    """"not measured" unless out-of-fold calibration exists for the model."""
    temperature: float = 1.0
    """By what the logarithm of the mean probability was divided; 1: as the nets say it."""
    expected_foreground_dice: float | None = None
    """Dice with the truth that the probabilities expect, over all foreground classes together; null without any."""
    expected_dice: dict[str, float | None] = Field(default_factory=dict)
    """The same by foreground class; null where none of it was predicted."""
    review: bool | None = None
    """True: a person should look at this mask. Null in results of versions that did not say."""
    review_reason: str | None = None
    """The threshold, where it comes from, and what it was compared with."""


class SegmentationResult(Contract):
    """Result of a segmentation."""

    width: int
    height: int
    mpp: PixelSize | None
    origin: Literal["full", "openslide-bounds"]
    region: RegionSpec | None
    areas: tuple[ClassArea, ...]
    vessels: tuple[VesselMeasures, ...]
    interval_basis: str
    """What the intervals are, in words."""
    uncertainty: UncertaintySummary | None
    artefacts: tuple[Artefact, ...]
    timings_s: dict[str, float]
    provenance: dict[str, object]
    warnings: tuple[str, ...]
