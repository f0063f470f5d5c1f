"""The ledger: every rule of a unit's life, on both databases."""

import threading
import time

import pytest
from sqlalchemy import update
from toy_jobs import diamond, final_events, plan, states, submit, view

from intima.contracts.benchmark import UnitPlan
from intima.errors import Conflict, Invalid, NotFound, Unavailable
from intima.store import ledger
from intima.store.ledger import Claim
from intima.store.storage import Storage
from intima.store.tables import units

BOTH = ("training", "inference")


def claim(store: Storage, *, owner: str = "me", queues: tuple[str, ...] = BOTH, lease_s: float = 30.0) -> Claim | None:
    with store.writing() as conn:
        return ledger.claim_next(conn, owner=owner, queues=queues, lease_s=lease_s)


def must_claim(store: Storage, *, owner: str = "me", lease_s: float = 30.0) -> Claim:
    claimed = claim(store, owner=owner, lease_s=lease_s)
    assert claimed is not None
    return claimed


def publish(store: Storage, held: Claim, **result: object) -> bool:
    with store.writing() as conn:
        return ledger.publish(conn, held, result=result)


def fail(store: Storage, held: Claim, *, retryable: bool = True) -> str | None:
    with store.writing() as conn:
        return ledger.fail_attempt(conn, held, code="defect", message="bad luck", retryable=retryable)


def beat(store: Storage, held: Claim, fraction: float = 0.0, message: str = "") -> str:
    with store.writing() as conn:
        return ledger.heartbeat(conn, held, lease_s=30.0, fraction=fraction, message=message)


def cancel(store: Storage, job: str) -> None:
    with store.writing() as conn:
        ledger.cancel_job(conn, job)


def retry(store: Storage, job: str) -> None:
    with store.writing() as conn:
        ledger.retry_job(conn, job)


def sweep(store: Storage, **options: object) -> list[str]:
    with store.writing() as conn:
        return [r.unit_id for r in ledger.sweep(conn, **options)]  # type: ignore[arg-type]


def run_all(store: Storage) -> list[str]:
    order = []
    while (held := claim(store)) is not None:
        assert publish(store, held, key=held.key)
        order.append(held.key)
    return order


def test_a_unit_sees_what_it_reads_behind_its_needs_also_when_its_job_is_retried(store: Storage) -> None:
    chain = [
        UnitPlan(
            key=f"s/trial{n}",
            kind="trial",
            queue="training",
            needs=(f"s/trial{n - 1}",) if n else (),
            payload={"reads": {"prefix": "s/trial", "count": n}},
        )
        for n in range(4)
    ]
    job = submit(store, chain)
    for number in (0, 1):
        held = must_claim(store)
        assert set(held.needs) == {f"s/trial{n}" for n in range(number)}
        publish(store, held, number=number)
    fail(store, must_claim(store), retryable=False)
    retry(store, job)
    for number in (2, 3):
        held = must_claim(store)
        with store.reading() as conn:
            seen = ledger.results_of(conn, job, held.needs)
        assert seen == {f"s/trial{n}": {"number": n} for n in range(number)}
        publish(store, held, number=number)
    assert view(store, job).state == "succeeded"


def test_units_run_after_what_they_need_and_see_its_results(store: Storage) -> None:
    job = submit(store, diamond())
    assert view(store, job).state == "queued"
    order = []
    while (held := claim(store)) is not None:
        with store.reading() as conn:
            assert ledger.results_of(conn, job, held.needs) == {k: {"key": k} for k in held.needs}
        publish(store, held, key=held.key)
        order.append(held.key)
    assert order == ["a", "b", "m0", "m1", "m2", "end"]
    done = view(store, job)
    assert (done.state, done.progress.done, done.progress.total, done.error) == ("succeeded", 6, 6, None)
    assert done.result == "/v1/toys/1"
    assert final_events(store, job) == ["succeeded"]


def test_events_count_from_one_without_gaps(store: Storage) -> None:
    job = submit(store, diamond())
    run_all(store)
    with store.reading() as conn:
        events = ledger.read_events(conn, job, 0)
        assert [e.id for e in events] == list(range(1, len(events) + 1))
        assert ledger.read_events(conn, job, 5) == events[5:]
        assert [e.data["state"] for e in events if e.type == "state"] == ["queued", "running", "succeeded"]


