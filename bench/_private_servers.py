"""A Redis and a PostgreSQL of the bench's own, durable as in production, gone afterwards."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import redis


@dataclass(frozen=True)
class Servers:
    """Addresses, and the processes by name where they are the bench's own."""

    database: str
    broker: str
    processes: dict[str, psutil.Process] = field(default_factory=dict)

    def cpu_seconds(self) -> dict[str, float]:
        """Return CPU seconds so far of each server with all its children, dead ones too, and of this bench."""
        own = psutil.Process()
        theirs = {p.pid for root in self.processes.values() for p in (root, *root.children(recursive=True))}
        found = {name: _family_seconds([root, *root.children()]) for name, root in self.processes.items()}
        return found | {
            "bench": _family_seconds([own, *(p for p in own.children(recursive=True) if p.pid not in theirs)])
        }


def _family_seconds(family: list[psutil.Process]) -> float:
    total = 0.0
    for process in family:
        try:
            total += sum(process.cpu_times()[: 4 if process is family[0] else 2])
        except psutil.NoSuchProcess:
            continue
    return total


@contextmanager
def private_servers(folder: Path, *, max_connections: int = 300) -> Iterator[Servers]:
    """Yield a PostgreSQL and a Redis. fsync is on, appendfsync everysec."""
    with _postgresql(folder / "postgresql", max_connections) as database, _redis(folder / "redis") as broker:
        yield Servers(database[0], broker[0], {"PostgreSQL": database[1], "Redis": broker[1]})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    folder.mkdir()
    port = _free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
    server = subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    try:
        _wait(lambda: redis.Redis(port=port).ping(), redis.exceptions.ConnectionError)
        yield f"redis://127.0.0.1:{port}/0", psutil.Process(server.pid)
    finally:
        server.kill()
        server.wait()


@contextmanager
def _postgresql(folder: Path, max_connections: int) -> Iterator[tuple[str, psutil.Process]]:
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    port = _free_port()
    folder.mkdir()
    user = "postgres" if os.getuid() == 0 else None
    if user:
        for place in (folder.parent, folder):
            shutil.chown(place, user)
    run = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    cluster = folder / "cluster"
    subprocess.run([binaries / "initdb", "-D", cluster, "-U", "intima", "-A", "trust", "-E", "UTF8"], check=True, **run)  # type: ignore[call-overload]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    options += f" -c max_connections={max_connections}"
    start = [binaries / "pg_ctl", "-D", cluster, "-w", "-o", options, "-l", folder / "log", "start"]
    subprocess.run(start, check=True, **run)  # type: ignore[call-overload]
    try:
        with psycopg.connect(f"postgresql://intima@127.0.0.1:{port}/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE intima")
        postmaster = int((cluster / "postmaster.pid").read_text().split()[0])
        yield f"postgresql+psycopg://intima@127.0.0.1:{port}/intima", psutil.Process(postmaster)
    finally:
        stop = [binaries / "pg_ctl", "-D", cluster, "-m", "immediate", "stop"]
        subprocess.run(stop, check=False, **run)  # type: ignore[call-overload]


def _wait(ready, refused, *, seconds: float = 20.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while True:
        try:
            ready()
            return
        except refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
