"""GPUs are handed out one unit at a time, over processes; a driver stands in as a script, since no test has a GPU."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import types
from contextlib import contextmanager
from pathlib import Path

import pytest
from toy_jobs import TOYS, child_environment, lines, plan, submit, view, wait_final, wait_until

from intima.errors import Invalid, Unavailable
from intima.store.storage import Storage
from services import devices, runner
from services.child import check_gpu
from services.devices import NO_GPU, Gpu, choose_gpus, hold_gpu, list_gpus
from services.runner import Lane, _lanes, run_local

STOPPED = threading.Event()
STOPPED.set()


@pytest.fixture
def driver(tmp_path: Path, monkeypatch):
    """Install a script as nvidia-smi; returns what writes its answer. Locks lie in a folder of the test."""
    folder = tmp_path / "driver"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(folder))
    monkeypatch.setattr(devices, "_LOOK_S", 0.02)

    def answer(text: str, *, status: int = 0) -> None:
        (folder / "answer").write_text(text)
        script = folder / "nvidia-smi"
        script.write_text(f"#!/bin/sh\ncat {folder}/answer\nexit {status}\n")
        script.chmod(0o755)

    return answer


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_gpus() == ()
    assert choose_gpus("auto") == ()
    with pytest.raises(Unavailable, match="no GPU") as caught:
        choose_gpus("cuda")
    assert caught.value.code == "no_gpu"


def test_the_driver_is_believed_and_its_silence_is_an_error(driver):
    driver("GPU-aaa, 81559, 80000\nGPU-bbb, 81559, 100\n")
    assert list_gpus() == (Gpu("GPU-aaa", 81559, 80000), Gpu("GPU-bbb", 81559, 100))
    assert choose_gpus("cuda") == choose_gpus("auto") == ("GPU-aaa", "GPU-bbb")
    assert choose_gpus("cpu") == ()
    driver("No devices were found", status=6)
    with pytest.raises(Unavailable, match="does not answer"):
        choose_gpus("auto")
    driver("garbage\n")
    with pytest.raises(Unavailable, match="need a UUID"):
        list_gpus()


def test_two_holders_get_two_gpus_and_a_third_waits(driver):
    driver("GPU-a, 9500, 9000\nGPU-b, 9500, 9000\n")
    both = ("GPU-a", "GPU-b")
    with (
        hold_gpu(both, stop=threading.Event(), tell=print) as one,
        hold_gpu(both, stop=threading.Event(), tell=print) as two,
    ):
        assert {one, two} == set(both)
        with hold_gpu(both, stop=STOPPED, tell=print) as none:
            assert none is None
        got: list[str | None] = []

        def third() -> None:
            with hold_gpu(both, stop=threading.Event(), tell=print) as uuid:
                got.append(uuid)

        waiting = threading.Thread(target=third)
        waiting.start()
        waiting.join(0.2)
        assert got == []
    waiting.join(5)
    assert got[0] in both


def test_a_gpu_without_memory_is_left_alone(driver):
    driver("GPU-a, 9500, 500\nGPU-b, 9500, 9000\n")
    with hold_gpu(("GPU-a", "GPU-b"), stop=threading.Event(), tell=print) as held:
        assert held == "GPU-b"


def test_a_gpu_that_can_never_have_the_memory_is_not_chosen(driver, caplog):
    driver("GPU-a, 4096, 4000\nGPU-b, 2048, 2000\n")
    assert choose_gpus("auto") == ()
    assert "GPU-a with 4096 MiB" in caplog.text
    assert "the CPU" in caplog.text
    with pytest.raises(Unavailable, match="GPU-b with 2048 MiB") as caught:
        choose_gpus("cuda")
    assert caught.value.code == "gpu_too_small"
    driver("GPU-a, 4096, 4000\nGPU-c, 8192, 10\n")
    assert choose_gpus("auto") == choose_gpus("cuda") == ("GPU-c",)


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        ("GPU-a, 9500, 100\n", 0, "GPU-a: 100 of 9500 MiB free"),
        ("GPU-b, 9500, 9000\n", 0, "GPU-a: no longer shown"),
        ("GPU is lost\n", 15, "GPU-a: its driver does not answer"),
    ],
    ids=["full", "gone", "driver"],
)
def test_what_waits_in_vain_says_why_now_and_then(driver, monkeypatch, caplog, answer: str, status: int, reason: str):
    driver(answer, status=status)
    monkeypatch.setattr(devices, "_TELL_AFTER_S", 0.0)
    told: list[str] = []
    with _waiting_for("GPU-a", told):
        wait_until(lambda: bool(told), what="a word")
        time.sleep(0.3)
        assert len(told) == 1
    assert reason in told[0]
    assert [(r.levelname, reason in r.message) for r in caplog.records] == [("WARNING", True)]


def test_waiting_for_another_unit_is_told_and_no_warning(driver, monkeypatch, caplog):
    driver("GPU-a, 9500, 9000\n")
    monkeypatch.setattr(devices, "_TELL_AFTER_S", 0.0)
    told: list[str] = []
    with hold_gpu(("GPU-a",), stop=threading.Event(), tell=print), _waiting_for("GPU-a", told):
        wait_until(lambda: bool(told), what="a word")
    assert "in use by another unit" in told[0]
    assert caplog.records == []


@contextmanager
def _waiting_for(gpu: str, told: list[str]):
    stop = threading.Event()

    def wait() -> None:
        with hold_gpu((gpu,), stop=stop, tell=told.append) as held:
            assert held is None

    waiting = threading.Thread(target=wait)
    waiting.start()
    yield
    stop.set()
    waiting.join(5)


def test_a_job_shows_that_it_waits_for_a_gpu(driver, sqlite_store: Storage, monkeypatch):
    driver("GPU-a, 9500, 100\n")
    monkeypatch.setattr(devices, "_TELL_AFTER_S", 0.0)
    monkeypatch.setattr(runner, "prepare_children", lambda _modules: None)  # its socket would lie in the test's folder
    stop, job = threading.Event(), submit(sqlite_store, [plan("u")])
    options = {"queues": ["training"], "stop": stop, "device": "auto"}
    waiting = threading.Thread(target=run_local, args=(sqlite_store,), kwargs=options)
    waiting.start()
    try:
        wait_until(lambda: "100 of 9500 MiB" in view(sqlite_store, job).progress.message, what="a word")
        assert view(sqlite_store, job).state == "queued"
    finally:
        stop.set()
        waiting.join(10)


@pytest.fixture
def locks(monkeypatch):
    """A folder for lock files that any user may write to, as /tmp is; the test is not root in it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(folder))
    monkeypatch.setattr(devices, "list_gpus", lambda: (Gpu("GPU-a", 9500, 9000), Gpu("GPU-b", 9500, 9000)))
    user = os.geteuid()
    yield folder
    os.seteuid(user)
    shutil.rmtree(folder)


