"""Kill storms: runners, workers and the broker killed with -9 again and again; nothing lost, nothing twice."""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import pytest
from servers import Redis
from store_fixtures import StartWorker, kill_tree
from toy_jobs import (
    TOYS,
    all_events,
    child_environment,
    final_events,
    plan,
    python,
    submit,
    submit_and_send,
    totals,
    view,
)

from intima.contracts.benchmark import UnitPlan
from intima.store import ledger
from intima.store.storage import Storage

pytestmark = pytest.mark.faults

UNITS = 40


def graph() -> list[UnitPlan]:
    units = [plan(f"u{i}", n=i, sleep_s=0.5) for i in range(UNITS)]
    return [*units, plan("end", *(u.key for u in units))]


def storm(store: Storage, job: str, *, disturb: Callable[[], None], timeout_s: float) -> int:
    """Disturb after every bit of progress, at a random moment, until the job is final; return how often."""
    dice, count, done = random.Random(0), 0, 0
    deadline = time.monotonic() + timeout_s
    while view(store, job).finished_at is None:
        assert time.monotonic() < deadline, f"the job does not end: {view(store, job)}"
        if view(store, job).progress.done > done:
            time.sleep(dice.uniform(0.0, 1.0))
            done = view(store, job).progress.done
            disturb()
            count += 1
        time.sleep(0.1)
    return count


def check(store: Storage, job: str) -> None:
    assert view(store, job).state == "succeeded"
    assert final_events(store, job) == ["succeeded"]
    assert totals(store, job) == {f"u{i}": i for i in range(UNITS)} | {"end": UNITS * (UNITS - 1) // 2 + 1}
    with store.reading() as conn:
        told = [e.data for e in all_events(conn, job) if e.type == "unit" and e.data["state"] == "done"]
        attempts = sum(u.attempt for u in ledger.read_units(conn, job))
        blobs = [r["blob"] for r in ledger.results_of(conn, job, [f"u{i}" for i in range(UNITS)]).values()]
    assert set(Counter(str(t["unit"]) for t in told).values()) == {1}
    assert [store.blobs.read(b) for b in blobs] == [f"u{i}={i}".encode() for i in range(UNITS)]
    store.blobs.remove_leftovers()
    assert list((store.data_dir / "blobs" / "aside").iterdir()) == []
    print(f"{attempts} attempts for {UNITS + 1} units in {view(store, job).running_s:.0f} s")


def test_the_local_runner_in_a_kill_storm(store: Storage, database_url: str | None) -> None:
    command = python(str(TOYS / "toy_runner.py"), str(store.data_dir), "2", *([database_url] if database_url else []))
    runners: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        runners.append(subprocess.Popen(command, env=child_environment()))

    def kill_and_start() -> None:
        runners[-1].kill()
        runners[-1].wait()
        start()

    job = submit(store, graph(), unit_attempts=1000)
    start()
    try:
        kills = storm(store, job, disturb=kill_and_start, timeout_s=900)
    finally:
        kill_tree(runners[-1])
    check(store, job)
    print(f"{kills} kills")


def test_celery_workers_and_redis_in_a_kill_storm(
    sqlite_store: Storage, broker: Redis, start_worker: StartWorker
) -> None:
    job = submit_and_send(sqlite_store, broker.url, graph())
    with sqlite_store.writing() as conn:
        conn.exec_driver_sql("UPDATE jobs SET unit_attempts = 1000")
    workers = [start_worker(), start_worker()]
    dice = random.Random(1)

    def disturb() -> None:
        if dice.random() < 0.25:
            broker.kill()
            broker.start()
        victim = dice.randrange(2)
        kill_tree(workers[victim])
        workers[victim] = start_worker()

    kills = storm(sqlite_store, job, disturb=disturb, timeout_s=900)
    check(sqlite_store, job)
    print(f"{kills} kills of workers")
