"""Run claimed units in child processes; ``run_local`` is the queue that needs no broker."""

import argparse
import json
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from pydantic import Field
from sqlalchemy import Connection

from intima.errors import Unavailable
from intima.store import ledger
from intima.store.ledger import Claim, UnitRef
from intima.store.storage import Storage
from intima.store.work import UnitInput
from services.child import (
    Child,
    ChildNotStarted,
    ChildWork,
    Failure,
    Result,
    Told,
    database_url_of,
    prepare_children,
    start_child,
)
from services.devices import NO_GPU, Device, choose_gpus, hold_gpu, list_gpus
from services.messages import QUEUES, Send, send_nothing
from services.stores import StoreConfiguration
from services.telemetry import sweeps, units
from services.telemetry.attempts import Ending, observing
from services.telemetry.context import current
from services.telemetry.exposition import GpuMemory, showing_metrics
from services.telemetry.logs import configure_logs
from services.telemetry.settings import LogFormat, TelemetrySettings
from services.telemetry.sweeps import count_expiries, count_messages, count_sweep
from services.telemetry.traces import open_traces

HANDLERS: Mapping[str, str] = {
    "trial": "intima.benchmark:run_trial",
    "fold": "intima.benchmark:run_fold",
    "fit": "intima.benchmark:run_fit",
    "external": "intima.benchmark:run_external",
    "publish": "intima.benchmark:run_publish",
    "collect": "intima.benchmark:run_collect",
    "explain": "intima.benchmark.explaining:run_explain",
    "paradox": "intima.benchmark.explaining:run_paradox",
    "stability": "intima.comparison.stability:run_point",
    "segment": "intima.segmentation:run_segment",
    "correct": "intima.corrections:run_correct",
    "evidence": "intima.labelled_evidence:run_evidence",
}
"""What runs a unit, by kind; imported in the child only."""

PRELOAD: Mapping[str, Sequence[str]] = {"training": ("intima.benchmark",), "inference": ("intima.segmentation",)}
"""Heavy modules by queue, imported once in the server that children are forked from."""

OUTAGES = frozenset({"blobs_unavailable", "database_unavailable", "database_busy"})
"""Codes of failures that are waited out: the unit goes back and the attempt does not count, as it is nobody's fault."""

UNIT_THREADS = 1
"""Threads of one unit's arithmetic: always the same, so that a benchmark has the same digits on any number of slots."""

_log = logging.getLogger("intima.runner")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen, in seconds."""

    lease_s: float = 30.0
    """A worker that is silent this long is given up."""
    beat_s: float = 2.0
    """Heartbeats; a cancel acts within this and the grace period."""
    grace_s: float = 1.0
    poll_s: float = 0.25
    """How often an idle slot looks for work."""
    sweep_s: float = 2.0


PACE = Pace()


@dataclass(frozen=True, slots=True)
class Lane:
    """What one thread of the local runner takes: units of these queues, on one of these GPUs or on the CPU."""

    queues: tuple[str, ...]
    gpus: tuple[str, ...]


Outcome: TypeAlias = Literal["done", "failed", "ready", "canceled", "lost"]
"""The unit's state afterwards; ``ready`` is to be tried again, ``lost`` belongs to another worker by now."""

Ended: TypeAlias = Result | Failure | Literal["stop", "lost"]

T = TypeVar("T")


def execute_claim(
    storage: Storage,
    claim: Claim,
    *,
    handlers: Mapping[str, str] = HANDLERS,
    send: Send = send_nothing,
    pace: Pace = PACE,
    threads: int = UNIT_THREADS,
    stop: threading.Event | None = None,
    gpu: str = NO_GPU,
    log_format: LogFormat = "text",
) -> Outcome:
    """Run one claimed unit in a child process, heartbeat while it runs, publish its result under the fence.

    Returns when the unit is done, failed, canceled or given back; units that became ready are announced.
    """
    with observing(claim) as told:
        if claim.kind in handlers:
            work = _work_of(storage, claim, handlers[claim.kind], threads=threads, gpu=gpu, log_format=log_format)
            ending = _run(storage, claim, work, pace=pace, stop=stop or threading.Event())
        else:
            ending = Failure("unknown_kind", f"This worker cannot do units of kind {claim.kind!r}.", retryable=False)
        outcome = _settle(storage, claim, ending, pace=pace, send=send)
        _tell(told, outcome, ending)
    return outcome


def _tell(told: Ending, outcome: Outcome, ending: Ended) -> None:
    told.outcome = outcome
    if isinstance(ending, Failure):
        told.code = ending.code
    elif isinstance(ending, Result) and outcome == "done":
        told.result, told.stages = json.loads(ending.text), ending.stages


def _work_of(
    storage: Storage, claim: Claim, handler: str, *, threads: int, gpu: str, log_format: LogFormat
) -> ChildWork:
    with storage.reading() as connection:
        results = ledger.results_of(connection, claim.job_id, claim.needs)
        failures = ledger.failures_of(connection, claim.job_id, claim.needs)
    unit = UnitInput(claim.job_id, claim.key, claim.attempt, claim.payload, results, failures)
    url = database_url_of(storage)
    return ChildWork(handler, unit, storage.data_dir, url, threads, gpu, current(), log_format, storage.blobs_at)


