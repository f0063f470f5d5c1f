"""Studies of stability that are too large for a request: one unit per number of subjects, done by workers."""

from typing import Annotated

from fastapi import APIRouter, Header, Response, status
from pydantic import BaseModel

from intima.comparison.stability import plan_study, with_pilot
from intima.contracts.job import JobState
from intima.contracts.statistics import StabilityRequest
from intima.store import ledger
from intima.store.keys import json_sha256, new_id
from intima.store.requests import recall_response, remember_response
from services.api.dependencies import StateDep, Transaction, send_ready

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
        started = _once(connection, request, key=idempotency_key)
    send_ready(state)
    response.headers["Location"] = f"/v1/jobs/{started.job}"
    response.headers["Retry-After"] = "2"
    return started


def _once(connection: Transaction, request: StabilityRequest, *, key: str | None) -> StudyStarted:
    route, body = "start_stability_study", json_sha256(request.model_dump(mode="json"))
    known = None if key is None else recall_response(connection, key=key, route=route, body_sha256=body)
    if known is not None:
        return StudyStarted.model_validate(known.response)
    started = _create(connection, request)
    if key is not None:
        response = started.model_dump(mode="json")
        remember_response(connection, key=key, route=route, body_sha256=body, status=202, response=response)
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
    )
    return StudyStarted(id=study_id, job=study_id, state="queued")
