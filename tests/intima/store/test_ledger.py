"""The ledger: every rule of a unit's life, on both databases."""

import threading
import time

import pytest
from sqlalchemy import update
from toy_jobs import diamond, final_events, plan, states, submit, view

from intima.contracts.benchmark import UnitPlan
from intima.errors import Conflict, Invalid, NotFound
from intima.store import ledger
from intima.store.ledger import Claim
from intima.store.storage import Storage
from intima.store.tables import units

BOTH = ("training", "inference")


def claim(
    storage: Storage, *, owner: str = "me", queues: tuple[str, ...] = BOTH, lease_s: float = 30.0
) -> Claim | None:
    with storage.writing() as conn:
        return ledger.claim_next(conn, owner=owner, queues=queues, lease_s=lease_s)


def must_claim(storage: Storage, *, owner: str = "me", lease_s: float = 30.0) -> Claim:
    claimed = claim(storage, owner=owner, lease_s=lease_s)
    assert claimed is not None
    return claimed


def publish(storage: Storage, held: Claim, **result: object) -> bool:
    with storage.writing() as conn:
        return ledger.publish(conn, held, result=result)


def fail(storage: Storage, held: Claim, *, retryable: bool = True) -> str | None:
    with storage.writing() as conn:
        return ledger.fail_attempt(conn, held, code="defect", message="bad luck", retryable=retryable)


def beat(storage: Storage, held: Claim, fraction: float = 0.0, message: str = "") -> str:
    with storage.writing() as conn:
        return ledger.heartbeat(conn, held, lease_s=30.0, fraction=fraction, message=message)


def cancel(storage: Storage, job: str) -> None:
    with storage.writing() as conn:
        ledger.cancel_job(conn, job)


def retry(storage: Storage, job: str) -> None:
    with storage.writing() as conn:
        ledger.retry_job(conn, job)


def sweep(storage: Storage, **options: object) -> list[str]:
    with storage.writing() as conn:
        return [r.unit_id for r in ledger.sweep(conn, **options)]  # type: ignore[arg-type]


def run_all(storage: Storage) -> list[str]:
    order = []
    while (held := claim(storage)) is not None:
        assert publish(storage, held, key=held.key)
        order.append(held.key)
    return order


def test_units_run_after_what_they_need_and_see_its_results(storage: Storage) -> None:
    job = submit(storage, diamond())
    assert view(storage, job).state == "queued"
    order = []
    while (held := claim(storage)) is not None:
        with storage.reading() as conn:
            assert ledger.results_of(conn, job, held.needs) == {k: {"key": k} for k in held.needs}
        publish(storage, held, key=held.key)
        order.append(held.key)
    assert order == ["a", "b", "m0", "m1", "m2", "end"]
    done = view(storage, job)
    assert (done.state, done.progress.done, done.progress.total, done.error) == ("succeeded", 6, 6, None)
    assert done.result == "/v1/toys/1"
    assert final_events(storage, job) == ["succeeded"]


def test_events_count_from_one_without_gaps(storage: Storage) -> None:
    job = submit(storage, diamond())
    run_all(storage)
    with storage.reading() as conn:
        events = ledger.read_events(conn, job, 0)
        assert [e.id for e in events] == list(range(1, len(events) + 1))
        assert ledger.read_events(conn, job, 5) == events[5:]
        assert [e.data["state"] for e in events if e.type == "state"] == ["queued", "running", "succeeded"]


def test_one_unit_has_one_holder(storage: Storage) -> None:
    submit(storage, [plan("a")])
    held = must_claim(storage)
    assert claim(storage, owner="other") is None
    with storage.writing() as conn:
        assert ledger.claim_unit(conn, held.unit_id, owner="other", lease_s=30) is None
        assert ledger.claim_unit(conn, "unit_" + "0" * 32, owner="other", lease_s=30) is None


def test_a_worker_takes_its_own_queues_only(storage: Storage) -> None:
    submit(storage, [plan("t"), plan("i", queue="inference", kind="segment")])
    with storage.reading() as conn:
        assert ledger.queue_depth(conn) == {"training": 1, "inference": 1}
    held = claim(storage, queues=("inference",))
    assert held is not None
    assert held.key == "i"
    assert claim(storage, queues=("inference",)) is None


