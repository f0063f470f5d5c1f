"""A request, its job and its unit, over real processes of api, stats and a Celery worker: one trace, true counts."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from servers import Redis, free_port
from store_fixtures import kill_tree
from toy_jobs import REPOSITORY, wait_until
from trace_collector import Collector, trace_collector

from intima.store.storage import open_storage
from tests.builders import COLORS, png, publish_color_model, rings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
SECRET = "hunter2-planted-7f3a"


@dataclass
class Stack:
    folder: Path
    collector: Collector
    api: httpx.Client
    metrics: dict[str, str]

    def scrape(self, service: str) -> dict[tuple[str, ...], float]:
        """Samples by name and the values of their labels."""
        text = httpx.get(self.metrics[service], timeout=10).raise_for_status().text
        families = text_string_to_metric_families(text)
        samples = [s for family in families for s in family.samples if not s.name.endswith("_created")]
        keys = [(s.name, *(s.labels[k] for k in sorted(s.labels))) for s in samples]
        assert len(keys) == len(set(keys)), "a series twice"
        return dict(zip(keys, (s.value for s in samples), strict=True))

    def log(self, service: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / f"{service}.log").read_text().splitlines()]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, redis_broker: Redis) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    storage = open_storage(folder / "data", floor_bytes=0)
    publish_color_model(storage, name="color-net", mpp=2.0)
    storage.close()
    port, stats_port = free_port(), free_port()
    ports = {name: free_port() for name in ("api", "stats", "worker")}
    redis_broker.flush()
    commands = {
        "api": ["-m", "services.api"],
        "stats": ["-m", "services.stats"],
        "worker": [
            "-m",
            "celery",
            "--quiet",
            "-A",
            "services.api.tasks",
            "worker",
            "-Q",
            "inference",
            "--loglevel",
            "INFO",
        ],
    }
    with trace_collector() as collector, ExitStack() as running:
        shared = os.environ | {
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
            "INTIMA_DATA": str(folder / "data"),
            "INTIMA_QUEUE": "celery",
            "INTIMA_REDIS_URL": redis_broker.url,
            "INTIMA_PORT": str(port),
            "INTIMA_STATS_PORT": str(stats_port),
            "INTIMA_STATS_URL": f"http://127.0.0.1:{stats_port}",
            "INTIMA_SLOTS": "1",
            "PYTHONWARNINGS": "ignore",  # Celery warns of root before it asks how to log
            "INTIMA_LOG_FORMAT": "json",
            "INTIMA_OTLP_ENDPOINT": collector.endpoint,
        }
        for name, arguments in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, *arguments],
                    env=shared | {"INTIMA_METRICS_PORT": str(ports[name])},
                    cwd=folder,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            running.callback(kill_tree, process)
        api = running.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60))
        urls = {name: f"http://127.0.0.1:{found}/metrics" for name, found in ports.items()}
        for url in (f"{api.base_url}/readyz", f"http://127.0.0.1:{stats_port}/readyz", urls["worker"]):
            wait_until(lambda url=url: _answers(url), timeout_s=240, what=url)  # type: ignore[misc]
        yield Stack(folder, collector, api, urls)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def job(stack: Stack) -> str:
    """A finished segmentation that was asked for under a trace of the client's."""
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "authorization": f"Bearer {SECRET}"}
    image = png(COLORS[rings()])
    slide = stack.api.post("/v1/slides", files={"file": ("a.png", image)}, data={"mpp": "1.0"}, headers=headers)
    body = {"model": "color-net", "uncertainty": {"sampler": "none"}}
    path = f"/v1/slides/{slide.raise_for_status().json()['id']}/segmentations"
    started = stack.api.post(path, json=body, headers=headers).raise_for_status().json()
    wait_until(lambda: _state(stack, started["job"]) in {"succeeded", "failed"}, timeout_s=240, what="the job")
    assert _state(stack, started["job"]) == "succeeded"
    return str(started["job"])


def _state(stack: Stack, job: str) -> str:
    return str(stack.api.get(f"/v1/jobs/{job}").json()["state"])


def test_one_trace_spans_request_wait_and_unit(stack: Stack, job: str) -> None:
    def names() -> set[str]:
        return {s.name for s in stack.collector.of(TRACE)}

    wait_until(lambda: {"POST /v1/slides/{slide_id}/segmentations", "artefacts"} <= names(), what="the spans")
    spans = {s.name: s for s in stack.collector.of(TRACE)}
    asked, wait, ran = (spans[n] for n in ("POST /v1/slides/{slide_id}/segmentations", "unit wait", "unit segment"))
    assert (asked.service, wait.service, ran.service) == ("intima-api", "intima-worker", "intima-worker")
    assert asked.parent == SPAN
    assert wait.parent == ran.parent == asked.id
    assert ran.attributes["intima.job"] == job
    inside = [spans[n] for n in ("load", "run", "inference", "measures", "artefacts")]
    assert {s.parent for s in inside} == {ran.id}
    assert [s.start_ns for s in inside] == sorted(s.start_ns for s in inside)
    assert all(ran.start_ns <= s.start_ns <= s.end_ns <= ran.end_ns for s in inside)
    assert wait.end_ns <= ran.start_ns
    assert asked.start_ns <= wait.start_ns + 1_000_000_000, "the clock of the database is that of this machine"