def _become_nobody() -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)


def test_a_lock_file_that_may_only_be_read_locks_too(locks: Path):
    (locks / "intima-GPU-a.lock").touch()
    (locks / "intima-GPU-a.lock").chmod(0o444)
    _become_nobody()
    with hold_gpu(("GPU-a",), stop=threading.Event(), tell=print) as held:
        assert held == "GPU-a"
        with hold_gpu(("GPU-a", "GPU-b"), stop=threading.Event(), tell=print) as other:
            assert other == "GPU-b"


def test_a_lock_file_that_cannot_be_opened_is_held_by_another_user(locks: Path, monkeypatch):
    (locks / "intima-GPU-a.lock").touch()
    (locks / "intima-GPU-a.lock").chmod(0o000)
    _become_nobody()
    (locks / "intima-GPU-b.lock").symlink_to(locks / "elsewhere")
    monkeypatch.setattr(devices, "_TELL_AFTER_S", 0.0)
    told: list[str] = []
    with _waiting_for("GPU-b", told):
        wait_until(lambda: bool(told), what="a word")
    assert "cannot be opened" in told[0]
    (locks / "intima-GPU-b.lock").unlink()
    with hold_gpu(("GPU-a", "GPU-b"), stop=threading.Event(), tell=print) as held:
        assert held == "GPU-b"