def test_the_oldest_job_goes_first(storage: Storage) -> None:
    first = submit(storage, [plan("a"), plan("b")])
    time.sleep(0.01)
    submit(storage, [plan("c")])
    assert [must_claim(storage).key for _ in range(3)] == ["a", "b", "c"]
    assert view(storage, first).state == "running"


def test_a_result_is_taken_once(storage: Storage) -> None:
    job = submit(storage, [plan("a")])
    held = must_claim(storage)
    assert publish(storage, held, n=1)
    assert not publish(storage, held, n=2)
    assert fail(storage, held) is None
    assert beat(storage, held) == "lost"
    with storage.reading() as conn:
        assert ledger.results_of(conn, job, ["a"]) == {"a": {"n": 1}}


def test_a_worker_that_was_given_up_cannot_write(storage: Storage) -> None:
    job = submit(storage, [plan("a")])
    late = must_claim(storage, lease_s=-1.0)
    sweep(storage)
    current = must_claim(storage, owner="other")
    assert current.fence == late.fence + 1
    assert beat(storage, late) == "lost"
    assert not publish(storage, late, n="late")
    assert fail(storage, late) is None
    with storage.writing() as conn:
        assert ledger.release(conn, late) is None
    assert publish(storage, current, n="current")
    with storage.reading() as conn:
        assert ledger.results_of(conn, job, ["a"]) == {"a": {"n": "current"}}


def test_a_heartbeat_keeps_the_lease(storage: Storage) -> None:
    submit(storage, [plan("a")])
    held = must_claim(storage, lease_s=-1.0)
    assert beat(storage, held) == "go_on"
    sweep(storage)
    assert publish(storage, held)


def test_a_unit_is_tried_three_times_and_the_rest_goes_on(storage: Storage) -> None:
    job = submit(storage, [plan("bad"), plan("behind", "bad"), plan("further", "behind"), plan("good")])
    tries = 0
    while (held := claim(storage)) is not None:
        if held.key == "bad":
            tries += 1
            assert held.attempt == tries
            fail(storage, held)
        else:
            publish(storage, held)
    assert tries == ledger.UNIT_ATTEMPTS == 3
    assert states(storage, job) == {"bad": "failed", "behind": "skipped", "further": "skipped", "good": "done"}
    final = view(storage, job)
    assert final.state == "failed"
    assert final.error is not None
    assert (final.error.code, final.error.unit) == ("incomplete", "bad")
    assert "bad luck" in final.error.message
    assert "3 of 4" in final.error.message
    assert final.result is None
    assert final_events(storage, job) == ["failed"]


def test_a_job_of_one_unit_fails_with_that_units_code(storage: Storage) -> None:
    job = submit(storage, [plan("a")])
    assert fail(storage, must_claim(storage), retryable=False) == "failed"
    error = view(storage, job).error
    assert error is not None
    assert (error.code, error.message) == ("defect", "bad luck")


def test_silent_workers_use_up_attempts_too(storage: Storage) -> None:
    job = submit(storage, [plan("a")])
    for _ in range(3):
        must_claim(storage, lease_s=-1.0)
        sweep(storage)
    assert claim(storage) is None
    assert states(storage, job) == {"a": "failed"}
    error = view(storage, job).error
    assert error is not None
    assert error.code == "worker_lost"


def test_a_released_unit_does_not_lose_an_attempt(storage: Storage) -> None:
    submit(storage, [plan("a")])
    for _ in range(10):
        held = must_claim(storage)
        assert held.attempt == 1
        with storage.writing() as conn:
            assert ledger.release(conn, held) == "ready"


def test_cancel_stops_what_waits_at_once_and_what_runs_at_its_heartbeat(storage: Storage) -> None:
    job = submit(storage, [*diamond(), plan("other")])
    held = must_claim(storage)
    cancel(storage, job)
    cancel(storage, job)
    assert view(storage, job).state == "canceling"
    assert claim(storage) is None
    assert beat(storage, held) == "cancel"
    with storage.writing() as conn:
        assert ledger.release(conn, held) == "canceled"
    assert view(storage, job).state == "canceled"
    assert set(states(storage, job).values()) == {"canceled"}
    assert final_events(storage, job) == ["canceled"]
    cancel(storage, job)


