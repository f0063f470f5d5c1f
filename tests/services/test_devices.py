"""GPUs are handed out one unit at a time, over processes; a driver stands in as a script, since no test has a GPU."""

import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest
from toy_jobs import TOYS, child_environment, lines, plan, submit, wait_final

from intima.errors import Invalid, Unavailable
from intima.store.storage import Storage
from services import devices
from services.child import check_gpu
from services.devices import NO_GPU, choose_gpus, hold_gpu, list_gpus
from services.runner import Lane, _lanes

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
    driver("GPU-aaa, 80000\nGPU-bbb, 100\n")
    assert [(g.uuid, g.free_mib) for g in list_gpus()] == [("GPU-aaa", 80000), ("GPU-bbb", 100)]
    assert choose_gpus("cuda") == choose_gpus("auto") == ("GPU-aaa", "GPU-bbb")
    assert choose_gpus("cpu") == ()
    driver("No devices were found", status=6)
    with pytest.raises(Unavailable, match="does not answer"):
        choose_gpus("auto")
    driver("garbage\n")
    with pytest.raises(Unavailable, match="need a UUID"):
        list_gpus()


def test_two_holders_get_two_gpus_and_a_third_waits(driver):
    driver("GPU-a, 9000\nGPU-b, 9000\n")
    both = ("GPU-a", "GPU-b")
    with hold_gpu(both, stop=threading.Event()) as one, hold_gpu(both, stop=threading.Event()) as two:
        assert {one, two} == set(both)
        with hold_gpu(both, stop=STOPPED) as none:
            assert none is None
        got: list[str | None] = []

        def third() -> None:
            with hold_gpu(both, stop=threading.Event()) as uuid:
                got.append(uuid)

        waiting = threading.Thread(target=third)
        waiting.start()
        waiting.join(0.2)
        assert got == []
    waiting.join(5)
    assert got[0] in both


def test_a_gpu_without_memory_is_left_alone(driver):
    driver("GPU-a, 500\nGPU-b, 9000\n")
    with hold_gpu(("GPU-a", "GPU-b"), stop=threading.Event()) as held:
        assert held == "GPU-b"


def test_a_killed_holder_gives_its_gpu_back(driver):
    driver("GPU-a, 9000\n")
    code = (
        "import sys, threading, time\nfrom services import devices\n"
        f"devices.tempfile.gettempdir = lambda: {devices.tempfile.gettempdir()!r}\n"
        "with devices.hold_gpu(('GPU-a',), stop=threading.Event()) as uuid:\n"
        "    print(uuid, flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], env=child_environment(), stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "GPU-a"
    with hold_gpu(("GPU-a",), stop=STOPPED) as held:
        assert held is None
    holder.kill()
    holder.communicate()
    with hold_gpu(("GPU-a",), stop=threading.Event()) as held:
        assert held == "GPU-a"


def test_no_gpus_is_the_cpu():
    with hold_gpu((), stop=STOPPED) as held:
        assert held == NO_GPU


def test_gpus_train_and_slots_do_the_rest():
    both = ("training", "inference")
    assert _lanes(both, gpus=(), slots=2) == [Lane(both, ())] * 2
    on_gpus = [Lane(("training",), ("a",)), Lane(("training",), ("b",))]
    assert _lanes(both, gpus=("a", "b"), slots=1) == [*on_gpus, Lane(("inference",), ())]
    assert _lanes(("training",), gpus=("a", "b"), slots=4) == on_gpus
    assert _lanes(("inference",), gpus=("a",), slots=1) == [Lane(("inference",), ())]


def test_a_unit_sees_the_gpu_it_was_given_and_no_other(driver, sqlite_store: Storage, tmp_path: Path):
    """The runner is a process of its own: the fork server of this one may hold a torch that can use no GPU."""
    driver("GPU-a, 9000\nGPU-b, 9000\n")
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
