"""The whole stack on one machine, in one command: api, stats and the local runner, no broker, no root.

``python -m services.local`` serves until stopped; the demo uses ``LocalStack`` as a context manager.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import httpx
from pydantic import Field

from intima.errors import Unavailable
from intima.registry import publish_default
from services.stores import StoreConfiguration

_log = logging.getLogger("intima.local")
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
WATCH_S = 1.0
SERVICES = {"api": "services.api.__main__", "stats": "services.stats.__main__", "runner": "services.runner"}

NICENESS = {"runner": 5}
"""What works through jobs gives way to who waits for an answer, and loses nothing on a machine of its own."""


class Settings(StoreConfiguration):
    """Settings of the local stack; the services read the same variables."""

    port: int = Field(default=8000, ge=1, le=65534)
    """The api's port; stats takes the next."""
    metrics_port: int | None = Field(default=None, ge=1, le=65533)
    """Metrics of the api; those of stats and of the runner take the next two. Null: none."""


@dataclass(slots=True)
class LocalStack:
    """Three running services. One that dies is started again."""

    settings: Settings
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Base URL of the api."""
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def log_folder(self) -> Path:
        """Folder of the services' logs."""
        return self.settings.data.resolve() / "logs"

    def start(self) -> None:
        """Start everything and wait until it answers.

        Raises:
            Unavailable: a port is taken, or a service does not come up.
        """
        for port in (self.settings.port, self.settings.port + 1):
            _refuse_taken(port)
        self.log_folder.mkdir(parents=True, exist_ok=True)
        storage = self.settings.open_store()
        publish_default(storage)
        storage.close()
        for name in SERVICES:
            self._spawn(name)
        self._await_ready()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Stop everything, gently first."""
        self._stopping.set()
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in self._processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(self, name: str) -> None:
        environment = os.environ | {
            "INTIMA_DATA": str(self.settings.data.resolve()),
            "INTIMA_PORT": str(self.settings.port),
            "INTIMA_STATS_PORT": str(self.settings.port + 1),
            "INTIMA_QUEUE": "local",
            "INTIMA_HOST": "127.0.0.1",
        }
        if self.settings.metrics_port is not None:
            number = self.settings.metrics_port + list(SERVICES).index(name)
            environment |= {"INTIMA_METRICS_PORT": str(number), "INTIMA_METRICS_HOST": "127.0.0.1"}
        with (self.log_folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "services.leash", SERVICES[name], str(NICENESS.get(name, 0))],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        waiting = [f"{self.url}/readyz", f"http://127.0.0.1:{self.settings.port + 1}/readyz"]
        while waiting:
            waiting = [url for url in waiting if not _answers(url)]
            dead = [m for m, p in self._processes.items() if p.poll() is not None]
            if dead or time.monotonic() > deadline:
                self.stop()
                what = ", ".join(dead) or ", ".join(waiting)
                raise Unavailable(f"{what} did not start.", hint=f"Read the logs in {self.log_folder}.")
            time.sleep(0.1)

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_S):
            for name, process in list(self._processes.items()):
                if process.poll() is not None and not self._stopping.is_set():
                    _log.warning("%s ended with status %s; starting it again", name, process.returncode)
                    self._spawn(name)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Unavailable(
                f"Port {port} is taken.", hint="Stop what listens there, or choose another: INTIMA_PORT=8100 make run."
            ) from error


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextmanager
def running_stack(settings: Settings) -> Iterator[LocalStack]:
    """Run the stack for the length of a block; SIGTERM ends the block as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _leave)
    stack = LocalStack(settings)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def wait_for_interrupt() -> None:
    """Block until Ctrl-C or SIGTERM."""
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def main() -> int:
    """Serve until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        with running_stack(Settings()) as stack:
            _log.info("Intima is at %s (docs at /docs), logs in %s. Ctrl-C stops.", stack.url, stack.log_folder)
            wait_for_interrupt()
    except Unavailable as error:
        _log.error("%s %s", error.message, error.hint)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
