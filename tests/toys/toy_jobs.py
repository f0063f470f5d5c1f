"""Small jobs for the tests of ledger and runners, and how to wait for them."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Connection

from intima.contracts.benchmark import UnitPlan
from intima.contracts.job import JobEvent, JobView
from intima.store import ledger
from intima.store.storage import Storage
from services.messages import open_send

REPOSITORY = Path(__file__).resolve().parents[2]
TOYS = Path(__file__).resolve().parent


def plan(
    key: str, *needs: str, after: Sequence[str] = (), kind: str = "trial", queue: str = "training", **payload: object
) -> UnitPlan:
    edges = {"needs": needs, "after": after}
    return UnitPlan.model_validate({"key": key, "kind": kind, "queue": queue, "payload": {"n": 1} | payload} | edges)


def diamond(width: int = 3, **payload: object) -> list[UnitPlan]:
    """Two chained units, ``width`` behind them, one behind all: every total follows from the graph."""
    first = [plan("a", **payload), plan("b", "a", **payload)]
    middle = [plan(f"m{i}", "b", **(payload | {"n": i})) for i in range(width)]
    return [*first, *middle, plan("end", *(m.key for m in middle), kind="trial", **payload)]


def diamond_total(width: int = 3) -> int:
    return sum(i + 2 for i in range(width)) + 1


def submit(storage: Storage, units: list[UnitPlan], **options: object) -> str:
    with storage.writing() as conn:
        told = {"kind": "toy", "payload": {}, "result_url": "/v1/toys/1"} | options
        return ledger.create_job(conn, units=units, **told)  # type: ignore[arg-type]


def view(storage: Storage, job: str) -> JobView:
    with storage.reading() as conn:
        return ledger.read_job(conn, job)


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 30.0, what: str = "the condition") -> float:
    """Poll until a condition holds; return how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, f"{what} did not come true in {timeout_s} s"
        time.sleep(0.05)
    return time.monotonic() - started


def wait_final(storage: Storage, job: str, *, timeout_s: float = 30.0) -> JobView:
    final = {"succeeded", "failed", "canceled"}
    wait_until(lambda: view(storage, job).state in final, timeout_s=timeout_s, what="a final job")
    return view(storage, job)


def states(storage: Storage, job: str) -> dict[str, str]:
    with storage.reading() as conn:
        return {u.key: u.state for u in ledger.read_units(conn, job)}


def totals(storage: Storage, job: str) -> dict[str, int]:
    with storage.reading() as conn:
        keys = [u.key for u in ledger.read_units(conn, job)]
        return {k: int(r["total"]) for k, r in ledger.results_of(conn, job, keys).items()}


def final_events(storage: Storage, job: str) -> list[object]:
    with storage.reading() as conn:
        told = [e.data["state"] for e in all_events(conn, job) if e.type == "state"]
    return [s for s in told if s in {"succeeded", "failed", "canceled"}]


def all_events(conn: Connection, job: str) -> list[JobEvent]:
    found: list[JobEvent] = []
    while page := ledger.read_events(conn, job, found[-1].id if found else 0):
        found += page
    return found


def child_environment(**extra: str) -> dict[str, str]:
    """Return the environment of a process that shall find the code and the toys."""
    path = os.pathsep.join([str(REPOSITORY), str(TOYS)])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | extra


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def submit_and_send(storage: Storage, redis_url: str, units: list[UnitPlan], **options: object) -> str:
    """Submit a job and announce its ready units on Celery's queue, as the api does."""
    job = submit(storage, units, **options)
    with storage.writing() as conn:
        refs = ledger.take_unsent(conn, job)
    open_send("celery", redis_url=redis_url)(refs)
    return job


def lines(notes: Path) -> list[str]:
    return notes.read_text().splitlines() if notes.exists() else []


def noted_pid(notes: Path) -> int:
    return int(lines(notes)[0].rsplit(" ", 1)[1])


def make_overdue(storage: Storage) -> None:
    """Let an hour pass since the last messages were sent."""
    with storage.writing() as conn:
        conn.exec_driver_sql("UPDATE units SET sent_at = sent_at - 3600 WHERE sent_at IS NOT NULL")
