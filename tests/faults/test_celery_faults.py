"""Celery where more goes wrong: pool processes killed, the broker away, messages doubled, SIGTERM."""

import signal
import time
from pathlib import Path

import psutil
import pytest
from servers import Redis
from store_fixtures import StartWorker
from toy_jobs import (
    diamond,
    final_events,
    lines,
    make_overdue,
    noted_pid,
    plan,
    states,
    submit,
    submit_and_send,
    wait_final,
    wait_until,
)

from intima.store import ledger
from intima.store.ledger import UnitRef
from intima.store.storage import Storage
from services.messages import open_send

pytestmark = pytest.mark.faults


def test_kill_9_of_a_pool_process_in_the_middle_of_a_unit(
    sqlite_store: Storage, broker: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    start_worker()
    job = submit_and_send(sqlite_store, broker.url, [plan("long", kind="fit", sleep_s=3, notes=str(notes))])
    wait_until(lambda: bool(lines(notes)), timeout_s=60, what="the child")
    _pool_process_of(noted_pid(notes)).kill()
    assert wait_final(sqlite_store, job, timeout_s=90).state == "succeeded"
    assert len(lines(notes)) == 2
    assert final_events(sqlite_store, job) == ["succeeded"]


def _pool_process_of(unit_pid: int) -> psutil.Process:
    """The unit's parent is the fork server, whose parent is the pool process."""
    server = psutil.Process(unit_pid).parent()
    assert server is not None
    pool = server.parent()
    assert pool is not None
    return pool


def test_a_broker_that_is_away_delays_and_loses_nothing(
    sqlite_store: Storage, broker: Redis, start_worker: StartWorker
) -> None:
    broker.kill()
    started = time.monotonic()
    job = submit_and_send(sqlite_store, broker.url, diamond())
    assert time.monotonic() - started < 15, "sending must not hang"
    make_overdue(sqlite_store)
    start_worker()
    time.sleep(3)
    broker.start()
    assert wait_final(sqlite_store, job, timeout_s=90).state == "succeeded"


def test_doubled_and_unknown_messages_are_harmless(
    sqlite_store: Storage, broker: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    job = submit(sqlite_store, diamond(notes=str(notes)))
    send = open_send("celery", redis_url=broker.url)
    with sqlite_store.writing() as conn:
        refs = ledger.take_unsent(conn, job)
    send([*refs, *refs, UnitRef("unit_" + "0" * 32, "training"), UnitRef("'; DROP TABLE units", "training"), *refs])
    worker = start_worker()
    assert wait_final(sqlite_store, job, timeout_s=60).state == "succeeded"
    assert sorted(lines(notes)) == sorted(f"{k} ran" for k in ("a", "b", "m0", "m1", "m2", "end"))
    assert worker.poll() is None


def test_sigterm_lets_a_running_unit_finish(
    sqlite_store: Storage, broker: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    worker = start_worker()
    job = submit_and_send(sqlite_store, broker.url, [plan("long", kind="fit", sleep_s=2, notes=str(notes))])
    wait_until(lambda: bool(lines(notes)), timeout_s=60, what="the child")
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    assert states(sqlite_store, job) == {"long": "done"}
