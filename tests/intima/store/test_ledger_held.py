"""Jobs that another transaction holds: nobody waits for them who need not. PostgreSQL only; SQLite has one writer."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sqlalchemy import text
from toy_jobs import plan, states, submit

from intima.store import ledger
from intima.store._claims import is_silent
from intima.store.ledger import Claim
from intima.store.storage import Storage

LEASE_S = 30.0


@contextmanager
def held(storage: Storage, job: str) -> Iterator[None]:
    with storage.writing() as connection:
        connection.execute(text("SELECT id FROM jobs WHERE id = :job FOR UPDATE"), {"job": job})
        yield


def claim(storage: Storage, *, owner: str = "me") -> Claim | None:
    with storage.writing() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        return ledger.claim_next(connection, owner=owner, queues=["training"], lease_s=LEASE_S)


def test_a_claim_passes_over_a_job_that_is_held(postgresql_store: Storage) -> None:
    first, second = (submit(postgresql_store, [plan("a")]) for _ in range(2))
    with held(postgresql_store, first):
        found = claim(postgresql_store)
    assert found is not None
    assert found.job_id == second
    after = claim(postgresql_store)
    assert after is not None
    assert after.job_id == first, "passed over, not forgotten"


def test_a_claim_waits_where_every_job_is_held(postgresql_store: Storage) -> None:
    job = submit(postgresql_store, [plan("a")])
    with ThreadPoolExecutor(1) as pool:
        with held(postgresql_store, job):
            waiting = pool.submit(claim, postgresql_store)
            assert not threading.Event().wait(0.3)
            assert not waiting.done()
        found = waiting.result(10)
    assert found is not None
    assert found.job_id == job


def test_claims_at_once_get_a_unit_each(postgresql_store: Storage) -> None:
    jobs = [submit(postgresql_store, [plan(f"u{n}") for n in range(5)]) for _ in range(4)]
    with ThreadPoolExecutor(10) as pool:
        found = [c for c in pool.map(lambda n: claim(postgresql_store, owner=f"w{n}"), range(24)) if c is not None]
    assert len({c.unit_id for c in found}) == len(found) == 20
    assert {state for job in jobs for state in states(postgresql_store, job).values()} == {"running"}


def test_a_heartbeat_does_not_wait_for_its_job(postgresql_store: Storage) -> None:
    job = submit(postgresql_store, [plan("a")])
    mine = claim(postgresql_store)
    assert mine is not None
    with postgresql_store.writing() as connection:
        connection.execute(text("UPDATE units SET lease_until = 0"))
    with held(postgresql_store, job), postgresql_store.writing() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '1s'"))
        answer = ledger.heartbeat(connection, mine, lease_s=LEASE_S, fraction=0.5, message="half")
    assert answer == "go_on"
    with postgresql_store.writing() as connection:
        assert ledger.expire_leases(connection) == 0, "the lease was extended"
        ledger.cancel_job(connection, job)
    with held(postgresql_store, job), postgresql_store.writing() as connection:
        assert ledger.heartbeat(connection, mine, lease_s=LEASE_S, fraction=0.6, message="more") == "cancel"


def test_a_sweep_that_finds_all_messages_there_holds_no_job(postgresql_store: Storage) -> None:
    job = submit(postgresql_store, [plan("a")])
    with postgresql_store.writing() as connection:
        ledger.take_unsent(connection)
    with postgresql_store.writing() as sweeping:
        assert ledger.sweep(sweeping, queued={"training": 1}, resend_after_s=0.0) == ()
        with postgresql_store.writing() as other:
            query = "SELECT id FROM jobs WHERE id = :job FOR UPDATE NOWAIT"
            assert other.execute(text(query), {"job": job}).scalar() == job
    with postgresql_store.writing() as connection:
        (again,) = ledger.sweep(connection, queued={"training": 0}, resend_after_s=0.0)
    assert again.queue == "training"


def test_a_lease_that_was_renewed_after_the_sweep_looked_is_not_ended(postgresql_store: Storage) -> None:
    submit(postgresql_store, [plan("a")])
    with postgresql_store.writing() as connection:
        found = ledger.claim_next(connection, owner="me", queues=["training"], lease_s=-1)
    assert found is not None
    with postgresql_store.writing() as connection:
        assert is_silent(connection, found)
    with postgresql_store.writing() as connection:
        assert ledger.heartbeat(connection, found, lease_s=LEASE_S, fraction=0.5, message="") == "go_on"
    with postgresql_store.writing() as connection:
        assert not is_silent(connection, found)
        assert ledger.expire_leases(connection) == 0