def test_the_stats_service_goes_on_with_the_trace(stack: Stack) -> None:
    trace = "aa" * 16
    body = {"scores": [0.8, 0.7, 0.9, 0.75, 0.85, 0.8]}
    answer = stack.api.post("/v1/intervals", json=body, headers={"traceparent": f"00-{trace}-{SPAN}-01"})
    assert answer.status_code == 200
    wait_until(lambda: len(stack.collector.of(trace)) == 2, what="two spans")
    api, stats = stack.collector.of(trace)
    assert (api.service, stats.service) == ("intima-api", "intima-stats")
    assert stats.parent == api.id


def test_probes_leave_no_spans(stack: Stack, job: str) -> None:
    time.sleep(1.5)
    assert stack.collector.spans
    assert not [s for s in stack.collector.spans if "livez" in s.name or "readyz" in s.name]


def test_the_worker_counts_what_the_ledger_knows(stack: Stack, job: str) -> None:
    found = stack.scrape("worker")
    assert found["intima_unit_attempts_total", "segment", "done", "inference"] == 1
    assert found["intima_unit_queue_seconds_count", "segment", "inference"] == 1
    storage = open_storage(stack.folder / "data", floor_bytes=0)
    with storage.reading() as connection:
        query = "SELECT started_at - ready_at, finished_at - started_at, result FROM units WHERE state = 'done'"
        ((waited_s, ran_s, text),) = connection.exec_driver_sql(query).all()
    storage.close()
    assert found["intima_unit_queue_seconds_sum", "segment", "inference"] == pytest.approx(waited_s, abs=1e-3)
    assert found["intima_unit_compute_seconds_sum", "segment", "done", "inference"] == pytest.approx(ran_s, abs=0.5)
    told = json.loads(text)["provenance"]
    labels = ("color-net", "fp32", "cpu", told["model"].partition("@")[2], "job")
    assert found["intima_segmentation_megapixels_total", *labels] == pytest.approx(
        told["working_width"] * told["working_height"] / 1e6
    )
    assert ("intima_gpu_memory_size_bytes" in {name for name, *_ in found}) == _has_gpu()
    assert found["intima_lease_expiries_total",] == 0


def _has_gpu() -> bool:
    from services.devices import list_gpus

    return bool(list_gpus())


def test_the_api_counts_requests_by_template_and_jobs_by_state(stack: Stack, job: str) -> None:
    for path in ("/etc/passwd", "/v1/nothing/7", "/v1/jobs/job_nobody"):
        assert stack.api.get(path).status_code == 404
    wait_until(lambda: stack.scrape("api")["intima_http_requests_in_flight",] == 0, what="the end of all requests")
    found = stack.scrape("api")
    requests = {key[1:]: value for key, value in found.items() if key[0] == "intima_http_requests_total"}
    assert requests["POST", "/v1/slides/{slide_id}/segmentations", "202"] == 1
    assert requests["GET", "unmatched", "404"] == 2
    assert not [route for _, route, _ in requests if job in route or "passwd" in route]
    assert found["intima_problems_total", "job_not_found", "http"] == 1
    assert found["intima_jobs", "segmentation", "succeeded"] == 1
    assert found["intima_ledger_readable",] == 1
    assert 0 < found["intima_data_free_bytes",] <= found["intima_data_size_bytes",]
    assert found["intima_turns", "waiting", "segment"] == 0


def test_problems_name_the_trace(stack: Stack) -> None:
    answer = stack.api.get("/v1/jobs/job_nobody", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    assert answer.json()["trace_id"] == TRACE
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert len(stack.api.get("/v1/jobs/job_nobody").json()["trace_id"]) == 32


def test_every_log_line_is_json_and_names_what_it_is_about(stack: Stack, job: str) -> None:
    lines = {name: stack.log(name) for name in stack.metrics}
    assert all({"time", "level", "logger", "message"} <= line.keys() for of in lines.values() for line in of)
    asked = [line for line in lines["api"] if line.get("trace_id") == TRACE and line.get("status") == 202]
    assert [line["route"] for line in asked] == ["/v1/slides/{slide_id}/segmentations"]
    assert asked[0]["request_id"].startswith("req_")
    ended = [line for line in lines["worker"] if line.get("job_id") == job]
    assert ended[-1]["trace_id"] == TRACE
    assert ended[-1]["attempt"] == 1
    assert ended[-1]["unit_id"].startswith("unit_")


def test_no_secret_is_told(stack: Stack, job: str) -> None:
    told = [(stack.folder / f"{name}.log").read_text() for name in stack.metrics]
    told += [httpx.get(url, timeout=10).text for url in stack.metrics.values()]
    told += [repr(stack.collector.spans)]
    assert all(len(text) > 100 for text in told)
    assert not [text for text in told if SECRET in text]
