"""Measuring a published model on labelled sections of one's own."""

from intima.contracts._base import Contract
from intima.contracts.dataset import Name
from intima.contracts.job import JobError, JobState
from intima.contracts.model import ProviderName


class EvidenceRequest(Contract):
    """Body of POST /v1/models/{name}/versions/{version}/evidence."""

    dataset: Name
    """Labelled sections the model has not been trained on."""


class EvidencePayload(Contract):
    """Payload of an "evidence" unit."""

    model: str
    """name@version."""
    dataset: str
    compared: bool
    provider: ProviderName = "cpu"
    provider_fallback: bool = False


class EvidenceResult(Contract):
    """Result of an "evidence" unit."""

    model: str
    """The new version, with the same networks."""
    calibration: str
    seconds: float


class EvidenceView(Contract):
    """Evidence that is being gathered, or has been."""

    id: str
    """Of the job too: GET /v1/jobs/{id}."""
    state: JobState
    error: JobError | None
    base: str
    """The version that is measured."""
    dataset: str
    compared: bool
    """Whether the sections were compared with those the model was trained on, so that none is among them. False where
    that dataset is not in this store."""
    result: EvidenceResult | None
