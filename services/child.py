"""One child process per unit: killable, gives its memory and its GPU back, and does not outlive its runner."""

import importlib
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeAlias

from intima.arrays import Json
from intima.confined import preload
from intima.errors import IntimaError, Invalid, Unavailable
from intima.store.addresses import S3Address
from intima.store.storage import Storage, attach_storage
from intima.store.work import Handler, Report, UnitInput
from services.telemetry.context import NOTHING, Context, enter
from services.telemetry.logs import configure_logs
from services.telemetry.settings import LogFormat
from services.telemetry.traces import RUN, Stage

REPORT_EVERY_S = 0.2
CURVES_EVERY_S = 1.0

_log = logging.getLogger("intima.child")
_process_lock = threading.Lock()
"""multiprocessing reaps the children of all threads wherever one is started; two at once lose exit codes."""


@dataclass(frozen=True, slots=True)
class ChildWork:
    """What a child is told."""

    handler: str
    """``module:function``; imported in the child only."""
    unit: UnitInput
    data_dir: Path
    database_url: str
    threads: int
    gpu: str
    """UUID of the GPU the unit may use, or "" for none: every other is hidden from it."""
    context: Context = NOTHING
    """What its log lines name."""
    log_format: LogFormat = "text"
    blobs_at: S3Address | None = None
    """The bucket of the blobs; null: the data folder."""


@dataclass(frozen=True, slots=True)
class Told:
    """Progress, told by the child."""

    fraction: float
    message: str
    curves: Json | None = None
    """``LiveCurves`` of a training, where they are news."""

    def after(self, earlier: "Told") -> "Told":
        """Return this with the curves told before, where it has none."""
        return self if self.curves is not None else replace(self, curves=earlier.curves)


@dataclass(frozen=True, slots=True)
class Result:
    """The unit's result as JSON text."""

    text: str
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed."""

    code: str
    message: str
    retryable: bool


Message: TypeAlias = Told | Result | Failure


@dataclass(frozen=True, slots=True)
class Child:
    """A running child; see ``start_child``."""

    process: BaseProcess
    connection: Connection

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message, or null after the time; a child that died without a word is a Failure."""
        wait([self.connection, self.process.sentinel], timeout=max(0.0, timeout_s))
        message = self._said()
        if message is not None:
            return message
        with _process_lock:
            status = self.process.exitcode
        if status is None:
            return None
        return self._said() or _death(status)  # it may have spoken and ended since the first look

    def _said(self) -> Message | None:
        """Return the message that waits in the pipe; null where there is none, or nobody can write one any more."""
        try:
            if self.connection.poll(0):
                message: Message = self.connection.recv()
                return message
        except (EOFError, OSError):
            self.join(1.0)
        return None

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; tell whether it came."""
        wait([self.process.sentinel], timeout=timeout_s)
        with _process_lock:
            return self.process.exitcode is not None

    def end(self, grace_s: float) -> None:
        """End the child and all it started: ask, wait, kill."""
        if not self.join(0):
            self._signal(signal.SIGTERM)
            self.join(grace_s)
        self._signal(signal.SIGKILL)
        self.join(grace_s)
        self.connection.close()

    def _signal(self, number: signal.Signals) -> None:
        pid = self.process.pid
        assert pid is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)
        if not self.join(0):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def prepare_children(modules: Sequence[str]) -> None:
    """Start the server that children are forked from and have it import these modules once.

    Call it before the first child of a process, and before a unit is claimed: it returns once the server has imported
    them, which may take longer than a lease. Where the platform has no such server, children import everything
    themselves.
    """
    if not _has_forkserver():
        return
    preload(__name__, *modules)
    with _process_lock:
        forkserver.ensure_running()
        probe = multiprocessing.get_context("forkserver").Process(target=_do_nothing)
        probe.start()
        probe.join()


def _do_nothing() -> None:
    """Stand in for a unit, to see that the server forks."""


class ChildNotStarted(Unavailable):
    """The system gave no process, or the server that children are forked from has died."""

    code = "child_not_started"


@contextmanager
def start_child(work: ChildWork, *, grace_s: float) -> Iterator[Child]:
    """Run a unit's handler in a process and a process group of its own; it is gone when the block ends.

    Raises:
        ChildNotStarted: there is no child, and the next try may have one.
    """
    context = _context()
    ours, theirs = multiprocessing.Pipe(duplex=True)
    process = context.Process(target=run_child, args=(theirs, work), name=f"unit {work.unit.key}")  # type: ignore[attr-defined]
    try:
        with _process_lock:
            process.start()
    except (OSError, EOFError) as error:
        ours.close()
        raise ChildNotStarted(f"Could not start a process for unit {work.unit.key}: {error!r}.") from error
    finally:
        theirs.close()
    child = Child(process, ours)
    try:
        yield child
    finally:
        child.end(grace_s)


def database_url_of(storage: Storage) -> str:
    """Return the URL of a store's database, password included."""
    return storage.engine.url.render_as_string(hide_password=False)