def test_one_unit_has_one_holder(store: Storage) -> None:
    submit(store, [plan("a")])
    held = must_claim(store)
    assert claim(store, owner="other") is None
    with store.writing() as conn:
        assert ledger.claim_unit(conn, held.unit_id, owner="other", lease_s=30) is None
        assert ledger.claim_unit(conn, "unit_" + "0" * 32, owner="other", lease_s=30) is None


def test_a_worker_takes_its_own_queues_only(store: Storage) -> None:
    submit(store, [plan("t"), plan("i", queue="inference", kind="segment")])
    with store.reading() as conn:
        assert ledger.queue_depth(conn) == {"training": 1, "inference": 1}
    held = claim(store, queues=("inference",))
    assert held is not None
    assert held.key == "i"
    assert claim(store, queues=("inference",)) is None


def test_the_oldest_job_goes_first(store: Storage) -> None:
    first = submit(store, [plan("a"), plan("b")])
    time.sleep(0.01)
    submit(store, [plan("c")])
    assert [must_claim(store).key for _ in range(3)] == ["a", "b", "c"]
    assert view(store, first).state == "running"


def test_a_benchmark_gives_way_to_what_someone_waits_for(store: Storage) -> None:
    folds = [plan(f"fold{i}", kind="fold") for i in range(40)]
    submit(store, folds, kind="benchmark")
    assert must_claim(store).key == "fold0"
    time.sleep(0.01)
    submit(store, [plan("segment", queue="inference", kind="segment")], kind="segmentation")
    submit(store, [plan("explain", kind="explain")], kind="explanation")
    assert [must_claim(store).key for _ in range(3)] == ["segment", "explain", "fold1"]


def test_a_result_is_taken_once(store: Storage) -> None:
    job = submit(store, [plan("a")])
    held = must_claim(store)
    assert publish(store, held, n=1)
    assert not publish(store, held, n=2)
    assert fail(store, held) is None
    assert beat(store, held) == "lost"
    with store.reading() as conn:
        assert ledger.results_of(conn, job, ["a"]) == {"a": {"n": 1}}


def test_a_worker_that_was_given_up_cannot_write(store: Storage) -> None:
    job = submit(store, [plan("a")])
    late = must_claim(store, lease_s=-1.0)
    sweep(store)
    current = must_claim(store, owner="other")
    assert current.fence == late.fence + 1
    assert beat(store, late) == "lost"
    assert not publish(store, late, n="late")
    assert fail(store, late) is None
    with store.writing() as conn:
        assert ledger.release(conn, late) is None
    assert publish(store, current, n="current")
    with store.reading() as conn:
        assert ledger.results_of(conn, job, ["a"]) == {"a": {"n": "current"}}


def test_a_heartbeat_keeps_the_lease(store: Storage) -> None:
    submit(store, [plan("a")])
    held = must_claim(store, lease_s=-1.0)
    assert beat(store, held) == "go_on"
    sweep(store)
    assert publish(store, held)


def test_a_unit_is_tried_three_times_and_the_rest_goes_on(store: Storage) -> None:
    job = submit(store, [plan("bad"), plan("behind", "bad"), plan("further", "behind"), plan("good")])
    tries = 0
    while (held := claim(store)) is not None:
        if held.key == "bad":
            tries += 1
            assert held.attempt == tries
            fail(store, held)
        else:
            publish(store, held)
    assert tries == ledger.UNIT_ATTEMPTS == 3
    assert states(store, job) == {"bad": "failed", "behind": "skipped", "further": "skipped", "good": "done"}
    final = view(store, job)
    assert final.state == "failed"
    assert final.error is not None
    assert (final.error.code, final.error.unit) == ("incomplete", "bad")
    assert "bad luck" in final.error.message
    assert "3 of 4" in final.error.message
    assert final.result is None
    assert final_events(store, job) == ["failed"]


def failing(store: Storage, *keys: str) -> list[str]:
    """Run everything; these units fail. Return the order of the runs."""
    order = []
    while (held := claim(store)) is not None:
        order.append(held.key)
        if held.key in keys:
            fail(store, held, retryable=False)
        else:
            assert publish(store, held, key=held.key)
    return order


