"""The Celery side of the ledger: apps, boot steps, and the body of a unit's task. Used by api and trainer."""

import functools
import logging
import multiprocessing
import multiprocessing.process
import os
import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from celery import Celery, bootsteps
from celery.signals import setup_logging, worker_process_shutdown

from intima.errors import Unavailable
from intima.store import ledger
from intima.store.addresses import S3Address
from intima.store.storage import Storage, attach_storage, open_storage
from services.alive import alive_step
from services.child import prepare_children
from services.devices import hold_gpu, list_gpus
from services.messages import QUEUES, Send, celery_send, make_celery
from services.runner import HANDLERS, PACE, Pace, execute_claim, identity, show_waiting, sweep_once, usable_cores
from services.telemetry import sweeps, traces
from services.telemetry.exposition import GpuMemory, MetricsServer, serve_metrics
from services.telemetry.logs import configure_logs
from services.telemetry.pool import PoolMetrics
from services.telemetry.settings import LogFormat, TelemetrySettings

_POOL_LOG_LEVEL = "_MP_FORK_LOGLEVEL_"
"""Where Celery leaves the level of what a pool process says, as text, before it asks how to log."""
_NEVER = threading.Event()
"""A pool process waits until its worker ends it."""
BEAT_S = 15.0
SWEEP_S = 5.0

_log = logging.getLogger("intima.worker")


class WorkerSettings(Hashable, Protocol):
    """What a worker needs to know; a frozen settings object of a service has it."""

    @property
    def data(self) -> Path:
        """Folder of the store."""
        ...

    @property
    def database_url(self) -> str | None:
        """SQLAlchemy URL; null takes SQLite in the folder."""
        ...

    @property
    def blobs_at(self) -> S3Address | None:
        """The bucket of the blobs; null: the folder of the store."""
        ...

    @property
    def redis_url(self) -> str:
        """The broker."""
        ...

    @property
    def slots(self) -> int | None:
        """Units at a time; null: one per core."""
        ...

    @property
    def alive_file(self) -> Path | None:
        """Touched while the worker runs; null: none."""
        ...


class OutOfMemory(RuntimeError):
    """Stands for MemoryError, which would end Celery 5.7's worker and not only the task (celery/celery#10462)."""


class UnackedHeartbeat(bootsteps.StartStopStep):  # type: ignore[misc]
    """Keep the messages this worker holds from being delivered again while their tasks run.

    The visibility timeout is short so that a lost worker's messages come back soon; this refreshes the time of
    those in hand. Touches private names of kombu 5.7.0, which is therefore pinned.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **_: Any) -> None:
        self.timer: Any = None
        super().__init__(consumer)

    def start(self, consumer: Any) -> None:
        """Begin to beat, in the worker's event loop."""
        self.timer = consumer.timer.call_repeatedly(BEAT_S, refresh_unacked, args=(consumer,))

    def stop(self, _consumer: Any) -> None:
        """Beat no more."""
        if self.timer is not None:
            self.timer.cancel()


def refresh_unacked(consumer: Any) -> None:
    """Set the time of all messages in hand to now."""
    channel = consumer.task_consumer.channel
    tags = [tag for tag in list(channel.qos._delivered) if tag not in channel.qos._dirty]
    if tags:
        with channel.conn_or_acquire() as redis:
            redis.zadd(channel.unacked_index_key, dict.fromkeys(tags, time.time()), xx=True)


def make_worker(settings: WorkerSettings, *, include: Sequence[str], gpus: Sequence[str] = ()) -> Celery:
    """Return a Celery app whose worker keeps its messages and sweeps the ledger; tasks are in ``include``.

    With GPUs it runs one unit per GPU at a time. Its log lines, metrics and traces are those of TelemetrySettings.
    """
    setup_logging.connect(_configure_logs, weak=False)
    worker_process_shutdown.connect(_flush, weak=False)
    app = make_celery(redis_url=settings.redis_url, include=include)
    app.conf.update(worker_concurrency=settings.slots or len(gpus) or usable_cores(), worker_hijack_root_logger=False)
    app.steps["consumer"].add(UnackedHeartbeat)
    if settings.alive_file is not None:
        app.steps["consumer"].add(alive_step(settings.alive_file))
    app.steps["worker"].add(_sweeper(settings, app))
    app.steps["worker"].add(_exposition(settings))
    return app


def _configure_logs(loglevel: int = logging.INFO, **_: Any) -> None:
    """Stand in for Celery's own set-up, in the worker and in its pool."""
    configure_logs(TelemetrySettings().log_format, level=loglevel)


def _flush(**_: Any) -> None:
    traces.flush()


