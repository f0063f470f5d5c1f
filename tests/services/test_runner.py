"""The local runner with toy units: real child processes, real kills."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

import pytest
from toy_jobs import (
    TOYS,
    child_environment,
    diamond,
    diamond_total,
    final_events,
    is_alive,
    plan,
    python,
    states,
    submit,
    totals,
    wait_final,
    wait_until,
)
from toy_units_of import HANDLERS

from intima.store import ledger
from intima.store.ledger import UnitRef
from intima.store.storage import Storage, open_storage
from services import runner
from services.runner import Pace, execute_claim, identity, is_gone, run_local

PACE = Pace(lease_s=5.0, beat_s=0.3, grace_s=0.5, poll_s=0.05, sweep_s=0.3)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = open_storage(tmp_path / "data", floor_bytes=0)
    yield opened
    opened.close()


@contextmanager
def local_runner(
    storage: Storage, *, slots: int = 2, handlers: Mapping[str, str] = HANDLERS, pace: Pace = PACE
) -> Iterator[None]:
    """The runner inside this process, as a thread."""
    stop = threading.Event()
    options = {"slots": slots, "stop": stop, "handlers": handlers, "preload": ["toy_units"], "pace": pace}
    thread = threading.Thread(target=run_local, args=(storage,), kwargs=options)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def start_runner(storage: Storage) -> subprocess.Popen[bytes]:
    """The runner as a process of its own, to be killed."""
    command = python(str(TOYS / "toy_runner.py"), str(storage.data_dir))
    return subprocess.Popen(command, env=child_environment(), start_new_session=True)


def pids_in(notes: Path) -> list[int]:
    return [int(line.rsplit(" ", 1)[1]) for line in notes.read_text().splitlines()] if notes.exists() else []


def test_a_graph_of_units_gives_what_the_graph_says(storage: Storage) -> None:
    with local_runner(storage):
        job = submit(storage, diamond())
        assert wait_final(storage, job).state == "succeeded"
    assert totals(storage, job)["end"] == diamond_total()
    with storage.reading() as conn:
        blob = ledger.results_of(conn, job, ["end"])["end"]["blob"]
    assert storage.blobs.read(blob) == f"end={diamond_total()}".encode()


@pytest.mark.parametrize(
    ("how", "attempts", "code"),
    [
        ("kill", 3, "killed: The unit's process was ended by SIGKILL"),
        ("exit", 3, "exited: The unit's process exited with status 7"),
        ("memory", 3, "out_of_memory"),
        ("unavailable", 3, "unavailable: The disk is away."),
        ("nan", 3, "defect: ValueError: Out of range float"),
        ("luck", 3, "defect: ValueError: bad \N{REPLACEMENT CHARACTER} luck luck"),
        ("invalid", 1, "pixel_size_missing: Got a slide without a pixel size"),
    ],
)
def test_a_poison_unit_fails_after_its_attempts_and_the_rest_goes_on(
    storage: Storage, tmp_path: Path, how: str, attempts: int, code: str
) -> None:
    notes = tmp_path / "notes"
    poison = plan("poison", kind="fold", how=how, notes=str(notes))
    with local_runner(storage):
        job = submit(storage, [poison, plan("behind", "poison"), *diamond()])
        wait_final(storage, job)
    assert notes.read_text().splitlines() == [f"poison attempt {n + 1}" for n in range(attempts)]
    assert states(storage, job) == {"poison": "failed", "behind": "skipped"} | dict.fromkeys(
        ("a", "b", "m0", "m1", "m2", "end"), "done"
    )
    with storage.reading() as conn:
        error = ledger.read_units(conn, job)[0].error
    assert error is not None
    assert error.startswith(code)


def test_an_outage_that_is_nobodys_fault_is_waited_out(storage: Storage, tmp_path: Path) -> None:
    """Five attempts that cannot reach the bucket, where three failures end a unit: they do not count."""
    notes = tmp_path / "notes"
    with local_runner(storage):
        job = submit(storage, [plan("far", kind="fold", how="outage", notes=str(notes))])
        assert wait_final(storage, job).state == "succeeded"
    assert notes.read_text().splitlines() == ["far attempt 1"] * 6
    with storage.reading() as conn:
        assert ledger.read_units(conn, job)[0].attempt == 1


def test_a_second_attempt_may_succeed(storage: Storage) -> None:
    with local_runner(storage):
        job = submit(storage, [plan("once", kind="fold", how="once")])
        assert wait_final(storage, job).state == "succeeded"
    with storage.reading() as conn:
        unit = ledger.read_units(conn, job)[0]
    assert (unit.attempt, unit.error) == (2, None)


def test_a_kind_nobody_can_do_fails_at_once(storage: Storage) -> None:
    with local_runner(storage, handlers={"trial": "toy_units:add"}):
        job = submit(storage, [plan("x", kind="publish")])
        error = wait_final(storage, job).error
    assert error is not None
    assert error.code == "unknown_kind"


def test_a_handler_that_cannot_be_imported_fails_its_unit_only(storage: Storage) -> None:
    with local_runner(storage, handlers=dict(HANDLERS) | {"fold": "no_such_module:run"}):
        job = submit(storage, [plan("x", kind="fold"), plan("y")])
        wait_final(storage, job)
    assert states(storage, job) == {"x": "failed", "y": "done"}


def test_cancel_ends_the_child_within_five_seconds(storage: Storage, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with local_runner(storage):
        job = submit(storage, [plan("long", kind="fit", sleep_s=60, notes=str(notes)), plan("after", "long")])
        wait_until(lambda: bool(pids_in(notes)), what="the child")
        pid = pids_in(notes)[0]
        with storage.writing() as conn:
            ledger.cancel_job(conn, job)
        assert wait_until(lambda: not is_alive(pid)) < 5
        assert wait_final(storage, job, timeout_s=5).state == "canceled"
    assert final_events(storage, job) == ["canceled"]


def test_progress_reaches_the_job(storage: Storage) -> None:
    with local_runner(storage):
        job = submit(storage, [plan("long", kind="fit", sleep_s=1.5)])
        wait_final(storage, job)
    with storage.reading() as conn:
        told = [e.data for e in ledger.read_events(conn, job, 0) if e.type == "progress"]
    fractions = [float(str(t["fraction"])) for t in told]
    assert fractions == sorted(fractions)
    assert len(fractions) >= 1
    assert "step" in str(told[-1]["message"])


def test_a_segmentation_does_not_wait_for_slots_that_train(storage: Storage, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with local_runner(storage, slots=1):
        training = submit(storage, [plan(f"long{i}", kind="fit", sleep_s=60, notes=str(notes)) for i in range(3)])
        wait_until(lambda: bool(pids_in(notes)), what="the child")
        asked = submit(storage, [plan("asked", queue="inference")])
        assert wait_final(storage, asked).state == "succeeded"
    assert list(states(storage, training).values()) == ["ready"] * 3


def test_a_stopped_runner_gives_its_units_back_untried(storage: Storage, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with local_runner(storage):
        job = submit(storage, [plan("long", kind="fit", sleep_s=60, notes=str(notes))])
        wait_until(lambda: bool(pids_in(notes)), what="the child")
    with storage.reading() as conn:
        unit = ledger.read_units(conn, job)[0]
    assert (unit.state, unit.attempt) == ("ready", 0)
    assert not is_alive(pids_in(notes)[0])


def test_kill_9_of_the_runner_ends_its_children_and_a_new_runner_finishes(storage: Storage, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    job = submit(storage, [plan("a"), plan("long", "a", kind="fit", sleep_s=2, notes=str(notes)), plan("z", "long")])
    first = start_runner(storage)
    wait_until(lambda: bool(pids_in(notes)), what="the child")
    first.kill()
    first.wait()
    assert wait_until(lambda: not is_alive(pids_in(notes)[0])) < 2
    second = start_runner(storage)
    try:
        assert wait_final(storage, job).state == "succeeded"
    finally:
        second.terminate()
        assert second.wait(10) == 0
    assert len(pids_in(notes)) == 2
    with storage.reading() as conn:
        attempts = [u.attempt for u in ledger.read_units(conn, job)]
    assert attempts == [1, 2, 1]
    assert totals(storage, job)["z"] == 2
    assert final_events(storage, job) == ["succeeded"]


def test_a_runner_that_lost_its_lease_kills_the_child_and_publishes_nothing(storage: Storage, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    job = submit(storage, [plan("long", kind="fit", sleep_s=60, notes=str(notes))])
    with storage.writing() as conn:
        claim = ledger.claim_next(conn, owner=identity(), queues=["training"], lease_s=30)
    assert claim is not None
    outcomes: list[str] = []
    options = {"handlers": HANDLERS, "pace": PACE}
    thread = threading.Thread(target=lambda: outcomes.append(execute_claim(storage, claim, **options)))  # type: ignore[arg-type]
    thread.start()
    wait_until(lambda: bool(pids_in(notes)), what="the child")
    with storage.writing() as conn:
        ledger.expire_owner(conn, identity())
        ledger.expire_leases(conn)
        assert ledger.claim_unit(conn, claim.unit_id, owner="other", lease_s=30) is not None
    thread.join(10)
    assert outcomes == ["lost"]
    assert not is_alive(pids_in(notes)[0])
    assert states(storage, job) == {"long": "running"}


def test_ready_units_are_announced_after_the_commit(storage: Storage) -> None:
    job = submit(storage, [plan("a"), plan("b", "a"), plan("c", "a"), plan("d", "b", "c")])
    sent: list[UnitRef] = []

    def send(refs: object) -> None:
        with storage.reading() as conn:
            assert ledger.read_units(conn, job)[0].state == "done"
        sent.extend(refs)  # type: ignore[call-overload]

    with storage.writing() as conn:
        (first,) = ledger.take_unsent(conn, job)
        claim = ledger.claim_unit(conn, first.unit_id, owner="me", lease_s=30)
    assert claim is not None
    assert execute_claim(storage, claim, handlers=HANDLERS, send=send, pace=PACE) == "done"
    assert len(sent) == 2


def test_a_dead_fork_server_costs_one_attempt(storage: Storage) -> None:
    patient = replace(PACE, lease_s=60.0)  # the new server imports while the unit is claimed, on however busy a machine
    with local_runner(storage, slots=1, pace=patient):
        wait_final(storage, submit(storage, [plan("warm")]))
        server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        os.kill(server, signal.SIGKILL)
        job = submit(storage, [plan("a"), plan("b", "a")])
        assert wait_final(storage, job).state == "succeeded"
    with storage.reading() as conn:
        assert ledger.read_units(conn, job)[0].attempt <= 2


def test_a_runner_outlives_errors_of_its_own_steps(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    honest = ledger.claim_next

    def flaky(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls <= 2:
            raise RuntimeError("flaky")
        return honest(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(runner.ledger, "claim_next", flaky)
    with local_runner(storage, slots=1):
        job = submit(storage, [plan("a")])
        assert wait_final(storage, job).state == "succeeded"
    assert calls > 2


def test_the_module_runs_as_a_command_and_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time;"
        "p = subprocess.Popen([sys.executable, '-m', 'services.runner', '--with-parent', '--queues', 'inference']);"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    environment = child_environment(INTIMA_DATA=str(tmp_path / "data"), INTIMA_SLOTS="1")
    parent = subprocess.Popen(python("-c", code), env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    wait_until((tmp_path / "data" / "intima.db").exists, what="the database")
    parent.kill()
    parent.communicate()
    wait_until(lambda: not is_alive(pid), timeout_s=10, what="the end of the runner")


def test_owners_are_told_apart() -> None:
    mine = identity()
    assert mine == identity()
    assert not is_gone(mine)
    place, pid, started = mine.rsplit("/", 2)
    assert is_gone(f"{place}/{pid}/{int(started) + 1}"), "a reused process id"
    assert not is_gone(f"elsewhere/{pid}/1"), "another machine's processes cannot be judged"
    assert not is_gone("other/0123/0")
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert is_gone(f"{place}/{ended.pid}/1")


def children() -> list[str]:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


def test_children_leave_nothing_behind(storage: Storage) -> None:
    before = set(children())
    with local_runner(storage):
        job = submit(storage, [plan("k", kind="fold", how="kill"), *diamond()])
        wait_final(storage, job)
    assert list((storage.data_dir / "blobs" / "aside").glob("*")) == []
    time.sleep(0.2)
    commands = [Path(f"/proc/{c}/cmdline").read_text() for c in set(children()) - before if is_alive(int(c))]
    assert [c for c in commands if "forkserver" not in c and "resource_tracker" not in c] == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