WITH_TABLE = (
    plan("trial"), plan("a", "trial"), plan("b"), plan("c"),
    plan("table", after=("a", "b", "c")), plan("report", "table"),
)  # fmt: skip


def test_what_comes_after_a_unit_runs_once_that_has_ended_however_it_ended(store: Storage) -> None:
    job = submit(store, list(WITH_TABLE))
    assert failing(store, "trial", "b") == ["trial", "b", "c", "table", "report"]
    done = dict.fromkeys(("c", "table", "report"), "done")
    assert states(store, job) == done | {"trial": "failed", "a": "skipped", "b": "failed"}
    assert view(store, job).state == "failed"
    assert final_events(store, job) == ["failed"]
    with store.reading() as conn:
        found = ledger.failures_of(conn, job, ["a", "b", "c"])
    assert found == {"a": "need_failed: trial: defect: bad luck", "b": "defect: bad luck"}


def test_what_comes_after_several_waits_for_the_last_of_them(store: Storage) -> None:
    job = submit(store, [plan("bad"), plan("slow"), plan("end", after=("bad", "slow"))])
    fail(store, must_claim(store), retryable=False)
    held = must_claim(store)
    assert held.key == "slow"
    assert claim(store) is None
    assert fail(store, held) == "ready"
    assert states(store, job)["end"] == "waiting"
    assert publish(store, must_claim(store))
    assert must_claim(store).needs == ("bad", "slow")


def test_retry_runs_again_what_came_after_a_failure_and_what_read_it(store: Storage) -> None:
    job = submit(store, list(WITH_TABLE))
    failing(store, "trial")
    retry(store, job)
    assert states(store, job) | {"b": "done", "c": "done"} == states(store, job)
    with store.reading() as conn:
        assert set(ledger.results_of(conn, job, ["b", "c", "table", "report"])) == {"b", "c"}
        assert ledger.last_result(conn, job, "table") == {"key": "table"}
    assert failing(store) == ["trial", "a", "table", "report"]
    assert view(store, job).state == "succeeded"
    with store.reading() as conn:
        assert ledger.failures_of(conn, job, ["a", "b", "c"]) == {}


def test_a_retry_does_not_run_again_what_saw_everything(store: Storage) -> None:
    job = submit(store, [plan("bad"), plan("good"), plan("behind", "good"), plan("end", after=("good",))])
    failing(store, "bad")
    retry(store, job)
    assert failing(store) == ["bad"]
    assert view(store, job).state == "succeeded"


def test_cancel_stops_what_comes_after(store: Storage) -> None:
    job = submit(store, [plan("a"), plan("end", after=("a",))])
    held = must_claim(store)
    cancel(store, job)
    with store.writing() as conn:
        ledger.release(conn, held)
    assert set(states(store, job).values()) == {"canceled"}
    retry(store, job)
    assert failing(store) == ["a", "end"]


