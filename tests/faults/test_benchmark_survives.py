"""Real training: a benchmark whose worker is killed, or that runs on Celery, gives the very same scores table."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from servers import redis_server
from toy_jobs import final_events

from intima.phantom import draw_specs
from intima.store.storage import open_storage
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

STORM_SPEC: dict[str, Any] = SPEC | {
    "architectures": [
        {"name": name, "encoder": encoder, "weights": "random", "input_px": 64, "label": f"{name}-{encoder}"}
        for name, encoder in (("unet_small", "resnet18"), ("linknet", "mobilenet_v2"))
    ],
    "search": {"sampler": "random", "trials": 5},
}
STORM_KILLS = 50
LAST_ATTEMPT = 3
"""A unit that dies in it has failed."""


@contextmanager
def worker(settings: Settings, *, slots: int = 2) -> Iterator[subprocess.Popen[bytes]]:
    """Start the local runner or a Celery worker of the trainer in a process group of its own."""
    environment = os.environ | {"INTIMA_DATA": str(settings.data), "INTIMA_REDIS_URL": settings.redis_url}
    celery = ["celery", "-A", "services.trainer.tasks", "worker", "-Q", "training", "--loglevel", "warning"]
    command = ["services.runner", "--queues", "training"] if settings.queue == "local" else celery
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment | {"INTIMA_SLOTS": str(slots), "PYTHONPATH": str(ROOT)},
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


def submit(client: TestClient, spec: dict[str, Any], *, subjects: int) -> dict[str, Any]:
    bundle = dataset_zip(draw_specs(seed=3, subjects=subjects, size_px=192, mpp=4.0), name="synthetic faults")
    dataset = client.post("/v1/datasets", files={"file": ("d.zip", bundle)}).raise_for_status().json()["id"]
    started: dict[str, Any] = client.post("/v1/benchmarks", json=spec | {"dataset": dataset}).raise_for_status().json()
    return started


def run_benchmark(settings: Settings, *, kills: tuple[int, ...] = ()) -> tuple[str, int]:
    """Run the benchmark; returns the scores table and how many units needed a second attempt."""
    with TestClient(create_app(settings)) as client:
        started = submit(client, SPEC, subjects=3)
        for at in (*kills, None):
            with worker(settings) as process:
                wait_for(client, started["job"], done=at)
                if at is not None:
                    kill(process)
        units = client.get(f"/v1/jobs/{started['job']}/units").json()
        scores = client.get(f"/v1/benchmarks/{started['id']}/scores.csv").raise_for_status().text
        return scores, sum(u["attempt"] > 1 for u in units)


def wait_for(client: TestClient, job_id: str, *, done: int | None, at_work: int = 1) -> None:
    """Wait until so many units are done and so many at work, or until the job is final."""
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        job = client.get(f"/v1/jobs/{job_id}").json()
        if job["state"] in {"succeeded", "failed", "canceled"}:
            assert done is None, f"the job ended before the kill at {done} units"
            assert job["state"] == "succeeded", job
            return
        at_it = sum(bool(u["message"]) for u in running(client, job_id))
        if done is not None and job["progress"]["done"] >= done and at_it >= at_work:
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


@dataclass(frozen=True, slots=True)
class Ended:
    """What a benchmark left."""

    job: str
    scores: str
    units: list[dict[str, Any]]


def run_storm(settings: Settings, *, kills: int, seed: int) -> Ended:
    """Run the long benchmark on two workers of one slot, one of which, drawn at random, dies every few seconds.

    The clock of a kill starts when both are at work. While a unit is in its last attempt nobody is killed: three deaths
    fail a unit, and that is another test.
    """
    rng = random.Random(seed)
    with TestClient(create_app(settings)) as client, ExitStack() as stack:
        started = submit(client, STORM_SPEC, subjects=9)
        workers = [stack.enter_context(worker(settings, slots=1)) for _ in range(2)]
        for number in range(kills):
            wait_for(client, started["job"], done=0, at_work=len(workers))
            time.sleep(rng.uniform(0.0, 6.0))
            while any(u["attempt"] >= LAST_ATTEMPT for u in running(client, started["job"])):
                time.sleep(0.1)
            victim = rng.randrange(len(workers))
            kill(workers[victim])
            workers[victim] = stack.enter_context(worker(settings, slots=1))
            if number % 10 == 9:
                done = client.get(f"/v1/jobs/{started['job']}").json()["progress"]
                print(f"{number + 1} kills, {done['done']} of {done['total']} units done", flush=True)
        wait_for(client, started["job"], done=None)
        units = client.get(f"/v1/jobs/{started['job']}/units").json()
        scores = client.get(f"/v1/benchmarks/{started['id']}/scores.csv").raise_for_status().text
        return Ended(started["job"], scores, units)


def running(client: TestClient, job_id: str) -> list[dict[str, Any]]:
    return [u for u in client.get(f"/v1/jobs/{job_id}/units").json() if u["state"] == "running"]


def test_fifty_random_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    calm = run_storm(Settings(data=tmp_path / "calm", port=59999), kills=0, seed=0)
    assert {u["attempt"] for u in calm.units} == {1}
    seed = int(os.environ.get("INTIMA_STORM_SEED", "0"))
    settings = Settings(data=tmp_path / "storm", port=59999)
    stormy = run_storm(settings, kills=STORM_KILLS, seed=seed)
    lost, equal = sum(u["attempt"] - 1 for u in stormy.units), stormy.scores == calm.scores
    repeated = sum(u["attempt"] > 1 for u in stormy.units)
    print(f"\n{STORM_KILLS} kills (seed {seed}), {len(stormy.units)} units, of which {repeated} lost {lost} attempts; "
          f"tables equal: {equal}")  # fmt: skip
    assert [u["key"] for u in stormy.units] == [u["key"] for u in calm.units]
    assert {u["state"] for u in stormy.units} == {"done"}
    assert lost >= STORM_KILLS / 2
    assert equal
    storage = open_storage(settings.data)
    assert final_events(storage, stormy.job) == ["succeeded"]
    storage.close()
