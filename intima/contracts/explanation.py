"""An explanation: five layers per test case of chosen folds, and the paradox check of the best and the worst fold."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from intima.contracts._base import Contract
from intima.contracts.benchmark import ArchitectureSpec, ParameterValue, StudyRef
from intima.contracts.dataset import Name, PixelSize
from intima.contracts.job import JobError, JobState
from intima.contracts.segmentation import Artefact, RegionSpec

LayerName = Literal["error", "uncertainty", "morphology", "attention", "saliency"]
ALL_LAYERS: tuple[LayerName, ...] = ("error", "uncertainty", "morphology", "attention", "saliency")
FoldNumber = Annotated[int, Field(ge=0)]
LengthUnit = Literal["µm", "px"]


class ExplanationSettings(Contract):
    """What the numbers of an explanation depend on, besides the net and the case."""

    layers: tuple[LayerName, ...] = Field(default=ALL_LAYERS, min_length=1)
    band_um: float = Field(default=5.0, gt=0, le=1000)
    """Half width of the boundary band where the pixel size is known."""
    band_px: float = Field(default=3.0, gt=0, le=1000)
    """Half width of the boundary band where it is not."""
    dropout_passes: int = Field(default=8, ge=2, le=64)
    saliency_steps: int = Field(default=16, ge=2, le=256)
    """Points of the quadrature of integrated gradients."""
    sampling_seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of MC dropout."""

    @field_validator("layers")
    @classmethod
    def _each_layer_once(cls, layers: tuple[LayerName, ...]) -> tuple[LayerName, ...]:
        if len(set(layers)) != len(layers):
            raise ValueError(f"each layer at most once; need some of {', '.join(ALL_LAYERS)}")
        return layers


class ExplanationRequest(Contract):
    """Body of POST /v1/benchmarks/{id}/explanations."""

    model: Name
    """Label of the contender."""
    protocol: Name
    """As in scores.csv: "loocv", "kfold3"."""
    seed: int = 0
    repeat: int = Field(default=0, ge=0)
    folds: Literal["best_and_worst"] | Annotated[tuple[FoldNumber, ...], Field(min_length=1, max_length=1000)] = (
        "best_and_worst"
    )
    """Folds by number; or those of the highest and the lowest macro Dice, subjects weighing the same."""
    settings: ExplanationSettings = ExplanationSettings()


class ExplainPayload(Contract):
    """Payload of an "explain" unit: every test case of one fold."""

    dataset: str
    study: StudyRef
    protocol: str
    repeat: int
    fold: int
    cases: tuple[str, ...]
    parameters: dict[str, ParameterValue]
    weights_sha256: str
    settings: ExplanationSettings


class ParadoxPayload(Contract):
    """Payload of a "paradox" unit: best against worst of the folds that its needs have explained."""

    dataset: str
    settings: ExplanationSettings


class PairError(Contract):
    """Pixels of one true class that were given another."""

    truth: str
    predicted: str
    pixels: int
    share: float
    """Of all error pixels."""


class BandShare(Contract):
    """How near to a true boundary the error pixels lie."""

    within: float
    """In ``unit`` of the layer."""
    errors: float | None
    """Share of the error pixels within this distance of a true boundary; null without errors or without a boundary."""
    image: float | None
    """Share of all pixels within it: what errors spread evenly over the image would show."""


class ErrorLayer(Contract):
    """Where prediction and truth differ."""

    pixels: int
    share: float
    """Of the image."""
    unit: LengthUnit
    band: float
    """Half width of the boundary band, in ``unit``."""
    band_errors: int
    """Error pixels within the band."""
    displaced_errors: int
    """Error pixels that a border displaced by at most the band's half width explains; the others are of substance."""
    by_distance: tuple[BandShare, ...]
    pairs: tuple[PairError, ...]
    """Most frequent first; pairs that occur."""


class SampledUncertainty(Contract):
    """Maps of one way of sampling, in numbers. Entropy, ambiguity and disagreement are divided by ln C."""

    sampler: Literal["tta", "mc_dropout"]
    passes: int
    seed: int | None
    entropy_right: float | None
    """Mean predictive entropy on pixels predicted rightly; null where there are none."""
    entropy_wrong: float | None
    ambiguity_right: float | None
    ambiguity_wrong: float | None
    disagreement_right: float | None
    disagreement_wrong: float | None
    auroc_entropy: float | None
    """Chance that a wrong pixel has a higher entropy than a right one (ties half); null without both."""
    auroc_disagreement: float | None


class UncertaintyLayer(Contract):
    """How sure the net was where it was right and where it was wrong."""

    samplers: tuple[SampledUncertainty, ...]
    calibration: Literal["not measured"] = "not measured"
    notes: tuple[str, ...]
    """Why a sampler is missing."""


class MeasurePair(Contract):
    """One measure, true and predicted."""

    name: str
    unit: str
    truth: float | None
    predicted: float | None
    difference: float | None
    """Predicted minus true."""


class VesselPair(Contract):
    """One vessel of the truth and the predicted vessel that overlaps it most."""

    vessel: int
    """Number in the truth, largest first."""
    predicted_vessel: int | None
    """Null: missed."""
    measures: tuple[MeasurePair, ...]
    truth_checks: tuple[str, ...]
    """Warnings of layer order and closure; empty: all in order."""
    predicted_checks: tuple[str, ...]


