"""What clients of both doors see of a segmentation."""

from pydantic import BaseModel

from intima.contracts.job import JobError, JobState
from intima.contracts.segmentation import (
    Artefact,
    ClassArea,
    Correction,
    SegmentationResult,
    UncertaintySummary,
    VesselMeasures,
)
from intima.errors import Conflict, NotFound
from intima.review import why_unranked
from intima.store import catalog, ledger
from intima.store.catalog import StoredSegmentation
from services.api.dependencies import State, Transaction
from services.api.segmenting import UNIT, result_url


class ArtefactView(Artefact):
    """An artefact and where to fetch it."""

    url: str


class SegmentationView(BaseModel):
    """A segmentation: state, and once done everything it found."""

    id: str
    slide: str
    model: str
    job: str
    state: JobState
    error: JobError | None
    created_at: str
    measures: list[VesselMeasures]
    """Per vessel, largest first; the same as in result."""
    areas: list[ClassArea]
    uncertainty: UncertaintySummary | None
    unranked: str | None = None
    """Why nothing is known of the error of this mask; null where something is, and before the first result."""
    artefacts: list[ArtefactView]
    timings: dict[str, float]
    """Seconds by stage."""
    provenance: dict[str, object]
    correction: Correction | None
    """How a person has corrected the mask; null: it is the model's."""
    result: SegmentationResult | None
    """Of this job, or of the last one that succeeded while this one runs again; null before the first success."""


def segmentation_view(connection: Transaction, stored: StoredSegmentation) -> SegmentationView:
    """Join a segmentation with its job and result."""
    job = ledger.read_job(connection, stored.job_id)
    result = result_of(connection, stored)
    return SegmentationView(
        id=stored.id,
        slide=stored.slide,
        model=stored.payload.model,
        job=stored.job_id,
        state=job.state,
        error=job.error,
        created_at=stored.created_at,
        measures=[] if result is None else list(result.vessels),
        areas=[] if result is None else list(result.areas),
        uncertainty=None if result is None else result.uncertainty,
        unranked=None if result is None else why_unranked(result.uncertainty) or None,
        artefacts=[] if result is None else [_artefact_view(stored.id, a) for a in result.artefacts],
        timings={} if result is None else result.timings_s,
        provenance={} if result is None else result.provenance,
        correction=stored.payload.correction,
        result=result,
    )


def result_of(connection: Transaction, stored: StoredSegmentation) -> SegmentationResult | None:
    """Return what the last job that succeeded has found; null before the first."""
    job_id = ledger.last_success(connection, result_url(stored.id))
    if job_id is None:
        return None
    return SegmentationResult.model_validate(ledger.results_of(connection, job_id, [UNIT])[UNIT])


def _artefact_view(segmentation_id: str, artefact: Artefact) -> ArtefactView:
    url = f"/v1/segmentations/{segmentation_id}/artefacts/{artefact.name}"
    return ArtefactView(**artefact.model_dump(), url=url)


def read_segmentation(state: State, segmentation_id: str) -> SegmentationView:
    """Return a segmentation as it is now. Raises NotFound."""
    with state.storage.reading() as connection:
        return segmentation_view(connection, catalog.get_segmentation(connection, segmentation_id))


def find_artefact(connection: Transaction, segmentation_id: str, name: str) -> Artefact:
    """Return one file of a result.

    Raises:
        NotFound: no such segmentation, or no such file in it.
        Conflict: there is no result yet.
    """
    stored = catalog.get_segmentation(connection, segmentation_id)
    result = result_of(connection, stored)
    if result is None:
        raise Conflict(
            "This segmentation has no result yet.", code="not_ready", hint=f"Watch /v1/jobs/{stored.job_id}."
        )
    artefacts = {a.name: a for a in result.artefacts}
    if name not in artefacts:
        raise NotFound(f"There is no artefact {name[:100]!r}.", hint=f"There are: {', '.join(artefacts)}.")
    return artefacts[name]
