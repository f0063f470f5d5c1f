"""Two api replicas, a stats service, a trainer and some inference workers, on one Redis, PostgreSQL and S3 server.

Each process has a data folder of its own, as on a host of its own: what they share goes through the three servers.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tests.toys.servers import create_database, free_port, moto_server, postgresql_server, redis_server

ADMIN = "administrator-of-the-synthetic-laboratory"
_START_S = 120.0
_CELERY = [sys.executable, "-m", "celery", "-A"]


@dataclass(slots=True)
class Fleet:
    """The processes, and where the replicas answer."""

    folder: Path
    environment: Mapping[str, str]
    database_url: str
    api_urls: list[str] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: list[str], **settings: str) -> None:
        """Start a process with a folder and a log of its own."""
        own = {"INTIMA_DATA": str(self.folder / name)} | settings
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, env=os.environ | dict(self.environment) | own, stdout=log, stderr=log, start_new_session=True
            )

    def start_api(self, name: str, stats_url: str) -> None:
        """Start an api and wait until it is ready."""
        port = free_port()
        self.start(name, [sys.executable, "-m", "services.api"], INTIMA_PORT=str(port), INTIMA_STATS_URL=stats_url)
        self.api_urls.append(f"http://127.0.0.1:{port}")
        _await_ready(self.api_urls[-1])

    def start_stats(self) -> str:
        """Start the stats service and wait until it is ready; returns its address."""
        port = free_port()
        self.start("stats", [sys.executable, "-m", "services.stats"], INTIMA_STATS_PORT=str(port))
        url = f"http://127.0.0.1:{port}"
        _await_ready(url)
        return url

    def start_inference(self, number: int) -> None:
        """Start a worker that segments one slide at a time."""
        name = f"inference{number}"
        self.start(name, [*_CELERY, "services.api.tasks", "worker", "-Q", "inference", "-n", f"{name}@%h"])

    def start_trainer(self) -> None:
        """Start a worker that runs one unit of a benchmark at a time."""
        self.start("trainer", [*_CELERY, "services.trainer.tasks", "worker", "-Q", "training", "-n", "trainer@%h"])

    def cpu_s(self) -> float:
        """Return CPU seconds of all processes with their children so far, those that ended and were waited for too."""
        return sum(_cpu_s(p.pid) for p in self.processes.values() if p.poll() is None)

    def stop(self) -> None:
        """End everything."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


@contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """Start the servers, one database and one bucket; the processes are started by name."""
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        database = create_database(stack.enter_context(postgresql_server()), "replicas")
        bucket = stack.enter_context(moto_server())
        settings = {
            "INTIMA_DATABASE_URL": database,
            "INTIMA_QUEUE": "celery",
            "INTIMA_REDIS_URL": redis.url,
            "INTIMA_AUTH": "tokens",
            "INTIMA_ADMIN_TOKEN": ADMIN,
            "INTIMA_SLOTS": "1",
            "OMP_NUM_THREADS": "1",
        }
        found = Fleet(folder, settings | bucket.settings, database)
        try:
            yield found
        finally:
            found.stop()


def _await_ready(url: str) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=5.0).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit(f"{url} did not become ready")


def _cpu_s(pid: int) -> float:
    total = 0.0
    family = psutil.Process(pid)
    for one in [family, *family.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
