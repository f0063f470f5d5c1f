"""Counts of a real run with failures, retries and a cancel, against what the ledger says."""

import threading
from collections import Counter
from pathlib import Path

import pytest
from toy_jobs import diamond, plan, states, submit, wait_final
from toy_units_of import HANDLERS

from intima.store import ledger
from intima.store.storage import Storage
from services.runner import Pace, run_local
from services.telemetry import sweeps, units

PACE = Pace(lease_s=5.0, beat_s=0.3, grace_s=0.5, poll_s=0.05, sweep_s=0.3)


def attempts() -> Counter[tuple[str, str]]:
    metric = next(m for m in units.REGISTRY.collect() if m.name == "intima_unit_attempts")
    found: Counter[tuple[str, str]] = Counter()
    for s in metric.samples:
        if s.name.endswith("_total"):
            found[s.labels["kind"], s.labels["outcome"]] += int(s.value)
    return found


def value(name: str, registry: object = units.REGISTRY, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0  # type: ignore[attr-defined, no-any-return]


def test_counts_equal_the_ledger(sqlite_store: Storage, tmp_path: Path) -> None:
    before, swept = attempts(), value("intima_sweeps_total", sweeps.REGISTRY)
    killed = value("intima_unit_failures_total", kind="fold", code="killed")
    worked = {
        k: value("intima_unit_compute_seconds_count", kind="trial", queue="training", outcome=k) for k in ("done",)
    }
    stop = threading.Event()
    options = {"slots": 2, "stop": stop, "handlers": HANDLERS, "preload": ["toy_units"], "pace": PACE}
    thread = threading.Thread(target=run_local, args=(sqlite_store,), kwargs=options)
    thread.start()
    try:
        bad = [
            plan("poison", kind="fold", how="kill", notes=str(tmp_path / "notes")),
            plan("wrong", kind="fold", how="invalid"),
            plan("behind", "poison"),
        ]
        job = submit(sqlite_store, [*bad, *diamond()])
        wait_final(sqlite_store, job, timeout_s=60)
    finally:
        stop.set()
        thread.join()
    told = attempts() - before
    assert {key: number for key, number in told.items() if number} == {
        ("trial", "done"): 6,
        ("fold", "ready"): 2,
        ("fold", "failed"): 2,
    }
    assert Counter(states(sqlite_store, job).values()) == {"done": 6, "failed": 2, "skipped": 1}
    assert value("intima_unit_failures_total", kind="fold", code="killed") - killed == 3
    done = value("intima_unit_compute_seconds_count", kind="trial", queue="training", outcome="done")
    assert done - worked["done"] == 6
    assert value("intima_sweeps_total", sweeps.REGISTRY) > swept


def test_a_lost_lease_is_counted(sqlite_store: Storage) -> None:
    from services.messages import send_nothing
    from services.runner import sweep_once

    before = value("intima_lease_expiries_total", sweeps.REGISTRY)
    submit(sqlite_store, [plan("a")])
    with sqlite_store.writing() as connection:
        assert ledger.claim_next(connection, owner="gone", queues=["training"], lease_s=0.0) is not None
        connection.exec_driver_sql("UPDATE units SET lease_until = 0")
    sweep_once(sqlite_store, send=send_nothing, queued=None)
    assert value("intima_lease_expiries_total", sweeps.REGISTRY) - before == 1


@pytest.mark.parametrize("kind", ["trial"])
def test_failures_of_space_are_born_at_zero(sqlite_store: Storage, kind: str) -> None:
    units.count_attempt(
        units.Attempt(kind=kind, queue="training", payload={}, outcome="done", queued_s=1.0, computed_s=2.0)
    )
    assert units.REGISTRY.get_sample_value("intima_unit_failures_total", {"kind": kind, "code": "storage_full"}) == 0