def test_the_last_two_to_end_make_what_comes_after_ready_once(postgresql_store: Storage) -> None:
    """Two workers end the last two units at the same moment; both must not miss that the other has ended."""
    store = postgresql_store
    for _ in range(10):
        job = submit(store, [plan("a"), plan("b"), plan("end", after=("a", "b"))])
        first, second = must_claim(store), must_claim(store)
        threads = [
            threading.Thread(target=fail, args=(store, first), kwargs={"retryable": False}),
            threading.Thread(target=publish, args=(store, second)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failing(store) == ["end"]
        assert view(store, job).state == "failed"


def test_a_job_of_one_unit_fails_with_that_units_code(store: Storage) -> None:
    job = submit(store, [plan("a")])
    assert fail(store, must_claim(store), retryable=False) == "failed"
    error = view(store, job).error
    assert error is not None
    assert (error.code, error.message) == ("defect", "bad luck")


def test_silent_workers_use_up_attempts_too(store: Storage) -> None:
    job = submit(store, [plan("a")])
    for _ in range(3):
        must_claim(store, lease_s=-1.0)
        sweep(store)
    assert claim(store) is None
    assert states(store, job) == {"a": "failed"}
    error = view(store, job).error
    assert error is not None
    assert error.code == "worker_lost"


def test_a_released_unit_does_not_lose_an_attempt(store: Storage) -> None:
    submit(store, [plan("a")])
    for _ in range(10):
        held = must_claim(store)
        assert held.attempt == 1
        with store.writing() as conn:
            assert ledger.release(conn, held) == "ready"


def test_cancel_stops_what_waits_at_once_and_what_runs_at_its_heartbeat(store: Storage) -> None:
    job = submit(store, [*diamond(), plan("other")])
    held = must_claim(store)
    cancel(store, job)
    cancel(store, job)
    assert view(store, job).state == "canceling"
    assert claim(store) is None
    assert beat(store, held) == "cancel"
    with store.writing() as conn:
        assert ledger.release(conn, held) == "canceled"
    assert view(store, job).state == "canceled"
    assert set(states(store, job).values()) == {"canceled"}
    assert final_events(store, job) == ["canceled"]
    cancel(store, job)


def test_a_job_being_canceled_takes_no_results_and_no_retries(store: Storage) -> None:
    job = submit(store, [plan("a"), plan("b"), plan("c", "a")])
    first, second = must_claim(store), must_claim(store)
    cancel(store, job)
    assert not publish(store, first, n=1)
    assert view(store, job).state == "canceling"
    assert fail(store, second) == "canceled"
    assert view(store, job).state == "canceled"
    with store.reading() as conn:
        assert ledger.results_of(conn, job, ["a", "b"]) == {}


def test_a_canceled_unit_of_a_dead_worker_is_swept(store: Storage) -> None:
    job = submit(store, [plan("a")])
    must_claim(store, lease_s=-1.0)
    cancel(store, job)
    sweep(store)
    assert view(store, job).state == "canceled"


def test_jobs_of_which_nothing_runs_show_what_they_wait_for(store: Storage) -> None:
    running = submit(store, [plan("a"), plan("b")])
    must_claim(store)
    waiting, other = submit(store, [plan("c")]), submit(store, [plan("d", queue="inference")])
    with store.writing() as conn:
        assert ledger.tell_waiting(conn, queue="training", message="waiting for a GPU") == 1
    assert [view(store, job).progress.message for job in (running, waiting, other)] == ["", "waiting for a GPU", ""]


def test_a_queued_job_is_canceled_at_once(store: Storage) -> None:
    job = submit(store, diamond())
    cancel(store, job)
    assert view(store, job).state == "canceled"


def test_what_is_over_cannot_be_canceled(store: Storage) -> None:
    job = submit(store, [plan("a")])
    run_all(store)
    with pytest.raises(Conflict):
        cancel(store, job)


def test_retry_keeps_what_is_done(store: Storage) -> None:
    job = submit(store, [plan("good"), plan("bad"), plan("behind", "bad", "good")])
    assert publish(store, must_claim(store), n=1)
    fail(store, must_claim(store), retryable=False)
    assert view(store, job).state == "failed"
    retry(store, job)
    again = view(store, job)
    assert (again.state, again.attempt, again.error, again.finished_at) == ("queued", 2, None, None)
    retry(store, job)
    assert run_all(store) == ["bad", "behind"]
    assert view(store, job).state == "succeeded"
    assert final_events(store, job) == ["failed", "succeeded"]
    with pytest.raises(Conflict):
        retry(store, job)


def test_a_canceled_job_can_be_retried_but_not_while_it_ends(store: Storage) -> None:
    job = submit(store, [plan("a")])
    held = must_claim(store)
    cancel(store, job)
    with pytest.raises(Conflict):
        retry(store, job)
    with store.writing() as conn:
        ledger.release(conn, held)
    retry(store, job)
    assert run_all(store) == ["a"]


def test_advance_again_changes_nothing(store: Storage) -> None:
    job = submit(store, diamond())
    run_all(store)
    with store.reading() as conn:
        before = ledger.read_events(conn, job, 0)
    for _ in range(3):
        with store.writing() as conn:
            ledger.advance(conn, job)
    with store.reading() as conn:
        assert ledger.read_events(conn, job, 0) == before


def let_time_pass(store: Storage, seconds: float) -> None:
    with store.writing() as conn:
        conn.execute(update(units).values(told_at=units.c.told_at - seconds))


def test_progress_is_told_when_it_changes(store: Storage) -> None:
    job = submit(store, [plan("a")])
    held = must_claim(store)
    for fraction, message in [(0.0, ""), (0.5, "epoch 1\0"), (0.5, "epoch 1\0"), (7.0, "x" * 5000), (-1.0, "\ud800")]:
        beat(store, held, fraction, message)
        let_time_pass(store, 31.0)
    with store.reading() as conn:
        told = [e.data for e in ledger.read_events(conn, job, 0) if e.type == "progress"]
        unit = ledger.read_units(conn, job)[0]
    assert [t["fraction"] for t in told] == [0.5, 1.0, 0.0]
    assert told[0]["message"] == "epoch 1\N{REPLACEMENT CHARACTER}"
    assert len(str(told[1]["message"])) == 2000
    assert unit.message == "?"
    assert view(store, job).progress.message == "a: ?"


def test_beats_in_quick_succession_are_one_event_and_the_newest_is_shown(store: Storage) -> None:
    job = submit(store, [plan("a"), plan("b")])
    for held in (must_claim(store), must_claim(store)):
        for step in range(1, 6):
            beat(store, held, step / 5, f"step {step}")
    fail(store, held)
    beat(store, must_claim(store), 0.3, "again")
    with store.reading() as conn:
        events = ledger.read_events(conn, job, 0)
    told = [(e.data["unit"], e.data["message"]) for e in events if e.type == "progress"]
    assert told == [("a", "step 1"), ("b", "step 1"), ("b", "again")]
    assert [e.data["state"] for e in events if e.type == "unit"] == ["running", "running", "ready", "running"]
    assert [e.id for e in events] == list(range(1, len(events) + 1))
    assert view(store, job).progress.message == "b: again"


def test_events_come_in_pages(store: Storage) -> None:
    job = submit(store, diamond())
    run_all(store)
    with store.reading() as conn:
        whole = ledger.read_events(conn, job, 0)
        first = ledger.read_events(conn, job, 0, limit=4)
        assert first + ledger.read_events(conn, job, first[-1].id) == whole


def test_trials_are_counted_by_study(store: Storage) -> None:
    keys = [f"{study}/trial{n}" for study in ("u2/f1", "a/f0") for n in range(11)]
    job = submit(store, [*map(plan, keys), plan("u2/f1/fold", kind="fold")])
    for _ in range(12):
        publish(store, must_claim(store))
    with store.reading() as conn:
        assert list(ledger.count_trials(conn, job).items()) == [("u2/f1", (11, 11)), ("a/f0", (11, 1))]
        assert ledger.unit_keys(conn, job, kinds=["trial"], states=["done"]) == tuple(keys[:12])
        assert ledger.unit_keys(conn, job, kinds=["fold", "fit"]) == ("u2/f1/fold",)


def test_the_best_trial_of_a_study_is_the_highest_value(store: Storage) -> None:
    keys = ["a/trial0", "a/trial1", "a/trial2", "b/trial0", "c/trial0"]
    job = submit(store, list(map(plan, keys)))
    for value in (0.25, None, 0.5, None):
        held = must_claim(store)
        with store.writing() as conn:
            assert ledger.publish(conn, held, result={"value": value})
    with store.reading() as conn:
        assert ledger.best_trials(conn, job) == {"a": 0.5}


def test_curves_of_an_attempt_go_with_its_result_or_the_next_attempt(store: Storage) -> None:
    def shown(job: str) -> object:
        with store.reading() as conn:
            return ledger.page_units(conn, job, kinds=["trial"], page_size=1, page_token="").items[0].live

    job = submit(store, [plan("a")])
    held = must_claim(store)
    with store.writing() as conn:
        ledger.heartbeat(conn, held, lease_s=30, fraction=0.1, message="", live={"losses": []})
    assert shown(job) == {"losses": []}
    fail(store, held)
    assert shown(job) == {"losses": []}
    held = must_claim(store)
    assert shown(job) is None
    with store.writing() as conn:
        ledger.heartbeat(conn, held, lease_s=30, fraction=0.1, message="", live={"curve": []})
    publish(store, held)
    assert shown(job) is None


def test_overviews_read_no_payload_and_no_result(sqlite_store: Storage) -> None:
    job = submit(sqlite_store, [plan("u/trial0")])
    publish(sqlite_store, must_claim(sqlite_store))
    with sqlite_store.writing() as conn:
        conn.exec_driver_sql("UPDATE units SET payload = 'no JSON', result = 'no JSON'")
    with sqlite_store.reading() as conn:
        assert [u.key for u in ledger.read_units(conn, job)] == ["u/trial0"]
        assert ledger.count_trials(conn, job) == {"u": (1, 1)}
        assert ledger.unit_keys(conn, job, kinds=["trial"]) == ("u/trial0",)


def test_messages_are_sent_once_then_again_only_when_missing(store: Storage) -> None:
    submit(store, [plan("a"), plan("b"), plan("c", "a")])
    first = sweep(store)
    assert len(first) == 2
    assert sweep(store) == []
    assert sweep(store, resend_after_s=-1.0, queued={"training": 2}) == []
    assert sweep(store, resend_after_s=-1.0, queued={"training": 1}) == first[:1]
    assert sorted(sweep(store, resend_after_s=-1.0, queued={})) == sorted(first)


def test_units_that_become_ready_are_returned_for_sending(store: Storage) -> None:
    job = submit(store, [plan("a"), plan("b", "a")])
    other = submit(store, [plan("x")])
    with store.writing() as conn:
        assert len(ledger.take_unsent(conn, job)) == 1
        assert ledger.take_unsent(conn, job) == ()
    publish(store, must_claim(store))
    with store.writing() as conn:
        sent = ledger.take_unsent(conn, job)
        assert [ref.queue for ref in sent] == ["training"]
        assert len(ledger.take_unsent(conn)) == 1
    assert other


def test_owners_that_are_gone_lose_their_units(store: Storage) -> None:
    job = submit(store, [plan("a"), plan("b")])
    must_claim(store, owner="gone")
    must_claim(store, owner="alive")
    with store.writing() as conn:
        assert ledger.running_owners(conn) == {"gone", "alive"}
        assert ledger.expire_owner(conn, "gone") == 1
    sweep(store)
    assert states(store, job) == {"a": "ready", "b": "running"}


@pytest.mark.parametrize(
    ("plans", "says"),
    [
        ([], "at least one"),
        ([plan("a"), plan("a")], "two units"),
        ([plan("a", "b")], "no unit"),
        ([plan("a", after=("b",))], "no unit"),
        ([plan("a", "a")], "need each other"),
        ([plan("a", "b"), plan("b", after=("a",))], "need each other"),
        ([plan("a", "c"), plan("b", "a"), plan("c", "b")], "need each other"),
    ],
)
def test_a_plan_that_cannot_end_is_refused_whole(sqlite_store: Storage, plans: list[UnitPlan], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        submit(sqlite_store, plans)
    with sqlite_store.reading() as conn:
        assert ledger.list_jobs(conn).items == ()


def test_an_unknown_job_is_not_found(store: Storage) -> None:
    for ask in (ledger.read_job, ledger.cancel_job, ledger.retry_job, ledger.advance, ledger.job_payload):
        with pytest.raises(NotFound), store.writing() as conn:
            ask(conn, "job_nowhere")


def test_times_are_told(store: Storage) -> None:
    job = submit(store, [plan("a")])
    time.sleep(0.05)
    assert view(store, job).queued_s >= 0.04
    assert view(store, job).running_s == 0.0
    held = must_claim(store)
    time.sleep(0.05)
    publish(store, held)
    done = view(store, job)
    assert done.running_s >= 0.04
    assert done.finished_at is not None
    assert view(store, job) == done


def test_a_thousand_units_are_planned_and_read_in_reasonable_time(sqlite_store: Storage) -> None:
    started = time.monotonic()
    chain = [plan("t0"), *(plan(f"t{i}", f"t{i - 1}") for i in range(1, 200))]
    wide = [plan(f"f{i}", "t199") for i in range(800)]
    job = submit(sqlite_store, [*chain, *wide, plan("collect", *(w.key for w in wide))])
    fail(sqlite_store, must_claim(sqlite_store), retryable=False)
    assert set(states(sqlite_store, job).values()) == {"failed", "skipped"}
    assert time.monotonic() - started < 10


def test_two_last_units_published_together_end_the_job_once(store: Storage) -> None:
    """Without the job's lock both transactions would see the other's unit unfinished (READ COMMITTED)."""
    for _ in range(5):
        job = submit(store, [plan(k) for k in "abcd"])
        held = [must_claim(store) for _ in range(4)]
        gate = threading.Barrier(4)

        def end(one: Claim, gate: threading.Barrier = gate) -> None:
            gate.wait()
            publish(store, one)

        threads = [threading.Thread(target=end, args=(one,)) for one in held]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert view(store, job).state == "succeeded"
        assert final_events(store, job) == ["succeeded"]


def test_many_claimants_share_without_doubles(store: Storage) -> None:
    job = submit(store, [plan(f"u{i}") for i in range(30)])
    taken: list[str] = []

    def work(owner: str) -> None:
        while (held := claim(store, owner=owner)) is not None:
            taken.append(held.key)
            publish(store, held)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"u{i}" for i in range(30))
    assert view(store, job).state == "succeeded"
    assert final_events(store, job) == ["succeeded"]


def test_a_lease_is_measured_by_the_database(store: Storage) -> None:
    submit(store, [plan("a")])
    held = must_claim(store, lease_s=0.2)
    assert sweep(store) == []
    time.sleep(0.3)
    assert sweep(store) == [held.unit_id]


def test_a_row_that_vanished_is_refused_and_not_a_crash(sqlite_store: Storage) -> None:
    submit(sqlite_store, [plan("a")])
    held = must_claim(sqlite_store)
    with sqlite_store.writing() as conn:
        conn.execute(update(units).values(state="failed"))
    assert not publish(sqlite_store, held)


def test_sweeps_claims_beats_and_losses_at_once_never_deadlock(store: Storage) -> None:
    jobs = [submit(store, [plan(f"u{i}") for i in range(12)], unit_attempts=1000) for _ in range(3)]
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            while (held := claim(store, owner=f"w{number}")) is not None:
                beat(store, held, 0.5, "x")
                publish(store, held)
                with store.writing() as conn:
                    ledger.take_unsent(conn, held.job_id)
        except Unavailable as error:
            errors.append(error)

    def disturb(number: int) -> None:
        try:
            for _ in range(15):
                with store.writing() as conn:
                    ledger.expire_owner(conn, f"w{number}")
                    ledger.sweep(conn, resend_after_s=-1.0)
        except Unavailable as error:
            errors.append(error)

    threads = [threading.Thread(target=f, args=(i,)) for i in range(3) for f in (work, disturb)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sweep(store)
    run_all(store)
    assert errors == []
    assert [view(store, job).state for job in jobs] == ["succeeded"] * 3


def test_the_time_left_follows_from_finished_units_of_the_kind(store: Storage) -> None:
    job = submit(store, [plan("a"), plan("b"), plan("c"), plan("end", kind="fold")])
    assert view(store, job).progress.eta_s is None
    first = must_claim(store)
    assert view(store, job).progress.eta_s is None
    publish(store, first)
    second = must_claim(store)
    beat(store, second, 0.75)
    with store.writing() as conn:
        conn.execute(update(units).where(units.c.key == "a").values(started_at=units.c.finished_at - 8.0))
    assert view(store, job).progress.eta_s == pytest.approx(8.0 * (0.25 + 1 + 1))
    must_claim(store)
    assert view(store, job).progress.eta_s == pytest.approx(8.0 * (0.25 + 1 + 1) / 2)


def test_a_sweep_waits_for_no_job_that_another_transaction_holds(postgresql_store: Storage) -> None:
    store = postgresql_store
    held_job, free_job = (submit(store, [plan("a")]) for _ in range(2))
    assert {must_claim(store, owner="gone").job_id, must_claim(store, owner="gone").job_id} == {held_job, free_job}
    with store.writing() as other:
        ledger.advance(other, held_job)
        with store.writing() as conn:
            conn.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
            assert ledger.expire_owner(conn, "gone") == 1
            assert ledger.expire_leases(conn) == 1
            ledger.sweep(conn)
    assert states(store, free_job) == {"a": "ready"}
    assert states(store, held_job) == {"a": "running"}
    with store.writing() as conn:
        assert ledger.expire_owner(conn, "gone") == 1
        assert ledger.expire_leases(conn) == 1
