"""Which GPU a unit may use: one unit at a time per GPU, over all workers of a machine.

A GPU is held by a lock on a file, which the system drops with the process that holds it, however that ends.
"""

import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from intima.errors import Unavailable

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
"""auto: the GPUs of the machine where it has any, else the CPU; cuda: GPUs, or an error."""

FREE_MIB = 4096
"""A GPU with less free memory is left to whoever fills it."""
TOTAL_MIB = FREE_MIB + 1024
"""A smaller GPU is never used: driver and display hold some of its memory, so FREE_MIB might never be free."""
NO_GPU = ""
"""Value of CUDA_VISIBLE_DEVICES that hides every GPU."""

_QUERY = ("--query-gpu=uuid,memory.total,memory.free", "--format=csv,noheader,nounits")
_LOOK_S = 0.5
_TELL_AFTER_S = 5.0
_TELL_EVERY_S = 60.0
_ASK_TIMEOUT_S = 20.0
_BUSY = "in use by another unit"
_log = logging.getLogger("intima.devices")

Tell: TypeAlias = Callable[[str], None]
"""Told now and then why a unit still waits for a GPU."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as the driver shows it."""

    uuid: str
    total_mib: int
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
    try:
        uuid, total, free = line.split(",")
        return Gpu(uuid.strip(), int(total), int(free))
    except ValueError as error:
        raise Unavailable(
            f"Got {line!r} of the GPU driver; need a UUID, total MiB and free MiB.", code="gpu_driver"
        ) from error


def choose_gpus(device: Device) -> tuple[str, ...]:
    """Return the UUIDs of the GPUs that are large enough to train on; none means the CPU.

    Raises:
        Unavailable: GPUs are wanted and there are none, or only small ones, or the driver does not answer.
    """
    if device == "cpu":
        return ()
    found = list_gpus()
    large = tuple(gpu.uuid for gpu in found if gpu.total_mib >= TOTAL_MIB)
    small = ", ".join(f"{gpu.uuid} with {gpu.total_mib} MiB" for gpu in found if gpu.total_mib < TOTAL_MIB)
    if device == "cuda" and not large:
        raise _no_gpu(small)
    if small:
        _log.warning(
            "GPUs below %d MiB are not used: %s. Training runs on %s.",
            TOTAL_MIB,
            small,
            ", ".join(large) or "the CPU",
        )
    return large


def _no_gpu(small: str) -> Unavailable:
    hint = "Set INTIMA_DEVICE to cpu or auto, or give the worker a GPU."
    if not small:
        return Unavailable("Got device 'cuda', but this machine shows no GPU.", code="no_gpu", hint=hint)
    return Unavailable(
        f"Got device 'cuda' and only small GPUs: {small}; need {TOTAL_MIB} MiB.", code="gpu_too_small", hint=hint
    )


@contextmanager
def hold_gpu(
    gpus: Sequence[str], *, stop: threading.Event, tell: Tell, free_mib: int = FREE_MIB
) -> Iterator[str | None]:
    """Wait for one of these GPUs and hold it; yields its UUID, ``NO_GPU`` where none are given, null at the stop."""
    if not gpus:
        yield NO_GPU
        return
    held = _wait_for(gpus, stop=stop, tell=tell, free_mib=free_mib)
    if held is None:
        yield None
        return
    uuid, lock = held
    try:
        yield uuid
    finally:
        os.close(lock)


def _wait_for(gpus: Sequence[str], *, stop: threading.Event, tell: Tell, free_mib: int) -> tuple[str, int] | None:
    """Return a GPU with the descriptor of its lock, null at the stop; say at a bounded rate what it waits for."""
    tell_at = time.monotonic() + _TELL_AFTER_S
    while not stop.is_set():
        seen, unseen = _look()
        refused: dict[str, str] = {}
        for uuid in gpus:
            taken = _take(uuid, seen.get(uuid), free_mib=free_mib, unseen=unseen)
            if isinstance(taken, int):
                return uuid, taken
            refused[uuid] = taken
        if time.monotonic() >= tell_at:
            tell_at = time.monotonic() + _TELL_EVERY_S
            _say(refused, free_mib=free_mib, tell=tell)
        stop.wait(_LOOK_S)
    return None


def _look() -> tuple[Mapping[str, Gpu], str]:
    """Return the GPUs that the driver shows, and what is to be said of one that it does not."""
    try:
        return {gpu.uuid: gpu for gpu in list_gpus()}, "no longer shown by the driver"
    except Unavailable:
        return {}, "its driver does not answer"


def _take(uuid: str, gpu: Gpu | None, *, free_mib: int, unseen: str) -> int | str:
    """Return the descriptor of a GPU's lock, or why the GPU cannot be had."""
    lock = _lock(uuid)
    if isinstance(lock, str) or (gpu is not None and gpu.free_mib >= free_mib):
        return lock
    os.close(lock)
    return unseen if gpu is None else f"{gpu.free_mib} of {gpu.total_mib} MiB free"


def _say(refused: Mapping[str, str], *, free_mib: int, tell: Tell) -> None:
    reasons = "; ".join(f"{uuid}: {reason}" for uuid, reason in refused.items())
    message = f"waiting for a GPU with {free_mib} MiB free: {reasons}"
    _log.log(logging.INFO if set(refused.values()) == {_BUSY} else logging.WARNING, message)
    tell(message)


def _lock(uuid: str) -> int | str:
    """Lock a GPU's file and return its descriptor, or why that cannot be. Any user of the machine may.

    What another user does not let this one open counts as held.
    """
    path = Path(tempfile.gettempdir()) / f"intima-{''.join(c for c in uuid if c.isalnum() or c == '-')}.lock"
    try:
        descriptor = _open_shared(path)
    except OSError as error:
        return f"its lock file cannot be opened ({error.strerror})"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return _BUSY if isinstance(error, BlockingIOError) else f"cannot be locked ({error.strerror})"
    return descriptor


def _open_shared(path: Path) -> int:
    """Open a file that all users share, made where it is not there; reading is enough to lock it.

    One that exists is opened without O_CREAT: Linux may refuse that on another user's file in a sticky folder
    (fs.protected_regular).
    """
    safely = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | safely, 0o666)
    except FileExistsError:
        with suppress(PermissionError):
            return os.open(path, os.O_RDWR | safely)
        return os.open(path, os.O_RDONLY | safely)
    os.fchmod(descriptor, 0o666)  # whatever the umask
    return descriptor