def run_child(connection: Connection, work: ChildWork) -> None:
    """Do one unit; the body of the child process."""
    with suppress(PermissionError):
        os.setpgid(0, 0)
    threading.Thread(target=_end_with_runner, args=(connection,), daemon=True).start()
    configure_logs(work.log_format)
    enter(work.context)
    _limit_threads(work.threads)
    os.environ["CUDA_VISIBLE_DEVICES"] = work.gpu
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.send(_attempt(work, _ReportOver(connection)))


def _attempt(work: ChildWork, report: Report) -> Result | Failure:
    """Call the handler; whatever it raises becomes a Failure. This is the task wrapper."""
    began_ns = time.time_ns()
    try:
        storage = attach_storage(work.data_dir, work.database_url, blobs_at=work.blobs_at)
        handler = _load(work.handler)
        check_gpu(work.gpu)
        loaded_ns = time.time_ns()
        text = json.dumps(handler(work.unit, storage, report), allow_nan=False)
        return Result(text, (Stage("load", began_ns, loaded_ns), Stage(RUN, loaded_ns, time.time_ns())))
    except IntimaError as error:
        return Failure(error.code, f"{error.message} {error.hint}".strip(), retryable=not isinstance(error, Invalid))
    except MemoryError as error:
        return Failure("out_of_memory", f"The unit needs more memory than there is. {error}".strip(), retryable=True)
    except Exception as error:  # noqa: BLE001 - the task wrapper
        _log.exception("unit %s, attempt %d", work.unit.key, work.unit.attempt)
        return Failure("defect", f"{type(error).__name__}: {error}", retryable=True)


def _load(handler: str) -> Handler:
    module, _, function = handler.partition(":")
    loaded: Handler = getattr(importlib.import_module(module), function)
    return loaded


def check_gpu(gpu: str) -> None:
    """Refuse to run on the CPU where a GPU was given: nobody would notice but by the time it takes."""
    torch = sys.modules.get("torch")
    if gpu and torch is not None and not torch.cuda.is_available():
        raise Invalid(
            f"The unit was given the GPU {gpu}, but this build of torch cannot use it.",
            code="no_cuda",
            hint="Install a CUDA build of torch, or set INTIMA_DEVICE to cpu.",
        )


class _ReportOver:
    """A report that goes through a pipe, not too often."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()
        self._told_at = self._shown_at = float("-inf")
        self._last = Told(0.0, "")

    def __call__(self, fraction: float, message: str) -> None:
        with self._lock:
            self._last = Told(float(fraction), str(message))
            if time.monotonic() - self._told_at >= REPORT_EVERY_S:
                self._told_at = time.monotonic()
                self._send(self._last)

    def show(self, make: Callable[[], Json]) -> None:
        with self._lock:
            if time.monotonic() - self._shown_at >= CURVES_EVERY_S:
                self._shown_at = time.monotonic()
                self._send(replace(self._last, curves=make()))

    def _send(self, message: Message) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(message)


def _end_with_runner(connection: Connection) -> None:
    """Wait for the runner's end of the pipe to close, then end this process and all it started."""
    with suppress(EOFError, OSError):
        connection.recv()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _limit_threads(threads: int) -> None:
    """Hold libraries to a share of the cores: those imported later by the environment, torch by call."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _death(status: int) -> Failure:
    if status >= 0:
        return Failure("exited", f"The unit's process exited with status {status} and no result.", retryable=True)
    name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
    hint = " The system may have run out of memory." if -status == signal.SIGKILL else ""
    return Failure("killed", f"The unit's process was ended by {name}.{hint}", retryable=True)


def _has_forkserver() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()


def _context() -> BaseContext:
    return multiprocessing.get_context("forkserver" if _has_forkserver() else "spawn")
