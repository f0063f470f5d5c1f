"""Who is said to work: by the ledger's own rule of who is late."""

from sqlalchemy import update

from intima.contracts.benchmark import UnitPlan
from intima.contracts.worker import WorkerReport
from intima.store import ledger, workers
from intima.store.storage import Storage
from intima.store.tables import units


def report_of(store: Storage) -> WorkerReport:
    with store.reading() as connection:
        return workers.read_workers(connection)


def start(store: Storage, owners: list[str], *, count: int = 3) -> list[ledger.Claim]:
    plans = [UnitPlan(key=f"u{n}", kind="trial", queue="training", payload={}) for n in range(count)]
    with store.writing() as connection:
        ledger.create_job(connection, kind="benchmark", units=plans, payload={}, result_url=None)
        claims = [ledger.claim_next(connection, owner=owner, queues=["training"], lease_s=30) for owner in owners]
    return [claim for claim in claims if claim is not None]


def test_nobody_works_on_nothing(store: Storage) -> None:
    report = report_of(store)
    assert report.workers == ()
    assert [(q.queue, q.ready, q.running, q.oldest_ready_s) for q in report.queues] == [
        ("inference", 0, 0, None),
        ("training", 0, 0, None),
    ]


def test_claims_are_listed_by_owner(store: Storage) -> None:
    start(store, ["b", "a", "b"], count=5)
    report = report_of(store)
    assert [(w.owner, [u.key for u in w.running], w.late) for w in report.workers] == [
        ("a", ["u1"], False),
        ("b", ["u0", "u2"], False),
    ]
    training = next(q for q in report.queues if q.queue == "training")
    assert (training.ready, training.running, training.waiting) == (2, 3, 0)
    assert training.oldest_ready_s is not None
    assert all(0 <= u.silent_s < 10 for w in report.workers for u in w.running if u.silent_s is not None)


def test_late_is_whose_lease_has_run_out_and_the_sweep_takes_exactly_these(store: Storage) -> None:
    held = start(store, ["quick", "slow"])
    with store.writing() as connection:
        lapsed = update(units).where(units.c.id == held[1].unit_id)
        connection.execute(lapsed.values(lease_until=0.0, beat_at=units.c.beat_at - 100))
    before = report_of(store)
    assert [(w.owner, w.late) for w in before.workers] == [("quick", False), ("slow", True)]
    assert (before.workers[1].silent_s or 0) >= 100
    with store.writing() as connection:
        assert ledger.expire_leases(connection) == 1
    assert [w.owner for w in report_of(store).workers] == ["quick"]


def test_a_heartbeat_makes_a_worker_heard(store: Storage) -> None:
    (claim,) = start(store, ["me"])
    with store.writing() as connection:
        connection.execute(update(units).values(beat_at=units.c.beat_at - 100))
        ledger.heartbeat(connection, claim, lease_s=30, fraction=0.25, message="step 1")
    (worker,) = report_of(store).workers
    assert worker.silent_s is not None
    assert worker.silent_s < 50
    assert (worker.running[0].fraction, worker.running[0].message) == (0.25, "step 1")
