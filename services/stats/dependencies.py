"""What both doors of the stats service are given: scores of finished benchmarks and locked plans.

Plans and the trails of their uses are all that is written here.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy import Connection

from intima.comparison.plans import Enter
from intima.comparison.scores import FetchScores
from intima.comparison.stability import answer_of
from intima.comparison.table import BenchmarkTable, benchmark_fetcher
from intima.contracts.benchmark import CollectResult
from intima.contracts.model import ModelCard
from intima.contracts.plan import Plan, PlanRequest, PlanUse
from intima.contracts.statistics import StabilityPoint, StabilityRequest, StabilityStudy
from intima.errors import Conflict, Invalid
from intima.registry import resolve
from intima.store import catalog, ledger, models, plans
from intima.store.catalog import rfc3339
from intima.store.keys import check_id
from intima.store.paging import Page
from intima.store.requests import claim_key, free_key, settle_key
from intima.store.storage import Storage
from services.access.gate import Gate, open_gate
from services.stats.settings import Settings

LONGEST_KEY = 255
"""Characters of an idempotency key."""
_COLLECT = "collect"
_SCORING = ("fold", "external", "collect")
"""Kinds of units that make scores."""


@dataclass(frozen=True, slots=True)
class StoredPlans:
    """The plan book of this installation: one transaction per call."""

    storage: Storage

    def find(self, ref: str) -> Plan:
        """Return a plan by id or hash. Raises NotFound."""
        with self.storage.reading() as connection:
            return plans.get_plan(connection, ref)

    def record(self, plan_id: str, score_sha256s: Sequence[str], enter: Enter) -> PlanUse:
        """Add a comparison to a plan's trail."""
        with self.storage.writing() as connection:
            return plans.add_use(connection, plan_id, score_sha256s, enter)


