"""Explanations of a benchmark's folds: start, read, fetch figures and JSON."""

from typing import Annotated

from fastapi import APIRouter, Header, Response, status
from fastapi.responses import FileResponse
from pydantic import BaseModel

from intima.contracts.benchmark import FoldPayload, FoldResult
from intima.contracts.explanation import (
    ArtefactLink,
    ExplainedCase,
    ExplainResult,
    ExplanationRequest,
    ExplanationView,
    ParadoxResult,
)
from intima.contracts.job import JobState
from intima.contracts.segmentation import Artefact
from intima.errors import Conflict, NotFound
from intima.explanation.plan import PARADOX, FinishedFold, choose_folds, plan_explanation
from intima.store import catalog, ledger
from intima.store.catalog import StoredBenchmark
from intima.store.keys import check_id, json_sha256, new_id
from services.api.dependencies import ReadDep, StateDep, Transaction, once, send_ready
from services.telemetry.context import current

router = APIRouter(prefix="/v1", tags=["explanations"])
KIND = "explanation"


class ExplanationStarted(BaseModel):
    """An explanation and the job that makes it."""

    id: str
    """The explanation: GET /v1/explanations/{id}."""
    job: str
    """The job, under the same id: GET /v1/jobs/{job}."""
    state: JobState
    folds: tuple[int, ...]
    """The folds that are explained."""


@router.post(
    "/benchmarks/{benchmark_id}/explanations", operation_id="create_explanation", status_code=status.HTTP_202_ACCEPTED
)
def create_explanation(
    benchmark_id: str,
    request: ExplanationRequest,
    state: StateDep,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> ExplanationStarted:
    """Explain the test cases of folds by the nets that were trained on them; best and worst fold by default."""
    with state.storage.writing() as connection:
        started = once(
            connection,
            lambda: _create(connection, catalog.get_benchmark(connection, benchmark_id), request),
            key=idempotency_key,
            route="create_explanation",
            body_sha256=json_sha256({"benchmark": benchmark_id, "request": request.model_dump(mode="json")}),
            kind=ExplanationStarted,
        )
    send_ready(state)
    response.headers["Location"] = f"/v1/jobs/{started.job}"
    response.headers["Retry-After"] = "2"
    return started


@router.get("/explanations/{explanation_id}", operation_id="get_explanation")
def get_explanation(explanation_id: str, connection: ReadDep) -> ExplanationView:
    """Return an explanation: state, cases with their files, and the paradox check."""
    return _view(connection, explanation_id)


@router.get(
    "/explanations/{explanation_id}/artefacts/{name}",
    operation_id="get_explanation_artefact",
    response_class=FileResponse,
    responses={200: {"content": {"image/png": {}, "application/json": {}}}},
)
def get_explanation_artefact(explanation_id: str, name: str, connection: ReadDep, state: StateDep) -> FileResponse:
    """Return one file of an explanation; it never changes, the ETag is its SHA-256."""
    artefacts = {a.name: a for a in _artefacts(connection, explanation_id)}
    if not artefacts:
        raise Conflict(
            "This explanation has no result yet.", code="not_ready", hint=f"Watch /v1/jobs/{explanation_id}."
        )
    if name not in artefacts:
        raise NotFound(f"There is no artefact {name[:100]!r}.", hint=f"There are: {', '.join(sorted(artefacts))}.")
    found = artefacts[name]
    headers = {"ETag": f'"{found.sha256}"', "Cache-Control": "public, max-age=31536000, immutable"}
    return FileResponse(
        state.storage.blobs.path(found.sha256),
        media_type=found.media_type,
        filename=name,
        headers=headers,
        content_disposition_type="inline",
    )


def _create(connection: Transaction, benchmark: StoredBenchmark, request: ExplanationRequest) -> ExplanationStarted:
    folds = choose_folds(request, _finished_folds(connection, benchmark.job_id))
    numbers = tuple(f.number for f in folds)
    explanation_id = new_id("exp")
    payload = {"benchmark": benchmark.id, "request": request.model_dump(mode="json"), "folds": list(numbers)}
    ledger.create_job(
        connection,
        kind=KIND,
        units=plan_explanation(request, folds),
        payload=payload,
        result_url=f"/v1/explanations/{explanation_id}",
        job_id=explanation_id,
        traceparent=current().traceparent,
    )
    return ExplanationStarted(id=explanation_id, job=explanation_id, state="queued", folds=numbers)


def _finished_folds(connection: Transaction, job_id: str) -> list[FinishedFold]:
    keys = ledger.unit_keys(connection, job_id, kinds=["fold"], states=["done"])
    payloads, results = ledger.payloads_of(connection, job_id, keys), ledger.results_of(connection, job_id, keys)
    return [FinishedFold(FoldPayload.model_validate(payloads[k]), FoldResult.model_validate(results[k])) for k in keys]


def _view(connection: Transaction, explanation_id: str) -> ExplanationView:
    explained, paradox = _results(connection, explanation_id)
    job = ledger.read_job(connection, explanation_id)
    payload = ledger.job_payload(connection, explanation_id)

    def link(artefact: Artefact) -> ArtefactLink:
        url = f"/v1/explanations/{explanation_id}/artefacts/{artefact.name}"
        return ArtefactLink(**artefact.model_dump(), url=url)

    return ExplanationView(
        id=explanation_id,
        job=explanation_id,
        benchmark=payload["benchmark"],
        request=ExplanationRequest.model_validate(payload["request"]),
        folds=tuple(payload["folds"]),
        state=job.state,
        error=job.error,
        cases=tuple(
            ExplainedCase(
                fold=fold.fold,
                case=c.case,
                subject=c.subject,
                dice=c.dice,
                figure=link(c.figure),
                json_file=link(c.json_file),
                prediction=link(c.prediction),
            )
            for fold in explained
            for c in fold.cases
        ),
        paradox=None if paradox is None else paradox.paradox,
        paradox_files=() if paradox is None else (link(paradox.figure), link(paradox.json_file)),
    )


def _artefacts(connection: Transaction, explanation_id: str) -> list[Artefact]:
    explained, paradox = _results(connection, explanation_id)
    found = [a for fold in explained for c in fold.cases for a in (c.figure, c.json_file, c.prediction)]
    return found if paradox is None else [*found, paradox.figure, paradox.json_file]


def _results(connection: Transaction, explanation_id: str) -> tuple[list[ExplainResult], ParadoxResult | None]:
    """Return what is done of an explanation, folds in the order of their numbers. Raises NotFound."""
    check_id(explanation_id, prefix="exp")
    keys = [u.key for u in ledger.read_units(connection, explanation_id) if u.state == "done"]
    if not keys:
        ledger.read_job(connection, explanation_id)
    results = ledger.results_of(connection, explanation_id, keys)
    explained = [ExplainResult.model_validate(r) for k, r in results.items() if k != PARADOX]
    paradox = ParadoxResult.model_validate(results[PARADOX]) if PARADOX in results else None
    return explained, paradox
