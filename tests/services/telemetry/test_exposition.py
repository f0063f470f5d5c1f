"""The port that Prometheus reads: what it shows, and what it does where something hangs or is missing."""

import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from toy_jobs import plan, submit

from intima.errors import Unavailable
from intima.store import ledger
from intima.store.storage import Storage
from services.devices import Gpu
from services.telemetry import doors
from services.telemetry.exposition import About, GpuMemory, serve_metrics, showing_metrics
from services.telemetry.labels import OTHER, Bounded
from services.telemetry.ledger_state import LedgerMetrics
from services.telemetry.settings import TelemetrySettings

FREE = TelemetrySettings(metrics_port=0)


def shown(collector: object) -> dict[tuple[str, ...], float]:
    return {
        (s.name, *s.labels.values()): s.value
        for metric in collector.collect()  # type: ignore[attr-defined]
        for s in metric.samples
    }


def test_a_process_shows_itself_on_loopback_and_stops(tmp_path: Path) -> None:
    with showing_metrics(FREE, service="test", data=tmp_path, collectors=[doors.REGISTRY]) as server:
        assert server is not None
        url = f"http://127.0.0.1:{server.port}/metrics"
        answer = httpx.get(url)
        names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"intima_build_info", "intima_data_free_bytes", "intima_http_requests", "process_open_fds"} <= names
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_without_a_port_nothing_listens(tmp_path: Path) -> None:
    assert serve_metrics(TelemetrySettings(), service="test", data=tmp_path, collectors=[]) is None


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = TelemetrySettings(metrics_port=holder.getsockname()[1])
        with pytest.raises(Unavailable, match="is taken"):
            serve_metrics(taken, service="test", data=tmp_path, collectors=[])


def test_a_volume_that_is_gone_is_left_out(tmp_path: Path) -> None:
    assert {name for name, *_ in shown(About("test", tmp_path / "gone"))} == {"intima_build_info"}


def test_gpus_are_shown_where_there_are_any() -> None:
    def silent() -> tuple[Gpu, ...]:
        raise Unavailable("The GPU driver does not answer.")

    assert shown(GpuMemory(lambda: ())) == {}
    assert shown(GpuMemory(silent)) == {}
    found = shown(GpuMemory(lambda: (Gpu("GPU-1", 1000, 250),)))
    assert found["intima_gpu_memory_used_bytes", "GPU-1"] == 750 * 2**20


def test_the_ledger_is_counted_as_it_is(store: Storage) -> None:
    assert shown(LedgerMetrics(store)) == {("intima_ledger_readable",): 1}
    submit(store, [plan("a"), plan("b", "a"), plan("c", queue="inference")])
    with store.writing() as connection:
        assert ledger.claim_next(connection, owner="me", queues=["training"], lease_s=60) is not None
    found = shown(LedgerMetrics(store))
    assert found["intima_jobs", "toy", "running"] == 1
    assert found["intima_units", "training", "waiting"] == found["intima_units", "training", "running"] == 1
    assert found["intima_units", "inference", "ready"] == 1
    assert 0 <= found["intima_oldest_ready_unit_seconds", "inference"] < 60
    assert ("intima_oldest_ready_unit_seconds", "training") not in found


def test_a_unit_that_is_tried_again_waits_anew(store: Storage) -> None:
    submit(store, [plan("a")])
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE units SET ready_at = ready_at - 100")
        first = ledger.claim_next(connection, owner="me", queues=["training"], lease_s=60)
        assert first is not None
        assert ledger.fail_attempt(connection, first, code="killed", message="", retryable=True) == "ready"
        second = ledger.claim_next(connection, owner="me", queues=["training"], lease_s=60)
    assert second is not None
    assert first.queued_s == pytest.approx(100, abs=5)
    assert 0 <= second.queued_s < 5


def test_a_database_that_hangs_costs_a_scrape_its_limit_and_shows_nothing_old(postgresql_store: Storage) -> None:
    submit(postgresql_store, [plan("a")])
    metrics = LedgerMetrics(postgresql_store, limit_s=0.5, keep_s=0.0)
    assert ("intima_jobs", "toy", "queued") in shown(metrics)
    with postgresql_store.writing() as connection:
        connection.exec_driver_sql("LOCK TABLE units IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        assert shown(metrics) == {("intima_ledger_readable",): 0}
        assert shown(metrics) == {("intima_ledger_readable",): 0}
        assert time.monotonic() - started < 5
        assert sum("_read" in t.name for t in threading.enumerate()) <= 1, "one look at a time"
    deadline = time.monotonic() + 10
    while ("intima_jobs", "toy", "queued") not in shown(metrics):
        assert time.monotonic() < deadline


def test_several_scrapes_share_one_look(sqlite_store: Storage) -> None:
    metrics = LedgerMetrics(sqlite_store, keep_s=60.0)
    assert shown(metrics)["intima_ledger_readable",] == 1
    submit(sqlite_store, [plan("a")])
    assert ("intima_jobs", "toy", "queued") not in shown(metrics)
    assert ("intima_jobs", "toy", "queued") in shown(LedgerMetrics(sqlite_store))


def test_labels_from_outside_are_bounded() -> None:
    bounded = Bounded(2)
    assert [bounded(value) for value in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]