@dataclass(frozen=True, slots=True)
class State:
    """What the service holds while it runs."""

    settings: Settings
    storage: Storage
    gate: Gate

    @property
    def fetch(self) -> FetchScores:
        """Scores of a contender that is named by model or benchmark."""
        return benchmark_fetcher(self.fetch_table, self.resolve_model)

    @property
    def plans(self) -> StoredPlans:
        """The locked plans."""
        return StoredPlans(self.storage)

    def lock_plan(self, content: PlanRequest) -> Plan:
        """Lock a plan, or return the one of the same content."""
        with self.storage.writing() as connection:
            return plans.lock_plan(connection, content)

    def list_plans(self, *, page_size: int, page_token: str) -> Page[Plan]:
        """Return locked plans, newest first. Raises Invalid for a bad page."""
        with self.storage.reading() as connection:
            return plans.list_plans(connection, page_size=page_size, page_token=page_token)

    def fetch_table(self, benchmark_id: str) -> BenchmarkTable:
        """Return the scores table of a finished benchmark.

        Raises:
            NotFound: no such benchmark.
            Conflict: it has no scores yet.
        """
        with self.storage.reading() as connection:
            stored = catalog.get_benchmark(connection, benchmark_id)
            dataset = catalog.get_dataset(connection, stored.dataset)
            result = ledger.last_result(connection, stored.job_id, _COLLECT)
            first_at = ledger.first_finished_at(connection, stored.job_id, kinds=_SCORING)
        if result is None:
            raise Conflict(
                f"The benchmark {benchmark_id} has no scores table yet.",
                code="not_ready",
                hint=f"Watch /v1/jobs/{stored.job_id}.",
            )
        collected = CollectResult.model_validate(result)
        csv = self.storage.blobs.read(collected.scores_sha256)
        return BenchmarkTable(
            csv,
            dataset_version=dataset.version,
            first_scores_at=None if first_at is None else rfc3339(first_at),
            read_costs=lambda: self._costs_of(stored.job_id),
            incomplete=collected.incomplete,
            hpo_noise=collected.hpo_noise,
            spec=stored.spec,
            dataset=dataset,
        )

    def _costs_of(self, job_id: str) -> dict[str, dict[str, float]]:
        """Return what the published models of a benchmark cost, by the label of the contender."""
        with self.storage.reading() as connection:
            published = _published(connection, job_id)
            return {label: _costs_of(models.get_model(connection, ref).card) for label, ref in published.items()}

    def stability_study(self, study_id: str) -> StabilityStudy:
        """Return a study that runs as a job. Raises NotFound."""
        check_id(study_id, prefix="stb")
        with self.storage.reading() as connection:
            job = ledger.read_job(connection, study_id)
            payload = ledger.job_payload(connection, study_id)
            keys = ledger.unit_keys(connection, study_id, kinds=["stability"])
            results = ledger.results_of(connection, study_id, keys)
        points = tuple(StabilityPoint.model_validate(results[key]) for key in keys if key in results)
        asked = StabilityRequest.model_validate(payload["request"])
        answer = answer_of(asked, points, payload["warnings"]) if len(points) == len(keys) else None
        return StabilityStudy(id=study_id, job=study_id, state=job.state, error=job.error, points=points, answer=answer)

    def resolve_model(self, ref: str) -> tuple[str, str]:
        """Return benchmark and label of the contender behind a published model.

        Raises:
            NotFound: no such model.
            Invalid: no benchmark of this installation published it.
        """
        version = resolve(self.storage, ref)
        label = self._label_of(version.card.benchmark, version.ref) if version.card.benchmark else None
        if version.card.benchmark is None or label is None:
            raise Invalid(
                f"{version.ref} was not published by a benchmark of this installation, so it has no scores.",
                code="no_scores",
                hint="Give a benchmark with architecture, or scores with subjects.",
                pointer="/model",
            )
        return version.card.benchmark, label

    def _label_of(self, benchmark_id: str, ref: str) -> str | None:
        """Return the first part of the key of the unit that published a model: the contender's label."""
        with self.storage.reading() as connection:
            published = _published(connection, catalog.get_benchmark(connection, benchmark_id).job_id)
        return next((label for label, found in published.items() if found == ref), None)

    @contextmanager
    def keyed(self, key: str | None, route: str, body: bytes) -> Iterator[None]:
        """Do something under an idempotency key; refused work frees the key.

        Answers follow from the request (and a plan's trail enters equal comparisons once), so they are not kept.

        Raises:
            Conflict: the key was used with another body on this route.
        """
        if key is None or not key.strip():
            yield
            return
        if len(key) > LONGEST_KEY:
            raise Invalid(f"The idempotency key has {len(key)} characters; at most {LONGEST_KEY}.", code="bad_key")
        with self.storage.writing() as connection:
            claim_key(connection, key=key, route=route, body_sha256=hashlib.sha256(body).hexdigest())
        try:
            yield
        except Exception:
            with self.storage.writing() as connection:
                free_key(connection, key=key, route=route)
            raise
        with self.storage.writing() as connection:
            settle_key(connection, key=key, route=route)

    def ping(self) -> None:
        """Ask the database for anything. Raises Unavailable where it does not answer."""
        with self.storage.reading() as connection:
            ledger.queue_depth(connection)

    def close(self) -> None:
        """Release storage."""
        self.storage.close()


def _published(connection: Connection, job_id: str) -> dict[str, str]:
    """Return the models a benchmark published, by the label of the contender: the first part of the unit's key."""
    keys = ledger.unit_keys(connection, job_id, kinds=["publish"])
    results = ledger.results_of(connection, job_id, keys)
    return {key.split("/", 1)[0]: found["model"] for key, found in results.items() if "model" in found}


def _costs_of(card: ModelCard) -> dict[str, float]:
    """Return what one tile costs all members of an ensemble; memory is that of one, as they take turns."""
    costs: dict[str, float] = {"parameter_count": float(card.parameter_count * len(card.members))}
    if card.cost is not None:
        costs["flops"] = float(card.cost.flops * len(card.members))
        costs["peak_memory_bytes"] = float(card.cost.peak_memory_bytes)
    return costs


def open_state(settings: Settings) -> State:
    """Open storage."""
    storage = settings.open_store()
    gate = open_gate(storage, settings, service="stats", redis_url=settings.shared_redis_url)
    return State(settings, storage, gate)


def get_state(request: Request) -> State:
    """Return the state of the app."""
    return cast(State, request.app.state.intima)


StateDep = Annotated[State, Depends(get_state)]
