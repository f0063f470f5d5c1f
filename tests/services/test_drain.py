"""What SIGTERM does to workers: the unit in work ends, nothing new begins."""

import signal
from pathlib import Path

from servers import Redis
from store_fixtures import StartWorker
from toy_jobs import lines, plan, states, submit_and_send, wait_final, wait_until

from intima.store.storage import Storage


def test_a_worker_that_is_told_to_stop_ends_its_units_and_takes_no_more(
    sqlite_store: Storage, broker: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Two slots, four units: those that run are done on the first attempt, the rest wait for the next worker."""
    notes = tmp_path / "notes"
    worker = start_worker()
    units = [plan(key, kind="fit", sleep_s=4, notes=str(notes)) for key in "abcd"]
    job = submit_and_send(sqlite_store, broker.url, units)
    wait_until(lambda: len(lines(notes)) == 2, timeout_s=60, what="two children")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert sorted(states(sqlite_store, job).values()) == ["done", "done", "ready", "ready"]
    assert len(lines(notes)) == 2
    start_worker()
    assert wait_final(sqlite_store, job, timeout_s=90).state == "succeeded"
    assert len(lines(notes)) == 4, "each once"


def test_the_alive_file_is_made_by_a_worker_that_takes_messages(
    broker: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    start_worker(INTIMA_ALIVE_FILE=str(alive))
    wait_until(alive.exists, timeout_s=60, what="the file")
    first = alive.stat().st_mtime_ns
    wait_until(lambda: alive.stat().st_mtime_ns > first, timeout_s=30, what="a touch")
