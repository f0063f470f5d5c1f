"""Studies of stability that are too large for a request: one unit per number of subjects, done by workers."""

from typing import Annotated

from fastapi import APIRouter, Header, Response, status
from pydantic import BaseModel

from intima.comparison.stability import plan_study, with_pilot
from intima.contracts.job import JobState
from intima.contracts.statistics import StabilityRequest
from intima.store import ledger
from intima.store.keys import contract_sha256, new_id
from services.api.dependencies import StateDep, Transaction, once, send_ready
from services.telemetry.context import current

router = APIRouter(prefix="/v1", tags=["stats"])
KIND = "stability"


class StudyStarted(BaseModel):
    """A study and the job that makes it."""

    id: str
    """The study: GET /v1/stability/studies/{id}."""
    job: str
    """The job, under the same id: GET /v1/jobs/{job}."""
    state: JobState


@router.post("/stability/studies", operation_id="start_stability_study", status_code=status.HTTP_202_ACCEPTED)
def start_stability_study(
    request: StabilityRequest,
    state: StateDep,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> StudyStarted:
    """Simulate at how many subjects a ranking settles, as a job that may take as long as it needs."""
    with state.storage.writing() as connection:
        started = once(
            connection,
            lambda: _create(connection, request),
            key=idempotency_key,
            route="start_stability_study",
            body_sha256=contract_sha256(request),
            kind=StudyStarted,
        )
    send_ready(state)
    response.headers["Location"] = f"/v1/jobs/{started.job}"
    response.headers["Retry-After"] = "2"
    return started


def _create(connection: Transaction, request: StabilityRequest) -> StudyStarted:
    asked, warnings = with_pilot(request)
    study_id = new_id("stb")
    ledger.create_job(
        connection,
        kind=KIND,
        units=plan_study(asked),
        payload={"request": asked.model_dump(mode="json"), "warnings": list(warnings)},
        result_url=f"/v1/stability/studies/{study_id}",
        job_id=study_id,
        traceparent=current().traceparent,
    )
    return StudyStarted(id=study_id, job=study_id, state="queued")
