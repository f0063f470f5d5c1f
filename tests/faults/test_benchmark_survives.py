"""Real training: a benchmark whose worker is killed, or that runs on Celery, gives the very same scores table."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from servers import redis_server

from intima.phantom import draw_specs
from services.api.app import create_app
from services.api.settings import Settings
from services.demo import dataset_zip

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]
SPEC: dict[str, Any] = {
    "architectures": [{"name": name, "input_px": 64} for name in ("unet", "deeplabv3plus")],
    "protocols": [{"kind": "loocv"}],
    "search": {"sampler": "gp", "trials": 2},
    "members": 1,
    "preset": "quick",
}
KILL_AT = (2, 6, 10)
"""Numbers of finished units at which the worker is killed."""


@contextmanager
def worker(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Start the local runner or a Celery worker of the trainer in a process group of its own."""
    environment = os.environ | {"INTIMA_DATA": str(settings.data), "INTIMA_REDIS_URL": settings.redis_url}
    celery = ["celery", "-A", "services.trainer.tasks", "worker", "-Q", "training", "--loglevel", "warning"]
    command = ["services.runner", "--queues", "training"] if settings.queue == "local" else celery
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment | {"INTIMA_SLOTS": "2", "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_benchmark(settings: Settings, *, kills: tuple[int, ...] = ()) -> tuple[str, int]:
    """Run the benchmark; returns the scores table and how many units needed a second attempt."""
    with TestClient(create_app(settings)) as client:
        bundle = dataset_zip(draw_specs(seed=3, subjects=3, size_px=192, mpp=4.0), name="synthetic faults")
        dataset = client.post("/v1/datasets", files={"file": ("d.zip", bundle)}).raise_for_status().json()["id"]
        started = client.post("/v1/benchmarks", json=SPEC | {"dataset": dataset}).raise_for_status().json()
        for at in (*kills, None):
            with worker(settings) as process:
                wait_for(client, started["job"], done=at)
                if at is not None:
                    kill(process)
        units = client.get(f"/v1/jobs/{started['job']}/units").json()
        scores = client.get(f"/v1/benchmarks/{started['id']}/scores.csv").raise_for_status().text
        return scores, sum(u["attempt"] > 1 for u in units)


def wait_for(client: TestClient, job_id: str, *, done: int | None) -> None:
    """Wait until so many units are done and one is running, or until the job is final."""
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        job = client.get(f"/v1/jobs/{job_id}").json()
        if job["state"] in {"succeeded", "failed", "canceled"}:
            assert done is None, f"the job ended before the kill at {done} units"
            assert job["state"] == "succeeded", job
            return
        if done is not None and job["progress"]["done"] >= done:
            units = client.get(f"/v1/jobs/{job_id}/units").json()
            if any(u["state"] == "running" and u["message"] for u in units):
                return
        time.sleep(0.2)
    raise AssertionError(f"not there in time: {job}")


def test_killed_workers_and_celery_give_the_table_of_an_undisturbed_run(tmp_path: Path) -> None:
    calm, repeated = run_benchmark(Settings(data=tmp_path / "calm", port=59999))
    assert repeated == 0
    killed, repeated = run_benchmark(Settings(data=tmp_path / "killed", port=59999), kills=KILL_AT)
    print(f"\nlocal: {len(KILL_AT)} kills, {repeated} units run again, tables equal: {killed == calm}")
    assert repeated >= 1
    assert killed == calm
    with redis_server(tmp_path) as redis:
        settings = Settings(data=tmp_path / "celery", port=59999, queue="celery", redis_url=redis.url)
        by_celery, repeated = run_benchmark(settings, kills=KILL_AT[1:2])
    print(f"celery: 1 kill, {repeated} units run again, tables equal: {by_celery == calm}")
    assert repeated >= 1
    assert by_celery == calm