def test_a_lock_file_is_for_all_users_whatever_the_umask(locks: Path):
    before = os.umask(0o077)
    try:
        with hold_gpu(("GPU-a",), stop=threading.Event(), tell=print):
            assert (locks / "intima-GPU-a.lock").stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)


def test_a_killed_holder_gives_its_gpu_back(driver):
    driver("GPU-a, 9500, 9000\n")
    code = (
        "import sys, threading, time\nfrom services import devices\n"
        f"devices.tempfile.gettempdir = lambda: {devices.tempfile.gettempdir()!r}\n"
        "with devices.hold_gpu(('GPU-a',), stop=threading.Event(), tell=print) as uuid:\n"
        "    print(uuid, flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], env=child_environment(), stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "GPU-a"
    with hold_gpu(("GPU-a",), stop=STOPPED, tell=print) as held:
        assert held is None
    holder.kill()
    holder.communicate()
    with hold_gpu(("GPU-a",), stop=threading.Event(), tell=print) as held:
        assert held == "GPU-a"


def test_no_gpus_is_the_cpu():
    with hold_gpu((), stop=STOPPED, tell=print) as held:
        assert held == NO_GPU


def test_gpus_train_and_slots_do_the_rest():
    both = ("training", "inference")
    assert _lanes(both, gpus=(), slots=2) == [Lane(both, ()), Lane(both, ()), Lane(("inference",), ())]
    assert _lanes(("training",), gpus=(), slots=1) == [Lane(("training",), ())]
    on_gpus = [Lane(("training",), ("a",)), Lane(("training",), ("b",))]
    assert _lanes(both, gpus=("a", "b"), slots=1) == [*on_gpus, Lane(("inference",), ())]
    assert _lanes(("training",), gpus=("a", "b"), slots=4) == on_gpus
    assert _lanes(("inference",), gpus=("a",), slots=1) == [Lane(("inference",), ())]


def test_a_unit_sees_the_gpu_it_was_given_and_no_other(driver, sqlite_store: Storage, tmp_path: Path):
    """The runner is a process of its own: the fork server of this one may hold a torch that can use no GPU."""
    driver("GPU-a, 9500, 9000\nGPU-b, 9500, 9000\n")
    notes = tmp_path / "notes"
    jobs = [
        submit(sqlite_store, [plan(f"u{i}", kind="publish", queue=queue, notes=str(notes)) for i in range(4)])
        for queue in ("training", "inference")
    ]
    command = [sys.executable, str(TOYS / "toy_runner.py"), str(sqlite_store.data_dir), "1", "", "cuda"]
    runner = subprocess.Popen(command, env=child_environment(TMPDIR=str(tmp_path)))
    try:
        assert [wait_final(sqlite_store, job).state for job in jobs] == ["succeeded"] * 2
    finally:
        runner.terminate()
        assert runner.wait(20) == 0
    assert lines(notes).count("gpu=") == 4
    assert {line for line in lines(notes) if line != "gpu="} <= {"gpu=GPU-a", "gpu=GPU-b"}


def test_a_gpu_that_torch_cannot_use_is_an_error_and_not_a_slow_success(monkeypatch):
    unusable = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", unusable)
    with pytest.raises(Invalid, match="GPU-a") as caught:
        check_gpu("GPU-a")
    assert caught.value.code == "no_cuda"
    check_gpu(NO_GPU)
