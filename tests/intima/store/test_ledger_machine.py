"""The ledger under any order of claims, beats, ends, losses, cancels and retries, against a plain model of it."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from toy_jobs import final_events, plan, states, submit, view

from intima.store import ledger
from intima.store.ledger import Claim
from intima.store.storage import open_storage

GRAPH = {"a": (), "b": (), "c": ("a",), "d": ("a", "b"), "e": ("c", "d"), "f": (), "g": (), "h": ("g",)}
AFTER = {"g": ("b", "d", "f")}
ENDED = {"done", "failed", "skipped", "canceled"}
FINAL = {"succeeded", "failed", "canceled"}


class LedgerMachine(RuleBasedStateMachine):
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_storage(Path(self.folder.name), floor_bytes=0)
        self.holder: dict[str, int] = {}
        """Fence of the claim that holds each running unit, by the model."""
        self.results: dict[str, int] = {}
        self.finals: list[str] = []

    @initialize()
    def submit_job(self) -> None:
        self.job = submit(self.store, [plan(k, *needs, after=AFTER.get(k, ())) for k, needs in GRAPH.items()])

    @rule(target=claims)
    def claim(self) -> object:
        before = states(self.store, self.job)
        with self.store.writing() as conn:
            held = ledger.claim_next(conn, owner="me", queues=["training"], lease_s=3600)
        if held is None:
            assert "ready" not in before.values()
            return multiple()
        assert before[held.key] == "ready"
        assert 1 <= held.attempt <= 3
        assert all(before[n] == "done" for n in GRAPH[held.key])
        assert all(before[n] in ENDED for n in AFTER.get(held.key, ()))
        self.holder[held.key] = held.fence
        return held

    def holds(self, held: Claim) -> bool:
        return self.holder.get(held.key) == held.fence

    @rule(held=claims)
    def beat(self, held: Claim) -> None:
        with self.store.writing() as conn:
            answer = ledger.heartbeat(conn, held, lease_s=3600, fraction=0.5, message="x")
        canceling = view(self.store, self.job).state == "canceling"
        assert answer == (("cancel" if canceling else "go_on") if self.holds(held) else "lost")

    @rule(held=claims, n=st.integers(0, 9))
    def publish(self, held: Claim, n: int) -> None:
        canceling = view(self.store, self.job).state == "canceling"
        with self.store.writing() as conn:
            taken = ledger.publish(conn, held, result={"n": n})
        assert taken == (self.holds(held) and not canceling)
        if taken:
            self.results[held.key] = n
        self.let_go(held)

    @rule(held=claims, retryable=st.booleans())
    def fail(self, held: Claim, retryable: bool) -> None:
        with self.store.writing() as conn:
            state = ledger.fail_attempt(conn, held, code="x", message="x", retryable=retryable)
        assert (state is None) != self.holds(held)
        if state in {"ready", "failed"}:
            assert (state == "ready") == (retryable and held.attempt < 3)
        self.let_go(held)

    @rule(held=consumes(claims))
    def release(self, held: Claim) -> None:
        with self.store.writing() as conn:
            assert (ledger.release(conn, held) is None) != self.holds(held)
        self.let_go(held)

    @rule()
    def lose_all_workers(self) -> None:
        with self.store.writing() as conn:
            ledger.expire_owner(conn, "me")
            assert ledger.expire_leases(conn) == len(self.holder)
        self.holder.clear()

    @rule()
    def sweep(self) -> None:
        with self.store.writing() as conn:
            ledger.sweep(conn)

    @rule()
    def cancel(self) -> None:
        if view(self.store, self.job).state not in {"succeeded", "failed"}:
            with self.store.writing() as conn:
                ledger.cancel_job(conn, self.job)

    @rule()
    def retry(self) -> None:
        if view(self.store, self.job).state not in {"succeeded", "canceling"}:
            over = view(self.store, self.job).state in FINAL
            before = states(self.store, self.job)
            with self.store.writing() as conn:
                ledger.retry_job(conn, self.job)
            if over and any(before[n] != "done" for n in AFTER["g"]):
                for key in ("g", "h"):
                    self.results.pop(key, None)

    def let_go(self, held: Claim) -> None:
        if self.holds(held):
            del self.holder[held.key]

    @invariant()
    def the_rows_agree_with_the_model(self) -> None:
        if not hasattr(self, "job"):
            return
        now, job = states(self.store, self.job), view(self.store, self.job)
        assert {k for k, s in now.items() if s == "running"} == set(self.holder)
        with self.store.reading() as conn:
            stored = ledger.results_of(conn, self.job, list(GRAPH))
        assert {k: r["n"] for k, r in stored.items()} == self.results
        assert {k for k, s in now.items() if s == "done"} == set(self.results)
        for key, needs in GRAPH.items():
            dead = any(now[n] in {"failed", "skipped"} for n in needs)
            assert now[key] != "ready" or all(now[n] == "done" for n in needs)
            assert now[key] != "waiting" or not dead
            ended = all(now[n] in ENDED for n in AFTER.get(key, ()))
            assert now[key] not in {"ready", "running", "done"} or ended
            assert now[key] != "waiting" or not (ended and all(now[n] == "done" for n in needs))
        active = any(s in {"waiting", "ready", "running"} for s in now.values())
        assert active == (job.state not in FINAL)
        if job.state == "succeeded":
            assert set(now.values()) == {"done"}
        assert (job.state == "failed") == (job.error is not None)

    @invariant()
    def the_end_is_told_once_per_run(self) -> None:
        if hasattr(self, "job"):
            job = view(self.store, self.job)
            ends = final_events(self.store, self.job)
            assert len(ends) == job.attempt - (job.state not in FINAL)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


LedgerMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, suppress_health_check=list(HealthCheck)
)
TestLedgerMachine = LedgerMachine.TestCase
