"""Benchmarks: submit, list, read, fetch the scores."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Header, Response, status
from pydantic import BaseModel

from intima.arrays import Json
from intima.contracts.benchmark import (
    BenchmarkSpec,
    CollectResult,
    EncoderStart,
    IncompletePart,
    LeaderboardEntry,
    PublishResult,
    RankAgreement,
)
from intima.contracts.dataset import Dataset, ImageComparison
from intima.contracts.job import JobError, JobState, Progress
from intima.contracts.search import HpoNoise
from intima.contracts.splits import StoredSplits
from intima.datasets import compare_with_external
from intima.errors import Conflict, Invalid, NotFound
from intima.folds import EXTERNAL
from intima.leakage import MOST_PLACES, External
from intima.schedule import Starts, benchmark_leaks, incomplete_parts, plan_benchmark
from intima.starts import resolve_starts
from intima.store import catalog, ledger
from intima.store.catalog import StoredBenchmark
from intima.store.keys import contract_sha256, new_id
from intima.store.storage import Storage
from services.api.dependencies import ReadDep, StateDep, Transaction, once, send_ready
from services.api.routes.paging import PageSize, PageToken
from services.telemetry.context import current

router = APIRouter(prefix="/v1/benchmarks", tags=["benchmarks"])
COLLECT = "collect"
PARTS = ("fold", "external", "fit", "publish")
"""Kinds of units without which a contender has no rank or no model."""


class StartView(BaseModel):
    """What an encoder of a contender starts from."""

    model: str
    """Label of the contender."""
    encoder: str
    weights: EncoderStart


class BenchmarkStarted(BaseModel):
    """A benchmark and the job that runs it."""

    id: str
    """The benchmark: GET /v1/benchmarks/{id}."""
    job: str
    """The job, under the same id: GET /v1/jobs/{job}."""
    state: JobState
    units: int
    starts: list[StartView] = []


class StudyView(BaseModel):
    """One search: how many of its trials are done."""

    study: str
    trials: int
    done: int
    best: float | None = None
    """Highest inner score so far (mean macro Dice). It flatters: it is the best of several on the cases that chose it.
    Null before the first, and in lists."""


class ExternalView(BaseModel):
    """Scores on the external dataset beside the cross-validated ones."""

    dataset: str
    leaderboard: list[LeaderboardEntry]
    kendall_tau: float | None
    """Between the ranking of the first protocol by name and the external one."""
    reason: str | None
    """Why there is no tau."""
    agreement: list[RankAgreement]
    """The same for every protocol."""


class LeakageView(BaseModel):
    """An override of the leakage guard."""

    reason: str
    found: list[str]
    """What the guard would have refused."""


class BenchmarkView(BaseModel):
    """A benchmark: state, studies, published models, leaderboard."""

    id: str
    job: str
    dataset: str
    spec: BenchmarkSpec
    state: JobState
    progress: Progress
    error: JobError | None
    studies: list[StudyView]
    models: list[PublishResult]
    leaderboard: list[LeaderboardEntry]
    """Of the contenders that have all their scores under a protocol."""
    incomplete: list[IncompletePart]
    """What failed of which contender: it has no rank under that protocol, or no published model."""
    hpo_noise: list[HpoNoise]
    """By how much the inner score of each search flatters its contender."""
    external: ExternalView | None
    """Null without an external dataset."""
    leakage: LeakageView | None
    """Null where the leakage guard was not overridden."""
    starts: list[StartView]
    """Encoder weights as they were resolved at submission; empty for benchmarks of versions that resolved none."""
    image_comparison: ImageComparison | None
    """What the guard searched the images of different subjects for; null: submitted before this was kept."""
    created_at: str


class BenchmarkPage(BaseModel):
    """One page of benchmarks."""

    items: list[BenchmarkView]
    next_page_token: str


@router.post("", operation_id="create_benchmark", status_code=status.HTTP_202_ACCEPTED)
def create_benchmark(
    spec: BenchmarkSpec,
    state: StateDep,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> BenchmarkStarted:
    """Submit a benchmark; the answer names the job to watch."""
    starts = resolve_starts(spec, folder=state.storage.weights_folder)
    external = _external(state.storage, spec)
    with state.storage.writing() as connection:
        started = once(
            connection,
            lambda: _create(connection, spec, external, starts),
            key=idempotency_key,
            route="create_benchmark",
            body_sha256=contract_sha256(spec),
            kind=BenchmarkStarted,
        )
    send_ready(state)
    response.headers["Location"] = f"/v1/jobs/{started.job}"
    response.headers["Retry-After"] = "2"
    return started


def _external(storage: Storage, spec: BenchmarkSpec) -> External | None:
    """Compare the two datasets outside the transaction that writes: it takes seconds."""
    if spec.external_dataset is None:
        return None
    with storage.reading() as connection:
        dataset = catalog.get_dataset(connection, spec.dataset)
        external = _get_external(connection, spec.external_dataset)
    return External(external) if external.id == dataset.id else compare_with_external(storage, dataset, external)


def _get_external(connection: Transaction, external_id: str) -> Dataset:
    try:
        return catalog.get_dataset(connection, external_id)
    except NotFound as error:
        raise Invalid(error.message, code="dataset_not_found", pointer="/external_dataset") from error


def _create(
    connection: Transaction, spec: BenchmarkSpec, external: External | None, starts: Starts
) -> BenchmarkStarted:
    dataset = catalog.get_dataset(connection, spec.dataset)
    benchmark_id = new_id("bmk")
    imported = catalog.named_splits(connection, spec)
    units = plan_benchmark(
        spec, dataset=dataset, benchmark=benchmark_id, imported=imported, external=external, starts=starts
    )
    listed = _listed(starts)
    job_id = ledger.create_job(
        connection,
        kind="benchmark",
        units=units,
        payload={
            "spec": spec.model_dump(mode="json"),
            "leaks": _allowed_leaks(spec, dataset, imported, external),
            "starts": [view.model_dump(mode="json") for view in listed],
            "image_comparison": dataset.image_comparison,
        },
        result_url=f"/v1/benchmarks/{benchmark_id}",
        job_id=benchmark_id,
        traceparent=current().traceparent,
    )
    catalog.add_benchmark(connection, benchmark_id=benchmark_id, job_id=job_id, dataset=dataset.id, spec=spec)
    return BenchmarkStarted(id=benchmark_id, job=job_id, state="queued", units=len(units), starts=listed)


def _listed(starts: Starts) -> list[StartView]:
    return [
        StartView(model=label, encoder=encoder, weights=start)
        for label, of_encoder in starts.items()
        for encoder, start in of_encoder.items()
    ]


def _allowed_leaks(
    spec: BenchmarkSpec, dataset: Dataset, imported: Mapping[str, StoredSplits], external: External | None
) -> list[str]:
    if spec.allow_leakage is None:
        return []
    leaks = benchmark_leaks(spec, dataset=dataset, imported=imported, external=external)
    return [leak.sentence for leak in leaks[:MOST_PLACES]]


@router.get("", operation_id="list_benchmarks")
def list_benchmarks(connection: ReadDep, page_size: PageSize = 50, page_token: PageToken = "") -> BenchmarkPage:
    """List benchmarks, newest first."""
    page = catalog.list_benchmarks(connection, page_size=page_size, page_token=page_token)
    return BenchmarkPage(
        items=[_view(connection, b, best={}) for b in page.items], next_page_token=page.next_page_token
    )


@router.get("/{benchmark_id}", operation_id="get_benchmark")
def get_benchmark(benchmark_id: str, connection: ReadDep) -> BenchmarkView:
    """Return a benchmark's state, studies, models and leaderboard."""
    stored = catalog.get_benchmark(connection, benchmark_id)
    return _view(connection, stored, best=ledger.best_trials(connection, stored.job_id))


