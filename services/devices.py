"""Which GPU a unit may use: one unit at a time per GPU, over all workers of a machine.

A GPU is held by a lock on a file, which the system drops with the process that holds it, however that ends.
"""

import fcntl
import logging
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, TypeAlias

from intima.errors import Unavailable

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
"""auto: the GPUs of the machine where it has any, else the CPU; cuda: GPUs, or an error."""

FREE_MIB = 4096
"""A GPU with less free memory is left to whoever fills it."""
NO_GPU = ""
"""Value of CUDA_VISIBLE_DEVICES that hides every GPU."""

_QUERY = ("--query-gpu=uuid,memory.free", "--format=csv,noheader,nounits")
_LOOK_S = 0.5
_ASK_TIMEOUT_S = 20.0
_log = logging.getLogger("intima.devices")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as the driver shows it."""

    uuid: str
    free_mib: int


def list_gpus() -> tuple[Gpu, ...]:
    """Return the machine's GPUs; none where there is no driver.

    Raises:
        Unavailable: there is a driver and it does not answer.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        run = subprocess.run([program, *_QUERY], capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        raise Unavailable(f"The GPU driver does not answer: {error}", code="gpu_driver") from error
    return tuple(_parse(line) for line in run.stdout.splitlines() if line.strip())


def _parse(line: str) -> Gpu:
    uuid, _, free = line.partition(",")
    try:
        return Gpu(uuid.strip(), int(free))
    except ValueError as error:
        raise Unavailable(f"Got {line!r} of the GPU driver; need a UUID and free MiB.", code="gpu_driver") from error


def choose_gpus(device: Device) -> tuple[str, ...]:
    """Return the UUIDs of the GPUs to use; none means the CPU.

    Raises:
        Unavailable: GPUs are wanted and there are none, or the driver does not answer.
    """
    if device == "cpu":
        return ()
    found = tuple(gpu.uuid for gpu in list_gpus())
    if device == "cuda" and not found:
        raise Unavailable(
            "Got device 'cuda', but this machine shows no GPU.",
            code="no_gpu",
            hint="Set INTIMA_DEVICE to cpu or auto, or give the worker a GPU.",
        )
    return found


@contextmanager
def hold_gpu(gpus: Sequence[str], *, stop: threading.Event, free_mib: int = FREE_MIB) -> Iterator[str | None]:
    """Wait for one of these GPUs and hold it; yields its UUID, ``NO_GPU`` where none are given, null at the stop."""
    if not gpus:
        yield NO_GPU
        return
    held = _wait_for(gpus, stop=stop, free_mib=free_mib)
    if held is None:
        yield None
        return
    uuid, lock = held
    try:
        yield uuid
    finally:
        lock.close()


def _wait_for(gpus: Sequence[str], *, stop: threading.Event, free_mib: int) -> tuple[str, IO[bytes]] | None:
    told = False
    while not stop.is_set():
        free = {gpu.uuid: gpu.free_mib for gpu in list_gpus()}
        for uuid in gpus:
            lock = _try_lock(uuid)
            if lock is not None and free.get(uuid, 0) >= free_mib:
                return uuid, lock
            if lock is not None:
                lock.close()
        if not told:
            _log.info("waiting for a GPU of %s with %d MiB free; free now: %s", list(gpus), free_mib, free)
            told = True
        stop.wait(_LOOK_S)
    return None


def _try_lock(uuid: str) -> IO[bytes] | None:
    """Lock a GPU's file; null where another holds it. Any user of the machine may."""
    path = Path(tempfile.gettempdir()) / f"intima-{''.join(c for c in uuid if c.isalnum() or c == '-')}.lock"
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
