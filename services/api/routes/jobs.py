"""Jobs: state, events, units, cancel, retry."""

import json
from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from intima.contracts.job import JobEvent, JobView, UnitView
from intima.store import ledger
from intima.store.paging import MAX_PAGE_SIZE
from services.access.web import demand
from services.api.dependencies import ReadDep, State, StateDep, WriteDep
from services.api.routes.paging import PageSize, PageToken

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

POLL_S = 0.5
KEEP_ALIVE_S = 15.0
MAX_EVENT = 2**31 - 1
EVENTS_AT_ONCE = 200
FINAL = {"succeeded", "failed", "canceled"}


class JobPage(BaseModel):
    """One page of jobs."""

    items: list[JobView]
    next_page_token: str


@router.get("", operation_id="list_jobs")
def list_jobs(connection: ReadDep, page_size: PageSize = 50, page_token: PageToken = "") -> JobPage:
    """List jobs, newest first."""
    page = ledger.list_jobs(connection, page_size=page_size, page_token=page_token)
    return JobPage(items=list(page.items), next_page_token=page.next_page_token)


@router.get("/{job_id}", operation_id="get_job")
def get_job(job_id: str, connection: ReadDep) -> JobView:
    """Return the state and progress of a job."""
    return ledger.read_job(connection, job_id)


@router.get("/{job_id}/units", operation_id="list_job_units")
def list_units(job_id: str, connection: ReadDep) -> list[UnitView]:
    """Return the units of a job: trials, folds, fits."""
    return list(ledger.read_units(connection, job_id))


@router.get("/{job_id}/logs", operation_id="list_job_logs")
def list_logs(
    job_id: str,
    connection: ReadDep,
    after: Annotated[int, Query(ge=0, le=MAX_EVENT)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = MAX_PAGE_SIZE,
) -> list[JobEvent]:
    """Return the next events after an event id; ask again after the last of them until fewer than ``limit`` come."""
    ledger.read_job(connection, job_id)
    return ledger.read_events(connection, job_id, after, limit=limit)


@router.post("/{job_id}/cancel", operation_id="cancel_job", status_code=202)
def cancel_job(job_id: str, connection: WriteDep, request: Request) -> JobView:
    """Cancel a job; asking again changes nothing. Takes the scope segment for segmentations, else train."""
    _demand_kind(request, ledger.read_job(connection, job_id))
    ledger.cancel_job(connection, job_id)
    return ledger.read_job(connection, job_id)


@router.post("/{job_id}/retry", operation_id="retry_job", status_code=202)
def retry_job(job_id: str, connection: WriteDep, request: Request) -> JobView:
    """Put the failed and canceled units of a finished job back in the queue; what is done stays done.

    Takes the scope segment for segmentations, else train.
    """
    _demand_kind(request, ledger.read_job(connection, job_id))
    ledger.retry_job(connection, job_id)
    return ledger.read_job(connection, job_id)


def _demand_kind(request: Request, job: JobView) -> None:
    demand(request, "segment" if job.kind == "segmentation" else "train")


@router.get(
    "/{job_id}/events",
    operation_id="stream_job_events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def stream_events(
    job_id: str,
    request: Request,
    state: StateDep,
    last_event_id: Annotated[int, Header(ge=0, le=MAX_EVENT)] = 0,
) -> StreamingResponse:
    """Stream a job's events (SSE) until it is final. Continue a broken stream with Last-Event-ID."""
    await run_in_threadpool(_read, state, job_id, last_event_id)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(request, state, job_id, last_event_id), media_type="text/event-stream", headers=headers
    )


def _read(state: State, job_id: str, after: int) -> tuple[JobView, list[JobEvent]]:
    with state.storage.reading() as connection:
        view = ledger.read_job(connection, job_id)
        return view, ledger.read_events(connection, job_id, after, limit=EVENTS_AT_ONCE)


async def _events(request: Request, state: State, job_id: str, after: int) -> AsyncIterator[str]:
    silent_s = 0.0
    shown = ""
    while not await request.is_disconnected():
        view, events = await run_in_threadpool(_read, state, job_id, after)
        for event in events:
            after = event.id
            yield f"id: {event.id}\nevent: {event.type}\ndata: {json.dumps(event.data)}\n\n"
        if len(events) == EVENTS_AT_ONCE:
            continue
        now = view.model_dump_json(include={"state", "attempt", "progress", "error", "id", "kind", "result"})
        if now != shown:
            shown, silent_s = now, 0.0
            yield f"event: job\ndata: {view.model_dump_json()}\n\n"
        if view.state in FINAL:
            return
        silent_s += POLL_S
        if silent_s >= KEEP_ALIVE_S:
            silent_s = 0.0
            yield ": still here\n\n"
        await anyio.sleep(POLL_S)
