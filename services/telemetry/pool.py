"""Metrics of a pool of processes, shown by their parent."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from services.telemetry import units

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class PoolMetrics:
    """Sums over what the processes of a pool count of units, dead ones included.

    Make it before the pool starts: processes started later keep their counts in files of a folder of its own.
    """

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="intima-metrics-")
        os.environ[_VARIABLE] = self._folder
        # Not when the worker is told to stop: units that are still running then count what they do.
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        self._names = {metric.name for metric in units.REGISTRY.collect()}

    def collect(self) -> Iterator[Metric]:
        """Return the metrics of units; what else a process of the pool counts, its parent shows itself."""
        sums = MultiProcessCollector(None, path=self._folder)  # type: ignore[no-untyped-call]
        found: list[Metric] = sums.collect()  # type: ignore[no-untyped-call]
        yield from (metric for metric in found if metric.name in self._names)