def run_unit(
    settings: WorkerSettings,
    unit_id: str,
    *,
    handlers: Mapping[str, str] = HANDLERS,
    preload: Sequence[str],
    pace: Pace = PACE,
    gpus: Sequence[str] = (),
) -> str:
    """Claim the next unit of this one's queue and run it; the body of a task. Returns "refused" where none is ready.

    With GPUs it waits for a free one before it claims.

    Raises:
        OutOfMemory: in place of MemoryError.
    """
    try:
        storage, send, log_format = _open(settings, tuple(preload))
        with hold_gpu(gpus, stop=_NEVER, tell=functools.partial(show_waiting, storage)) as gpu:
            assert gpu is not None
            with storage.writing() as connection:
                claim = ledger.claim_in_turn(connection, unit_id, owner=identity(), lease_s=pace.lease_s)
            if claim is None:
                return "refused"
            return execute_claim(
                storage, claim, handlers=handlers, send=send, pace=pace, gpu=gpu, log_format=log_format
            )
    except MemoryError as error:
        raise OutOfMemory(f"Unit {unit_id} ran out of memory in its worker.") from error


@functools.cache
def _open(settings: WorkerSettings, preload: tuple[str, ...]) -> tuple[Storage, Send, LogFormat]:
    """Open what a pool process keeps for all its tasks."""
    telemetry = TelemetrySettings()
    traces.open_traces(telemetry.otlp_endpoint, service="worker")
    _take_back_multiprocessing()
    prepare_children(preload)
    send = celery_send(make_celery(redis_url=settings.redis_url))
    return attach_storage(settings.data, settings.database_url, blobs_at=settings.blobs_at), send, telemetry.log_format


class _PoolProcess(multiprocessing.process.BaseProcess):
    """This pool process as the standard library sees a main process (its own class for that is deleted)."""

    def __init__(self) -> None:
        self._identity: tuple[int, ...] = ()
        self._name = "pool process"
        self._parent_pid = None
        self._popen = None
        self._closed = False
        authkey = multiprocessing.process.AuthenticationString(os.urandom(32))  # type: ignore[attr-defined]
        self._config = {"authkey": authkey, "semprefix": "/mp"}


def _take_back_multiprocessing() -> None:
    """Undo billiard's hold on the standard library.

    It puts its own process object where multiprocessing looks for the current one, and that may have no children.
    """
    if not isinstance(multiprocessing.current_process(), multiprocessing.process.BaseProcess):
        multiprocessing.process._current_process = _PoolProcess()  # type: ignore[attr-defined]


def _sweeper(settings: WorkerSettings, app: Celery) -> type[bootsteps.StartStopStep]:
    """Return the boot step that sweeps the ledger from a thread of the worker's parent process."""

    class Sweeper(bootsteps.StartStopStep):  # type: ignore[misc]
        def __init__(self, worker: Any, **_: Any) -> None:
            self.stopped = threading.Event()
            self.thread: threading.Thread | None = None
            super().__init__(worker)

        def start(self, _worker: Any) -> None:
            storage = open_storage(settings.data, settings.database_url, blobs_at=settings.blobs_at)
            self.thread = threading.Thread(target=_sweep, args=(storage, app, self.stopped), daemon=True)
            self.thread.start()

        def stop(self, _worker: Any) -> None:
            self.stopped.set()
            if self.thread is not None:
                self.thread.join(SWEEP_S)

        terminate = stop

    return Sweeper


def _exposition(settings: WorkerSettings) -> type[bootsteps.StartStopStep]:
    """Return the boot step that shows the metrics of the worker and its pool from the worker's parent process."""

    class Exposition(bootsteps.StartStopStep):  # type: ignore[misc]
        def __init__(self, worker: Any, **_: Any) -> None:
            self.pool = PoolMetrics()
            os.environ[_POOL_LOG_LEVEL] = str(logging.WARNING)
            self.server: MetricsServer | None = None
            super().__init__(worker)

        def start(self, _worker: Any) -> None:
            shown = (self.pool, sweeps.REGISTRY, GpuMemory(list_gpus))
            telemetry = TelemetrySettings()
            self.server = serve_metrics(telemetry, service="worker", data=settings.data, collectors=shown)

        def stop(self, _worker: Any) -> None:
            if self.server is not None:
                self.server.stop()

        terminate = stop

    return Exposition


def _sweep(storage: Storage, app: Celery, stopped: threading.Event) -> None:
    send = celery_send(app)
    while not stopped.wait(SWEEP_S):
        try:
            sweep_once(storage, send=send, queued=_queue_lengths(app))
        except Unavailable as error:
            _log.warning("could not sweep: %s", error)
        except Exception:  # noqa: BLE001 - the thread must outlive any single error
            _log.exception("could not sweep")
    storage.close()


def _queue_lengths(app: Celery) -> dict[str, int] | None:
    """Return the number of messages each queue holds, or null where the broker does not answer."""
    try:
        with app.connection_for_read() as connection:
            redis = connection.default_channel.client
            return {queue: int(redis.llen(queue)) for queue in QUEUES}
    except Exception as error:  # noqa: BLE001 - a broker fails in many types
        _log.warning("the broker does not answer: %s", error)
        return None