def _run(storage: Storage, claim: Claim, work: ChildWork, *, pace: Pace, stop: threading.Event) -> Ended:
    try:
        with start_child(work, grace_s=pace.grace_s) as child:
            ending = _watch(storage, claim, child, pace=pace, stop=stop)
    except ChildNotStarted as error:
        ending = Failure(error.code, error.message, retryable=True)
    if not isinstance(ending, Result):
        storage.blobs.remove_leftovers()
    return ending


def _watch(storage: Storage, claim: Claim, child: Child, *, pace: Pace, stop: threading.Event) -> Ended:
    """Pass progress on and keep the lease until the child ends or must end."""
    told = Told(0.0, "")
    alive_at = beat_at = time.monotonic()
    while not stop.is_set():
        message = child.receive(min(pace.poll_s, beat_at + pace.beat_s - time.monotonic()))
        if isinstance(message, Result | Failure):
            return message
        told = told if message is None else message.after(told)
        if time.monotonic() - beat_at < pace.beat_s:
            continue
        beat_at = time.monotonic()
        answer = _beat(storage, claim, told, pace=pace)
        if answer == "go_on":
            alive_at, told = beat_at, Told(told.fraction, told.message)
        elif answer == "cancel":
            return "stop"
        elif answer == "lost" or beat_at - alive_at > pace.lease_s:
            return "lost"
    return "stop"


def _beat(storage: Storage, claim: Claim, told: Told, *, pace: Pace) -> ledger.Answer | None:
    """Return the ledger's answer, or null where the database does not answer just now."""
    try:
        with storage.writing() as connection:
            return ledger.heartbeat(
                connection, claim, lease_s=pace.lease_s, fraction=told.fraction, message=told.message, live=told.curves
            )
    except Unavailable as error:
        _log.warning("no heartbeat for %s: %s", claim.key, error)
        return None


def _settle(storage: Storage, claim: Claim, ending: Ended, *, pace: Pace, send: Send) -> Outcome:
    """Write how the attempt ended and announce what became ready."""
    if ending == "lost":
        return "lost"

    def write() -> tuple[Outcome, tuple[UnitRef, ...]]:
        with storage.writing() as connection:
            outcome = _end_claim(connection, claim, ending)
            return outcome, ledger.take_unsent(connection, claim.job_id)

    try:
        outcome, ready = _insist(write, patience_s=pace.lease_s)
    except Unavailable as error:
        _log.warning("could not write the end of %s: %s; it will be tried again", claim.key, error)
        return "lost"
    _log.info("unit %s attempt %d: %s", claim.key, claim.attempt, outcome)
    send(ready)
    return outcome


def _end_claim(connection: Connection, claim: Claim, ending: Ended) -> Outcome:
    if isinstance(ending, Result):
        return "done" if ledger.publish(connection, claim, result=json.loads(ending.text)) else "lost"
    if isinstance(ending, Failure) and ending.code not in OUTAGES:
        state = ledger.fail_attempt(
            connection, claim, code=ending.code, message=ending.message, retryable=ending.retryable
        )
    else:
        state = ledger.release(connection, claim)
    return state or "lost"


def _insist(action: Callable[[], T], *, patience_s: float) -> T:
    """Do something that is safe to do twice, again while the database is away. Raises Unavailable."""
    until = time.monotonic() + patience_s
    while True:
        try:
            return action()
        except Unavailable:
            if time.monotonic() >= until:
                raise
            time.sleep(min(1.0, patience_s / 10))


def sweep_once(storage: Storage, *, send: Send, queued: Mapping[str, int] | None) -> None:
    """Take back units of workers that are gone and announce what may have been forgotten.

    ``queued`` is the number of messages each queue of the broker holds; null where the broker does not say,
    and then nothing is announced.
    """
    with storage.writing() as connection:
        expired = ledger.expire_leases(connection)
    with storage.writing() as connection:
        gone = [owner for owner in ledger.running_owners(connection) if is_gone(owner)]
        if sum(ledger.expire_owner(connection, owner) for owner in gone):
            expired += ledger.expire_leases(connection)
    count_expiries(expired)
    if queued is not None:
        with storage.writing() as connection:
            refs = ledger.sweep(connection, queued=queued)
        send(refs)
        count_messages(ref.queue for ref in refs)
    count_sweep()