@router.get(
    "/{benchmark_id}/scores.csv",
    operation_id="get_benchmark_scores",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}}},
)
def get_scores(benchmark_id: str, connection: ReadDep, state: StateDep) -> Response:
    """Return the scores table: one row per case, protocol, fold, seed, model, class and metric."""
    stored = catalog.get_benchmark(connection, benchmark_id)
    collected = _collected(connection, stored)
    if collected is None:
        raise Conflict(
            "This benchmark has no scores table yet.",
            code="not_ready",
            hint=f"Watch /v1/jobs/{stored.job_id}, and retry it where it has failed.",
        )
    headers = {"Content-Disposition": 'attachment; filename="scores.csv"', "ETag": f'"{collected.scores_sha256}"'}
    return Response(state.storage.blobs.read(collected.scores_sha256), media_type="text/csv", headers=headers)


def _view(connection: Transaction, stored: StoredBenchmark, *, best: Mapping[str, float]) -> BenchmarkView:
    job = ledger.read_job(connection, stored.job_id)
    studies = ledger.count_trials(connection, stored.job_id)
    payload = ledger.job_payload(connection, stored.job_id)
    collected = _collected(connection, stored)
    published = ledger.unit_keys(connection, stored.job_id, kinds=["publish"], states=["done"])
    results = ledger.results_of(connection, stored.job_id, published)
    return BenchmarkView(
        id=stored.id,
        job=stored.job_id,
        dataset=stored.dataset,
        spec=stored.spec,
        state=job.state,
        progress=job.progress,
        error=job.error,
        studies=[StudyView(study=s, trials=n, done=done, best=best.get(s)) for s, (n, done) in studies.items()],
        models=[PublishResult.model_validate(results[key]) for key in published],
        leaderboard=[] if collected is None else list(collected.leaderboard),
        incomplete=_incomplete(connection, stored.job_id),
        hpo_noise=[] if collected is None else list(collected.hpo_noise),
        external=_external_view(stored, collected),
        leakage=_leakage(stored, payload),
        starts=payload.get("starts", []),
        image_comparison=payload.get("image_comparison"),
        created_at=stored.created_at,
    )


def _external_view(stored: StoredBenchmark, collected: CollectResult | None) -> ExternalView | None:
    if stored.spec.external_dataset is None:
        return None
    board = () if collected is None else collected.leaderboard
    found = () if collected is None else collected.external
    return ExternalView(
        dataset=stored.spec.external_dataset,
        leaderboard=[entry for entry in board if entry.protocol == EXTERNAL],
        kendall_tau=found[0].kendall_tau if found else None,
        reason=found[0].reason if found else "The benchmark has no scores yet.",
        agreement=list(found),
    )


def _leakage(stored: StoredBenchmark, payload: Json) -> LeakageView | None:
    if stored.spec.allow_leakage is None:
        return None
    return LeakageView(reason=stored.spec.allow_leakage, found=payload.get("leaks", []))


def _collected(connection: Transaction, stored: StoredBenchmark) -> CollectResult | None:
    """Return the newest table: that of the run before while a retry makes another."""
    found = ledger.last_result(connection, stored.job_id, COLLECT)
    return None if found is None else CollectResult.model_validate(found)


def _incomplete(connection: Transaction, job_id: str) -> list[IncompletePart]:
    dead = ledger.unit_keys(connection, job_id, kinds=PARTS, states=["failed", "skipped"])
    return list(incomplete_parts(ledger.failures_of(connection, job_id, dead)))