def test_a_job_being_canceled_takes_no_results_and_no_retries(storage: Storage) -> None:
    job = submit(storage, [plan("a"), plan("b"), plan("c", "a")])
    first, second = must_claim(storage), must_claim(storage)
    cancel(storage, job)
    assert not publish(storage, first, n=1)
    assert view(storage, job).state == "canceling"
    assert fail(storage, second) == "canceled"
    assert view(storage, job).state == "canceled"
    with storage.reading() as conn:
        assert ledger.results_of(conn, job, ["a", "b"]) == {}


def test_a_canceled_unit_of_a_dead_worker_is_swept(storage: Storage) -> None:
    job = submit(storage, [plan("a")])
    must_claim(storage, lease_s=-1.0)
    cancel(storage, job)
    sweep(storage)
    assert view(storage, job).state == "canceled"


def test_a_queued_job_is_canceled_at_once(storage: Storage) -> None:
    job = submit(storage, diamond())
    cancel(storage, job)
    assert view(storage, job).state == "canceled"


def test_what_is_over_cannot_be_canceled(storage: Storage) -> None:
    job = submit(storage, [plan("a")])
    run_all(storage)
    with pytest.raises(Conflict):
        cancel(storage, job)


def test_retry_keeps_what_is_done(storage: Storage) -> None:
    job = submit(storage, [plan("good"), plan("bad"), plan("behind", "bad", "good")])
    assert publish(storage, must_claim(storage), n=1)
    fail(storage, must_claim(storage), retryable=False)
    assert view(storage, job).state == "failed"
    retry(storage, job)
    again = view(storage, job)
    assert (again.state, again.attempt, again.error, again.finished_at) == ("queued", 2, None, None)
    retry(storage, job)
    assert run_all(storage) == ["bad", "behind"]
    assert view(storage, job).state == "succeeded"
    assert final_events(storage, job) == ["failed", "succeeded"]
    with pytest.raises(Conflict):
        retry(storage, job)


def test_a_canceled_job_can_be_retried_but_not_while_it_ends(storage: Storage) -> None:
    job = submit(storage, [plan("a")])
    held = must_claim(storage)
    cancel(storage, job)
    with pytest.raises(Conflict):
        retry(storage, job)
    with storage.writing() as conn:
        ledger.release(conn, held)
    retry(storage, job)
    assert run_all(storage) == ["a"]


def test_advance_again_changes_nothing(storage: Storage) -> None:
    job = submit(storage, diamond())
    run_all(storage)
    with storage.reading() as conn:
        before = ledger.read_events(conn, job, 0)
    for _ in range(3):
        with storage.writing() as conn:
            ledger.advance(conn, job)
    with storage.reading() as conn:
        assert ledger.read_events(conn, job, 0) == before


def test_progress_is_told_when_it_changes(storage: Storage) -> None:
    job = submit(storage, [plan("a")])
    held = must_claim(storage)
    for fraction, message in [(0.0, ""), (0.5, "epoch 1\0"), (0.5, "epoch 1\0"), (7.0, "x" * 5000), (-1.0, "\ud800")]:
        beat(storage, held, fraction, message)
    with storage.reading() as conn:
        told = [e.data for e in ledger.read_events(conn, job, 0) if e.type == "progress"]
        unit = ledger.read_units(conn, job)[0]
    assert [t["fraction"] for t in told] == [0.5, 1.0, 0.0]
    assert told[0]["message"] == "epoch 1\N{REPLACEMENT CHARACTER}"
    assert len(str(told[1]["message"])) == 2000
    assert unit.message == "?"
    assert view(storage, job).progress.message == "a: ?"


def test_messages_are_sent_once_then_again_only_when_missing(storage: Storage) -> None:
    submit(storage, [plan("a"), plan("b"), plan("c", "a")])
    first = sweep(storage)
    assert len(first) == 2
    assert sweep(storage) == []
    assert sweep(storage, resend_after_s=-1.0, queued={"training": 2}) == []
    assert sweep(storage, resend_after_s=-1.0, queued={"training": 1}) == first[:1]
    assert sorted(sweep(storage, resend_after_s=-1.0, queued={})) == sorted(first)


def test_units_that_become_ready_are_returned_for_sending(storage: Storage) -> None:
    job = submit(storage, [plan("a"), plan("b", "a")])
    other = submit(storage, [plan("x")])
    with storage.writing() as conn:
        assert len(ledger.take_unsent(conn, job)) == 1
        assert ledger.take_unsent(conn, job) == ()
    publish(storage, must_claim(storage))
    with storage.writing() as conn:
        sent = ledger.take_unsent(conn, job)
        assert [ref.queue for ref in sent] == ["training"]
        assert len(ledger.take_unsent(conn)) == 1
    assert other


