"""Jobs and units as the database knows them, asked at scrape time."""

import logging
import threading
import time
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from intima.errors import IntimaError
from intima.store import ledger
from intima.store.ledger import LedgerState
from intima.store.storage import Storage

_log = logging.getLogger("intima.metrics")
LIMIT_S = 3.0
KEEP_S = 2.0


class LedgerMetrics:
    """Counts of jobs and units, by one look at the database that all scrapes of some seconds share.

    A database that does not answer in time costs a scrape its limit at most, and is shown as not readable; what was
    true before is not shown. One service shows these, so that replicas of others do not add up.
    """

    def __init__(self, storage: Storage, *, limit_s: float = LIMIT_S, keep_s: float = KEEP_S) -> None:
        self._storage, self._limit_s, self._keep_s = storage, limit_s, keep_s
        self._lock = threading.Lock()
        self._looking: threading.Thread | None = None
        self._found: LedgerState | None = None
        self._found_at = float("-inf")

    def collect(self) -> Iterator[Metric]:
        """Look, and return the counts."""
        state = self._look()
        yield GaugeMetricFamily(
            "intima_ledger_readable", "1 where the database answered in time.", value=float(state is not None)
        )
        if state is not None:
            yield from _families(state)

    def _look(self) -> LedgerState | None:
        with self._lock:
            if time.monotonic() - self._found_at > self._keep_s and (
                self._looking is None or not self._looking.is_alive()
            ):
                self._found = None
                self._looking = threading.Thread(target=self._read, daemon=True)
                self._looking.start()
            if self._looking is not None:
                self._looking.join(self._limit_s)
            return self._found

    def _read(self) -> None:
        try:
            with self._storage.reading() as connection:
                self._found = ledger.read_state(connection)
            self._found_at = time.monotonic()
        except IntimaError as error:
            _log.warning("jobs and units cannot be counted: %s", error)


def _families(state: LedgerState) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("intima_jobs", "Jobs in the database.", labels=["kind", "state"])
    for labels, number in sorted(state.jobs.items()):
        jobs.add_metric(labels, number)
    units = GaugeMetricFamily("intima_units", "Units that have not ended.", labels=["queue", "state"])
    for labels, number in sorted(state.units.items()):
        units.add_metric(labels, number)
    oldest = GaugeMetricFamily(
        "intima_oldest_ready_unit_seconds",
        "For how long the longest ready unit of a queue has been ready.",
        labels=["queue"],
    )
    for queue, seconds in sorted(state.oldest_ready_s.items()):
        oldest.add_metric([queue], seconds)
    yield from (jobs, units, oldest)
