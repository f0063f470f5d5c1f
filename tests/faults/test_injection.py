"""Crash points: workers that kill themselves anywhere lose nothing and double nothing."""

import itertools
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from toy_jobs import all_events, child_environment, final_events, plan, python, submit, totals, view

from intima.store import ledger
from intima.store.storage import Storage

WORKER = Path(__file__).with_name("crashing_worker.py")


def run_to_the_end(store: Storage, job: str, *, p: float, workers: int, database_url: str | None) -> int:
    """Keep that many crashing workers alive until the job is final; return how many died."""
    seeds = itertools.count(1)
    running: list[subprocess.Popen[bytes]] = []
    deaths = 0
    deadline = time.monotonic() + 900
    while view(store, job).finished_at is None:
        assert time.monotonic() < deadline, "the job does not end"
        ended = [w for w in running if w.poll() is not None]
        deaths += sum(w.returncode != 0 for w in ended)
        assert {w.returncode for w in ended} <= {0, -9}
        running = [w for w in running if w.returncode is None]
        while len(running) < workers:
            command = python(str(WORKER), str(store.data_dir), str(p), str(next(seeds)))
            running.append(
                subprocess.Popen(command + ([database_url] if database_url else []), env=child_environment())
            )
        time.sleep(0.05)
    for worker in running:
        worker.kill()
        worker.wait()
    return deaths


def check(store: Storage, job: str, count: int) -> None:
    """Nothing lost, nothing twice, one end, every blob sound, nothing half written."""
    assert view(store, job).state == "succeeded"
    assert final_events(store, job) == ["succeeded"]
    with store.reading() as conn:
        told = [e.data for e in all_events(conn, job) if e.type == "unit" and e.data["state"] == "done"]
        assert Counter(str(t["unit"]) for t in told) == Counter({f"u{i}": 1 for i in range(count)} | {"end": 1})
        results = ledger.results_of(conn, job, [f"u{i}" for i in range(count)] + ["end"])
    assert totals(store, job) == {f"u{i}": i for i in range(count)} | {"end": count * (count - 1) // 2 + 1}
    for key, result in results.items():
        assert store.blobs.read(result["blob"]) == f"{key}={result['total']}".encode()
    store.blobs.remove_leftovers()
    assert list((store.data_dir / "blobs" / "aside").iterdir()) == []


def graph(count: int) -> list[object]:
    return [*(plan(f"u{i}", n=i) for i in range(count)), plan("end", *(f"u{i}" for i in range(count)))]


def test_crashes_at_any_point_at_small_size(store: Storage, database_url: str | None) -> None:
    job = submit(store, graph(12), unit_attempts=1000)  # type: ignore[arg-type]
    deaths = run_to_the_end(store, job, p=0.02, workers=2, database_url=database_url)
    check(store, job, 12)
    assert deaths >= 1


@pytest.mark.faults
def test_a_hundred_and_fifty_crashes(store: Storage, database_url: str | None) -> None:
    job = submit(store, graph(200), unit_attempts=1000)  # type: ignore[arg-type]
    deaths = run_to_the_end(store, job, p=0.08, workers=3, database_url=database_url)
    check(store, job, 200)
    print(f"{deaths} kills, {view(store, job).running_s:.0f} s")
    assert deaths >= 150
