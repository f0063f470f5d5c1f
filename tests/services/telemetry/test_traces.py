"""Exporting traces: off without a trace of it, refused where it cannot be done, and never in the way."""

import subprocess
import sys
import time

from servers import free_port
from toy_jobs import REPOSITORY
from trace_collector import trace_collector

WORK = """
import time
from services.telemetry import traces
traces.open_traces(ENDPOINT, service="test")
with traces.serving("outer", parent="") as outer:
    inner = traces.record("inner", parent=outer, start_ns=time.time_ns(), end_ns=time.time_ns(), attributes={"n": 1})
print(outer, inner)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    look = "import sys; from services.telemetry import attempts; " + WORK.replace("ENDPOINT", "None")
    done = run(look + "print([m for m in sys.modules if m.startswith('opentelemetry')])")
    traceparents, modules = done.stdout.splitlines()
    outer, inner = traceparents.split()
    assert outer == inner, "what is not recorded has no id of its own"
    assert len(outer) == 55
    assert modules == "[]"


def test_an_empty_endpoint_is_none() -> None:
    assert run(WORK.replace("ENDPOINT", '""')).returncode == 0


def test_without_the_packages_the_start_is_refused() -> None:
    gone = "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None\n"
    done = run(gone + WORK.replace("ENDPOINT", '"http://collector:4318"'))
    assert done.returncode != 0
    assert "is not installed" in done.stderr


def test_spans_are_sent_before_the_process_ends() -> None:
    with trace_collector() as collector:
        done = run(WORK.replace("ENDPOINT", repr(f"{collector.endpoint}/")))
        assert done.returncode == 0, done.stderr
    spans = {s.name: s for s in collector.spans}
    assert spans["inner"].parent == spans["outer"].id
    assert {s.service for s in collector.spans} == {"intima-test"}
    assert done.stdout.startswith(f"00-{spans['outer'].trace}-{spans['outer'].id}-")


def test_a_collector_that_is_away_does_not_hold_up_the_end() -> None:
    quick = time.monotonic()
    assert run(WORK.replace("ENDPOINT", '""')).returncode == 0
    quick = time.monotonic() - quick
    started = time.monotonic()
    done = run(WORK.replace("ENDPOINT", repr(f"http://127.0.0.1:{free_port()}")))
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 10 * quick + 15