def run_local(
    storage: Storage,
    *,
    queues: Sequence[str] = QUEUES,
    slots: int | None = None,
    stop: threading.Event,
    handlers: Mapping[str, str] = HANDLERS,
    preload: Sequence[str] | None = None,
    pace: Pace = PACE,
    device: Device = "cpu",
    log_format: LogFormat = "text",
) -> None:
    """Claim units of these queues from the ledger and run ``slots`` of them at a time until ``stop`` is set.

    Null slots takes one per core. With GPUs, each trains one unit at a time and the slots do the other queues; without,
    one more unit of inference may run when all slots train. Units that run at the stop are given back untried.

    Raises:
        Unavailable: GPUs are wanted and there are none.
    """
    lanes = _lanes(queues, gpus=choose_gpus(device), slots=slots or usable_cores())
    heavy = [m for q in queues for m in PRELOAD[q]] if preload is None else list(preload)
    prepare_children(["services.runner", *heavy])
    owner = identity()

    def run_next(lane: Lane) -> bool:
        with storage.reading() as connection:
            depth = ledger.queue_depth(connection)
        if not any(depth.get(q) for q in lane.queues):
            return False
        with hold_gpu(lane.gpus, stop=stop, tell=partial(show_waiting, storage)) as gpu:
            if gpu is None:
                return False
            with storage.writing() as connection:
                claim = ledger.claim_next(connection, owner=owner, queues=lane.queues, lease_s=pace.lease_s)
            if claim is None:
                return False
            execute_claim(storage, claim, handlers=handlers, pace=pace, stop=stop, gpu=gpu, log_format=log_format)
            return True

    def sweep() -> bool:
        sweep_once(storage, send=send_nothing, queued=None)
        return False

    steps: list[tuple[Callable[[], bool], float]] = [(partial(run_next, lane), pace.poll_s) for lane in lanes]
    loops = [*steps, (sweep, pace.sweep_s)]
    running = [threading.Thread(target=_loop, args=(step, rest_s, stop)) for step, rest_s in loops]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def show_waiting(storage: Storage, reason: str) -> None:
    """Show users what training waits for: a machine whose GPUs are taken would else look dead."""
    try:
        with storage.writing() as connection:
            ledger.tell_waiting(connection, queue="training", message=reason)
    except Unavailable as error:
        _log.warning("could not show what training waits for: %s", error)


def _lanes(queues: Sequence[str], *, gpus: Sequence[str], slots: int) -> list[Lane]:
    """Return a lane per GPU for training, the slots for what is left, and a lane that training cannot fill."""
    trains = bool(gpus) and "training" in queues
    on_gpu = [Lane(("training",), (gpu,)) for gpu in gpus] if trains else []
    rest = tuple(q for q in queues if not (trains and q == "training"))
    spare = [Lane(("inference",), ())] if {"training", "inference"} <= set(rest) else []
    return on_gpu + [Lane(rest, ())] * (slots if rest else 0) + spare


def _loop(step: Callable[[], bool], rest_s: float, stop: threading.Event) -> None:
    """Repeat a step until the stop, resting where it did nothing; an error ends the step and not the loop."""
    while not stop.is_set():
        try:
            worked = step()
        except Exception:  # noqa: BLE001 - the task wrapper
            _log.exception("the runner goes on after an error")
            worked = False
            stop.wait(1.0)
        if not worked:
            stop.wait(rest_s)


def usable_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def identity() -> str:
    """Return the owner's name of this process: kernel boot, pid namespace, pid, start; or a random one."""
    here = _pid_space()
    started = _started_at(os.getpid())
    return f"{here}/{os.getpid()}/{started}" if here and started else f"other/{uuid.uuid4().hex}/0"


def is_gone(owner: str) -> bool:
    """Tell whether an owner is a process of this machine that no longer runs; False where that cannot be known."""
    here, _, rest = owner.rpartition("/")
    here, _, pid = here.rpartition("/")
    return bool(here) and here == _pid_space() and pid.isdigit() and _started_at(int(pid)) != rest


def _pid_space() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started_at(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot; "" where it is not there or a zombie."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in {"Z", "X"} else fields[19]
    return ""


class RunnerSettings(StoreConfiguration):
    """Settings of ``python -m services.runner``, from the environment with the prefix INTIMA_."""

    slots: int | None = Field(default=None, ge=1)
    """Units at a time; null: one per core."""
    device: Device = "auto"
    """auto: train on GPUs where there are any; cpu; cuda: GPUs, or refuse to start."""


def main() -> None:
    """Run the local runner until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Run Intima's units from the ledger, without a broker.")
    parser.add_argument("--with-parent", action="store_true", help="stop when the process that started this one ends")
    parser.add_argument("--queues", default=",".join(QUEUES), help="comma-separated; default: all")
    arguments = parser.parse_args()
    telemetry = TelemetrySettings()
    configure_logs(telemetry.log_format)
    open_traces(telemetry.otlp_endpoint, service="runner")
    settings = RunnerSettings()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if arguments.with_parent:
        threading.Thread(target=_stop_with_parent, args=(os.getppid(), stop), daemon=True).start()
    storage = settings.open_store()
    shown = (units.REGISTRY, sweeps.REGISTRY, GpuMemory(list_gpus))
    with showing_metrics(telemetry, service="runner", data=settings.data, collectors=shown):
        run_local(
            storage,
            queues=arguments.queues.split(","),
            slots=settings.slots,
            stop=stop,
            device=settings.device,
            log_format=telemetry.log_format,
        )
    storage.close()


def _stop_with_parent(parent: int, stop: threading.Event) -> None:
    while os.getppid() == parent and not stop.wait(0.5):
        pass
    stop.set()


if __name__ == "__main__":
    main()
