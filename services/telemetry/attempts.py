"""Observe attempts at units: who runs one says how it ended, and metrics, spans and log lines follow."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from intima.arrays import Json
from intima.store.ledger import Claim
from services.telemetry import traces
from services.telemetry.context import Context, current, within
from services.telemetry.traces import RUN, Stage
from services.telemetry.units import IN_REQUEST, Attempt, count_attempt

_S = 1_000_000_000


@dataclass(slots=True)
class Ending:
    """How an attempt ended, told by who ran it."""

    outcome: str = "lost"
    code: str = ""
    """Why it failed; "" where it did not."""
    result: Json | None = None
    stages: Sequence[Stage] = ()


@contextmanager
def observing(claim: Claim, *, in_request: bool = False) -> Iterator[Ending]:
    """Observe one attempt: log lines of the block name it, and what the block tells is counted and traced."""
    context = Context(
        request_id=current().request_id,
        traceparent=current().traceparent if in_request else claim.traceparent,
        job_id=claim.job_id,
        unit_id=claim.unit_id,
        attempt=claim.attempt,
    )
    ending = Ending()
    start_ns = time.time_ns()
    started = time.perf_counter()
    with within(context):
        try:
            yield ending
        finally:
            seconds = time.perf_counter() - started
            _count(claim, ending, seconds, in_request=in_request)
            _trace(claim, ending, context.traceparent, Stage("", start_ns, start_ns + int(seconds * _S)))


def _count(claim: Claim, ending: Ending, seconds: float, *, in_request: bool) -> None:
    count_attempt(
        Attempt(
            kind=claim.kind,
            queue=IN_REQUEST if in_request else claim.queue,
            payload=claim.payload,
            outcome=ending.outcome,
            queued_s=claim.queued_s,
            computed_s=seconds,
            code=ending.code,
            result=ending.result,
        )
    )


def _trace(claim: Claim, ending: Ending, parent: str, ran: Stage) -> None:
    told = {"intima.job": claim.job_id, "intima.unit": claim.unit_id, "intima.kind": claim.kind}
    waited_ns = int(claim.queued_s * _S)
    if waited_ns:
        began = ran.start_ns - waited_ns
        traces.record("unit wait", parent=parent, start_ns=began, end_ns=ran.start_ns, attributes=told)
    told |= {"intima.attempt": str(claim.attempt), "intima.outcome": ending.outcome}
    span = traces.record(
        f"unit {claim.kind}",
        parent=parent,
        start_ns=ran.start_ns,
        end_ns=ran.end_ns,
        attributes=told,
        failed=bool(ending.code),
    )
    for stage in _cut(ending):
        traces.record(stage.name, parent=span, start_ns=stage.start_ns, end_ns=stage.end_ns, attributes={})


def _cut(ending: Ending) -> Iterator[Stage]:
    """Yield the stages, and those within the run as its result times them: one behind the other, up to its end."""
    timings = (ending.result or {}).get("timings_s", {})
    for stage in ending.stages:
        yield stage
        if stage.name == RUN:
            start_ns = stage.end_ns - int(sum(timings.values()) * _S)
            for name, seconds in timings.items():
                yield Stage(name, start_ns, start_ns + int(seconds * _S))
                start_ns += int(seconds * _S)