class RegionShape(Contract):
    """Shape of the largest piece of a region, true and predicted."""

    region: str
    """A class; in an artery also "iel" (lumen and neointima) and "eel" (all three)."""
    pieces: MeasurePair
    area: MeasurePair
    """Of all pieces."""
    circularity: MeasurePair
    """4 pi area / perimeter^2 of the largest piece: 1 for a circle."""
    solidity: MeasurePair
    """Area over area of the convex hull."""
    elongation: MeasurePair
    """Long over short axis of the ellipse with the same second moments."""


class MorphologyLayer(Contract):
    """What the masks measure."""

    arterial: bool
    note: str
    """"" or why there are no vessels: "not arterial: ..."."""
    vessels: tuple[VesselPair, ...]
    invented_vessels: int
    shapes: tuple[RegionShape, ...]


class MapShare(Contract):
    """Which part of a map lies where."""

    on_class: float | None
    """Share of the map on pixels whose true class is this one; null where the map is zero."""
    in_band: float | None
    """Share of the map within the boundary band."""


class ClassAttention(MapShare):
    """Attention of one class."""

    class_name: str
    peak: float
    """Largest value before scaling; 0: the class is predicted nowhere, or nothing speaks for it."""


class AttentionLayer(Contract):
    """Where the net looks, by the method that fits what it has."""

    method: Literal["grad_cam", "attention_rollout", "attention_per_layer"]
    source: str
    """Layer or layers that the maps come from."""
    classes: tuple[ClassAttention, ...]
    """Grad-CAM only: one per foreground class."""
    encoder_maps: tuple[str, ...]
    """Attention only: the module of each map."""
    class_tokens: tuple[str, ...]
    """Classes whose token in the decoder has a map; empty: the decoder has none."""
    prompt_tokens: int
    """Number of prompt tokens with a map of their own; 0: the net has none."""
    notes: tuple[str, ...]


class ClassSaliency(MapShare):
    """Integrated gradients of one class."""

    class_name: str
    attributed: float
    """Sum of the attributions."""
    expected: float
    """F(image) - F(baseline), F = mean logit of the class over the pixels where it is predicted."""
    completeness_gap: float | None
    """|attributed - expected| / |expected|; null where nothing was expected."""


class SaliencyLayer(Contract):
    """Which pixels carry each class: integrated gradients (Sundararajan et al. 2017)."""

    method: Literal["integrated_gradients"]
    baseline: Literal["white"]
    """Empty glass: every channel 1."""
    steps: int
    classes: tuple[ClassSaliency, ...]
    """One per foreground class that is predicted in the region."""


class CaseExplanation(Contract):
    """The JSON of one case."""

    case: str
    subject: str
    model: str
    architecture: ArchitectureSpec
    protocol: str
    repeat: int
    fold: int
    seed: int
    width: int
    height: int
    mpp: PixelSize | None
    dice: float | None
    """Macro over foreground classes; null where no class has a value."""
    region: RegionSpec
    """Part of the image that attention and saliency were computed on, in native pixels."""
    error: ErrorLayer | None
    uncertainty: UncertaintyLayer | None
    morphology: MorphologyLayer | None
    attention: AttentionLayer | None
    saliency: SaliencyLayer | None
    settings: ExplanationSettings
    weights_sha256: str


class CaseArtefacts(Contract):
    """What an explain unit has made of one case."""

    case: str
    subject: str
    dice: float | None
    figure: Artefact
    json_file: Artefact
    prediction: Artefact
    """The predicted mask at native resolution, PNG of class indices."""


class ExplainResult(Contract):
    """Result of an explain unit."""

    repeat: int
    fold: int
    dice: float
    """Mean macro Dice over subjects; 0 where nothing has a value."""
    cases: tuple[CaseArtefacts, ...]
    seconds: float


class FoldBoundary(Contract):
    """One fold in the paradox check; pixels are pooled over its cases."""

    fold: int
    cases: tuple[str, ...]
    shown: str
    """The case of the figure: its Dice is nearest to the fold's."""
    dice: float
    errors: int
    band_share: float | None
    """Share of the error pixels within the band; null without errors."""
    substance_share: float | None
    """Errors that no displaced border explains / pixels that are foreground in truth or prediction; null of none."""
    dice_forgiven: float
    """Dice if displaced borders were right."""


class Paradox(Contract):
    """Best and worst fold side by side; formula and reading in ``intima.explanation.paradox``."""

    best: FoldBoundary
    worst: FoldBoundary
    unit: LengthUnit
    band: float
    dice_difference: float
    """Best minus worst."""
    difference_forgiven: float
    """The same with displaced borders taken as right."""
    reading: Literal["equal", "boundary", "substance"]
    explanation: str


class ParadoxResult(Contract):
    """Result of a paradox unit."""

    paradox: Paradox
    figure: Artefact
    json_file: Artefact


class ArtefactLink(Artefact):
    """An artefact and where to fetch it."""

    url: str


class ExplainedCase(Contract):
    """One case of an explanation, with its files."""

    fold: int
    case: str
    subject: str
    dice: float | None
    figure: ArtefactLink
    json_file: ArtefactLink
    prediction: ArtefactLink


class ExplanationView(Contract):
    """Answer of GET /v1/explanations/{id}."""

    id: str
    job: str
    benchmark: str
    request: ExplanationRequest
    folds: tuple[int, ...]
    """The folds explained."""
    state: JobState
    error: JobError | None
    cases: tuple[ExplainedCase, ...]
    """Of the folds that are done."""
    paradox: Paradox | None
    """Null until it is done, or where one fold only was asked for."""
    paradox_files: tuple[ArtefactLink, ...]