def test_owners_that_are_gone_lose_their_units(storage: Storage) -> None:
    job = submit(storage, [plan("a"), plan("b")])
    must_claim(storage, owner="gone")
    must_claim(storage, owner="alive")
    with storage.writing() as conn:
        assert ledger.running_owners(conn) == {"gone", "alive"}
        assert ledger.expire_owner(conn, "gone") == 1
    sweep(storage)
    assert states(storage, job) == {"a": "ready", "b": "running"}


@pytest.mark.parametrize(
    ("plans", "says"),
    [
        ([], "at least one"),
        ([plan("a"), plan("a")], "two units"),
        ([plan("a", "b")], "no unit"),
        ([plan("a", "a")], "need each other"),
        ([plan("a", "c"), plan("b", "a"), plan("c", "b")], "need each other"),
    ],
)
def test_a_plan_that_cannot_end_is_refused_whole(sqlite_storage: Storage, plans: list[UnitPlan], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        submit(sqlite_storage, plans)
    with sqlite_storage.reading() as conn:
        assert ledger.list_jobs(conn).items == ()


def test_an_unknown_job_is_not_found(storage: Storage) -> None:
    for ask in (ledger.read_job, ledger.cancel_job, ledger.retry_job, ledger.advance, ledger.job_payload):
        with pytest.raises(NotFound), storage.writing() as conn:
            ask(conn, "job_nowhere")


def test_times_are_told(storage: Storage) -> None:
    job = submit(storage, [plan("a")])
    time.sleep(0.05)
    assert view(storage, job).queued_s >= 0.04
    assert view(storage, job).running_s == 0.0
    held = must_claim(storage)
    time.sleep(0.05)
    publish(storage, held)
    done = view(storage, job)
    assert done.running_s >= 0.04
    assert done.finished_at is not None
    assert view(storage, job) == done


def test_a_thousand_units_are_planned_and_read_in_reasonable_time(sqlite_storage: Storage) -> None:
    started = time.monotonic()
    chain = [plan("t0"), *(plan(f"t{i}", f"t{i - 1}") for i in range(1, 200))]
    wide = [plan(f"f{i}", "t199") for i in range(800)]
    job = submit(sqlite_storage, [*chain, *wide, plan("collect", *(w.key for w in wide))])
    fail(sqlite_storage, must_claim(sqlite_storage), retryable=False)
    assert set(states(sqlite_storage, job).values()) == {"failed", "skipped"}
    assert time.monotonic() - started < 10


def test_two_last_units_published_together_end_the_job_once(storage: Storage) -> None:
    """Without the job's lock both transactions would see the other's unit unfinished (READ COMMITTED)."""
    for _ in range(5):
        job = submit(storage, [plan(k) for k in "abcd"])
        held = [must_claim(storage) for _ in range(4)]
        gate = threading.Barrier(4)

        def end(one: Claim, gate: threading.Barrier = gate) -> None:
            gate.wait()
            publish(storage, one)

        threads = [threading.Thread(target=end, args=(one,)) for one in held]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert view(storage, job).state == "succeeded"
        assert final_events(storage, job) == ["succeeded"]


def test_many_claimants_share_without_doubles(storage: Storage) -> None:
    job = submit(storage, [plan(f"u{i}") for i in range(30)])
    taken: list[str] = []

    def work(owner: str) -> None:
        while (held := claim(storage, owner=owner)) is not None:
            taken.append(held.key)
            publish(storage, held)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"u{i}" for i in range(30))
    assert view(storage, job).state == "succeeded"
    assert final_events(storage, job) == ["succeeded"]


def test_a_lease_is_measured_by_the_database(storage: Storage) -> None:
    submit(storage, [plan("a")])
    held = must_claim(storage, lease_s=0.2)
    assert sweep(storage) == []
    time.sleep(0.3)
    assert sweep(storage) == [held.unit_id]


def test_a_row_that_vanished_is_refused_and_not_a_crash(sqlite_storage: Storage) -> None:
    submit(sqlite_storage, [plan("a")])
    held = must_claim(sqlite_storage)
    with sqlite_storage.writing() as conn:
        conn.execute(update(units).values(state="failed"))
    assert not publish(sqlite_storage, held)
