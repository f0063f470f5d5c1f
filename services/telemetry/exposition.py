"""The port that Prometheus reads, and what every process shows there."""

import logging
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from intima import __version__
from intima.errors import Unavailable
from services.telemetry.settings import TelemetrySettings

_log = logging.getLogger("intima.metrics")
_MIB = 2**20


class Collector(Protocol):
    """What shows metrics: a registry, or something that asks at every scrape."""

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        ...


class Gpu(Protocol):
    """One GPU."""

    @property
    def uuid(self) -> str:
        """Its name."""
        ...

    @property
    def total_mib(self) -> int:
        """Its memory."""
        ...

    @property
    def free_mib(self) -> int:
        """What is free of it."""
        ...


ListGpus: TypeAlias = Callable[[], Sequence[Gpu]]


class MetricsServer:
    """A running port; see ``serve_metrics``."""

    def __init__(self, server: Any, thread: Any) -> None:
        self._server, self._thread = server, thread

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_port)

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve_metrics(
    settings: TelemetrySettings, *, service: str, data: Path, collectors: Sequence[Collector]
) -> MetricsServer | None:
    """Serve metrics from threads of this process; null where no port is set.

    Raises:
        Unavailable: the port is taken.
    """
    if settings.metrics_port is None:
        return None
    registry = CollectorRegistry(auto_describe=False)
    for collector in (About(service, data), *collectors):
        registry.register(collector)
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        address = f"{settings.metrics_host}:{settings.metrics_port}"
        raise Unavailable(f"{address} is taken.", hint="Choose another INTIMA_METRICS_PORT.") from error
    running = MetricsServer(server, thread)
    _log.info("metrics on %s:%d", settings.metrics_host, running.port)
    return running


@contextmanager
def showing_metrics(
    settings: TelemetrySettings, *, service: str, data: Path, collectors: Sequence[Collector]
) -> Iterator[MetricsServer | None]:
    """Serve metrics for the length of a block: see ``serve_metrics``."""
    server = serve_metrics(settings, service=service, data=data, collectors=collectors)
    try:
        yield server
    finally:
        if server is not None:
            server.stop()


class About:
    """Which build this is, and how full the volume of its data is."""

    def __init__(self, service: str, data: Path) -> None:
        self._service, self._data = service, data

    def collect(self) -> Iterator[Metric]:
        """Return build and volume; a volume that cannot be asked is left out."""
        build = GaugeMetricFamily(
            "intima_build_info", "Version of this process.", labels=["service", "version", "python"]
        )
        build.add_metric([self._service, __version__, platform.python_version()], 1)
        yield build
        try:
            usage = shutil.disk_usage(self._data)
        except OSError as error:
            _log.warning("the volume of the data cannot be asked: %s", error)
            return
        yield GaugeMetricFamily("intima_data_free_bytes", "Free bytes of the data's volume.", value=usage.free)
        yield GaugeMetricFamily("intima_data_size_bytes", "Size of the data's volume.", value=usage.total)


class GpuMemory:
    """Memory of this machine's GPUs, as the driver tells it; nothing where there is none."""

    def __init__(self, list_gpus: ListGpus) -> None:
        self._list_gpus = list_gpus

    def collect(self) -> Iterator[Metric]:
        """Ask the driver."""
        used = GaugeMetricFamily("intima_gpu_memory_used_bytes", "Memory in use.", labels=["gpu"])
        size = GaugeMetricFamily("intima_gpu_memory_size_bytes", "Memory of the GPU.", labels=["gpu"])
        try:
            found = self._list_gpus()
        except Unavailable as error:
            _log.warning("%s", error)
            return
        for gpu in found:
            used.add_metric([gpu.uuid], (gpu.total_mib - gpu.free_mib) * _MIB)
            size.add_metric([gpu.uuid], gpu.total_mib * _MIB)
        if found:
            yield used
            yield size
