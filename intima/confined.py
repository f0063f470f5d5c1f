"""Run a task in a child process with limits, which may die without harm.

The child has limits on memory, CPU time, open files and file size, no core dump, and a wall clock. It answers in JSON,
so a child that was taken over cannot run code here. macOS does not enforce the memory limit and Windows has no limits
at all: there the wall clock is the only bound.
"""

import json
import multiprocessing
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from intima.arrays import Json

if sys.platform != "win32":
    import resource

_MAX_ANSWER_BYTES = 4 * 2**20

StartMethod = Literal["forkserver", "spawn"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one task may use."""

    memory_bytes: int = 1536 * 2**20
    """Address space beyond what the child maps at its start."""
    cpu_s: int = 30
    wall_s: float = 60.0
    open_files: int = 64
    file_bytes: int = 2**30
    """Largest file the child may write (its answer)."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running child and the end of the pipe on which it answers."""

    process: BaseProcess
    connection: Connection

    def answer(self, wall_s: float) -> Json | None:
        """Wait for the next answer; None where the child died, or was killed because the time was up."""
        data = self.receive(wall_s, most_bytes=_MAX_ANSWER_BYTES)
        try:
            return None if data is None else dict(json.loads(data))
        except ValueError:
            return None

    def receive(self, wall_s: float, *, most_bytes: int) -> bytes | None:
        """Wait for the next bytes; None where the child died, sends more, or was killed because the time was up."""
        watchdog = threading.Timer(wall_s, self.process.kill)
        watchdog.start()
        try:
            return self.connection.recv_bytes(most_bytes)
        except (EOFError, OSError):
            return None
        finally:
            watchdog.cancel()
            watchdog.join()


_preloaded: list[str] = []


def preload(*modules: str) -> None:
    """Have the server that children are forked from import these too, when it starts.

    A process has one such server, whoever asks for it first; one that died starts again with all that was asked for.
    """
    _preloaded.extend(module for module in modules if module not in _preloaded)
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.set_forkserver_preload(list(_preloaded))


@contextmanager
def child(
    module: str, arguments: Json, limits: Limits, *, method: StartMethod, questions: bool = False
) -> Iterator[Child]:
    """Start a child that calls ``module.work(sender, arguments, limits)``; it is dead and reaped at the end.

    With ``questions`` it can be sent bytes too.
    """
    context: Any = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=questions)
    process = context.Process(target=_work, args=(sender, module, arguments, limits), daemon=True)
    with receiver:
        with sender:
            process.start()
        try:
            yield Child(process, receiver)
        finally:
            process.kill()
            process.join()
            process.close()


def _work(sender: Connection, module: str, arguments: Json, limits: Limits) -> None:
    import_module(module).work(sender, arguments, limits)


def apply_limits(limits: Limits) -> None:
    """Set the limits of this process; Windows has none, macOS refuses the one on memory."""
    if sys.platform == "win32":
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits.open_files, limits.open_files))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        memory = pages * resource.getpagesize() + limits.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def allow_cpu(seconds: int) -> None:
    """Move the soft limit on CPU time to ``seconds`` from now; beyond it the kernel ends the process."""
    if sys.platform == "win32":
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, hard))
