"""Evidence: measure a published model on labelled sections of one's own."""

from typing import Annotated

from fastapi import APIRouter, Header, Response, status

from intima.contracts.benchmark import UnitPlan
from intima.contracts.labelled_evidence import EvidencePayload, EvidenceRequest, EvidenceResult, EvidenceView
from intima.datasets import compare_with_external
from intima.labelled_evidence import require_fit, require_unseen
from intima.store import catalog, ledger, models
from intima.store.keys import check_id, json_sha256, new_id
from intima.store.requests import StoredResponse, recall_response
from services.api.dependencies import ReadDep, State, StateDep, Transaction, once, send_ready
from services.telemetry.context import current

router = APIRouter(prefix="/v1", tags=["models"])
KIND = "evidence"
_ROUTE = "measure_model"


@router.post(
    "/models/{name}/versions/{version}/evidence",
    operation_id="measure_model",
    status_code=status.HTTP_202_ACCEPTED,
)
def measure_model(
    *,
    name: str,
    version: str,
    body: EvidenceRequest,
    state: StateDep,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> EvidenceView:
    """Measure a model's uncertainty and its errors of measures on labelled sections it was not trained on.

    The job publishes the same networks as a new version, whose temperature, review rule and prediction intervals come
    from these sections: what segmentations of this laboratory should name, by version or by an alias. A bare
    model name goes on meaning the newest version that was trained. Errors of nine sections make wide intervals.
    """
    body_sha256 = json_sha256({"name": name, "version": version, "dataset": body.dataset})
    with state.storage.reading() as connection:
        known = _known(connection, idempotency_key, body_sha256)
    payload = None if known is not None else _payload(state, f"{name}@{version}", body.dataset)

    def make() -> EvidenceView:
        assert payload is not None
        return _create(connection, payload)

    with state.storage.writing() as connection:
        made = once(connection, make, key=idempotency_key, route=_ROUTE, body_sha256=body_sha256, kind=EvidenceView)
        view = _view(connection, made.id)
    send_ready(state)
    response.headers["Location"] = f"/v1/jobs/{view.id}"
    response.headers["Retry-After"] = "2"
    return view


def _known(connection: Transaction, key: str | None, body_sha256: str) -> StoredResponse | None:
    return None if key is None else recall_response(connection, key=key, route=_ROUTE, body_sha256=body_sha256)


@router.get("/evidence/{evidence_id}", operation_id="get_evidence")
def get_evidence(evidence_id: str, connection: ReadDep) -> EvidenceView:
    """Return evidence: its state, and once done the version that has it on its card."""
    return _view(connection, evidence_id)


def _payload(state: State, ref: str, dataset_id: str) -> EvidencePayload:
    """Check a request; the comparison of images takes seconds and stands outside the transaction that writes."""
    with state.storage.reading() as connection:
        model, dataset = models.get_model(connection, ref), catalog.get_dataset(connection, dataset_id)
        training = catalog.find_dataset_version(connection, model.card.dataset_version)
    require_fit(model.card, dataset)
    if training is not None:
        require_unseen(training, compare_with_external(state.storage, training, dataset))
    return EvidencePayload(
        model=model.ref,
        dataset=dataset.id,
        compared=training is not None,
        provider=state.settings.provider,
        provider_fallback=state.settings.provider_fallback,
    )


def _create(connection: Transaction, payload: EvidencePayload) -> EvidenceView:
    evidence_id, body = new_id("evi"), payload.model_dump(mode="json")
    ledger.create_job(
        connection,
        kind=KIND,
        units=[UnitPlan(key=KIND, kind="evidence", queue="inference", payload=body)],
        payload=body,
        result_url=f"/v1/evidence/{evidence_id}",
        job_id=evidence_id,
        traceparent=current().traceparent,
    )
    return _view(connection, evidence_id)


def _view(connection: Transaction, evidence_id: str) -> EvidenceView:
    job = ledger.read_job(connection, check_id(evidence_id, prefix="evi"))
    payload = EvidencePayload.model_validate(ledger.job_payload(connection, evidence_id))
    found = ledger.results_of(connection, evidence_id, [KIND]).get(KIND)
    return EvidenceView(
        id=evidence_id,
        state=job.state,
        error=job.error,
        base=payload.model,
        dataset=payload.dataset,
        compared=payload.compared,
        result=None if found is None else EvidenceResult.model_validate(found),
    )
