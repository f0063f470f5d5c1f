"""Who waits for a job: only one who is alone may cancel by leaving."""

import threading

import pytest

from intima.contracts.benchmark import UnitPlan
from intima.errors import Invalid, NotFound
from intima.store import catalog, ledger
from intima.store.storage import Storage


def new_job(store: Storage) -> str:
    with store.writing() as connection:
        units = [UnitPlan(key="segment", kind="segment", queue="inference", payload={})]
        return ledger.create_job(connection, kind="segmentation", units=units, payload={}, result_url=None)


def state_of(store: Storage, job: str) -> str:
    with store.reading() as connection:
        return ledger.read_job(connection, job).state


def test_one_who_is_alone_cancels(store: Storage) -> None:
    job = new_job(store)
    with store.writing() as connection:
        assert ledger.is_alone(connection, job)
        assert ledger.cancel_if_alone(connection, job)
    assert state_of(store, job) == "canceled"
    with store.writing() as connection:
        assert not ledger.join_job(connection, job), "what is canceled cannot be joined"
        assert ledger.cancel_if_alone(connection, job), "doing it again changes nothing"


def test_one_who_was_joined_does_not(store: Storage) -> None:
    job = new_job(store)
    for _ in range(3):
        with store.writing() as connection:
            assert ledger.join_job(connection, job)
    with store.writing() as connection:
        assert not ledger.is_alone(connection, job)
        for _ in range(3):
            assert not ledger.cancel_if_alone(connection, job)
        logs = [e for e in ledger.read_events(connection, job, 0) if e.type == "log"]
    assert state_of(store, job) == "queued"
    assert len(logs) == 2, "one joined, one left: polling clients do not fill the log"


def test_the_last_to_leave_cancels(store: Storage) -> None:
    job = new_job(store)
    with store.writing() as connection:
        for flow in ("bat_1", "bat_2", "bat_1"):
            assert ledger.join_job(connection, job, flow=flow)
        assert not ledger.cancel_if_alone(connection, job, flow="bat_1")
        assert not ledger.cancel_if_alone(connection, job)
        assert not ledger.cancel_if_alone(connection, job, flow="bat_of_nobody")
        assert ledger.join_job(connection, job, flow="bat_1"), "back again"
        assert not ledger.cancel_if_alone(connection, job, flow="bat_2")
    assert state_of(store, job) == "queued"
    with store.writing() as connection:
        assert ledger.cancel_if_alone(connection, job, flow="bat_1")
    assert state_of(store, job) == "canceled"


def test_joining_and_leaving_at_once_never_cancels_under_somebody(store: Storage) -> None:
    for _ in range(8):
        job = new_job(store)
        start = threading.Barrier(2)
        found: dict[str, bool] = {}

        def run(name: str, job: str = job, start: threading.Barrier = start, found: dict[str, bool] = found) -> None:
            start.wait()
            with store.writing() as connection:
                do = ledger.join_job if name == "joined" else ledger.cancel_if_alone
                found[name] = do(connection, job)

        threads = [threading.Thread(target=run, args=(name,)) for name in ("joined", "canceled")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found["joined"] != found["canceled"]
        assert state_of(store, job) == ("canceled" if found["canceled"] else "queued")


def test_no_job_is_not_found(store: Storage) -> None:
    for call in (ledger.join_job, ledger.cancel_if_alone):
        with pytest.raises(NotFound), store.writing() as connection:
            call(connection, "job_0")


def test_a_text_no_database_keeps_is_no_defect(store: Storage) -> None:
    """PostgreSQL has no NUL in texts."""
    with pytest.raises((NotFound, Invalid)), store.reading() as connection:
        catalog.get_slide(connection, "sld_\x00")
