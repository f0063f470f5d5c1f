"""What both doors of the stats service are given: scores of finished benchmarks. Nothing is written here."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from intima.comparison.scores import FetchScores
from intima.comparison.table import BenchmarkTable, benchmark_fetcher
from intima.contracts.benchmark import CollectResult
from intima.errors import Conflict, Invalid
from intima.registry import resolve
from intima.store import catalog, ledger
from intima.store.storage import Storage, open_storage
from services.stats.settings import Settings

_COLLECT = "collect"


@dataclass(frozen=True, slots=True)
class State:
    """What the service holds while it runs."""

    settings: Settings
    storage: Storage

    @property
    def fetch(self) -> FetchScores:
        """Scores of a contender that is named by model or benchmark."""
        return benchmark_fetcher(self.fetch_table, self.resolve_model)

    def fetch_table(self, benchmark_id: str) -> BenchmarkTable:
        """Return the scores table of a finished benchmark.

        Raises:
            NotFound: no such benchmark.
            Conflict: it has no scores yet.
        """
        with self.storage.reading() as connection:
            stored = catalog.get_benchmark(connection, benchmark_id)
            version = catalog.get_dataset(connection, stored.dataset).version
            result = ledger.last_result(connection, stored.job_id, _COLLECT)
        if result is None:
            raise Conflict(
                f"The benchmark {benchmark_id} has no scores table yet.",
                code="not_ready",
                hint=f"Watch /v1/jobs/{stored.job_id}.",
            )
        collected = CollectResult.model_validate(result)
        csv = self.storage.blobs.read(collected.scores_sha256)
        return BenchmarkTable(csv, dataset_version=version, incomplete=collected.incomplete)

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
            job_id = catalog.get_benchmark(connection, benchmark_id).job_id
            keys = ledger.unit_keys(connection, job_id, kinds=["publish"])
            results = ledger.results_of(connection, job_id, keys)
        return next((key.split("/", 1)[0] for key, found in results.items() if found.get("model") == ref), None)

    def ping(self) -> None:
        """Ask the database for anything. Raises Unavailable where it does not answer."""
        with self.storage.reading() as connection:
            ledger.queue_depth(connection)

    def close(self) -> None:
        """Release storage."""
        self.storage.close()


def open_state(settings: Settings) -> State:
    """Open storage."""
    return State(settings, open_storage(settings.data, settings.database_url))


def get_state(request: Request) -> State:
    """Return the state of the app."""
    return cast(State, request.app.state.intima)


StateDep = Annotated[State, Depends(get_state)]
