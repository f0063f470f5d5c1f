"""Real servers for tests, on free ports, started and stopped by the test."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import psycopg
import pytest
import redis

from intima.store.addresses import S3Address

S3_KEY, S3_SECRET = "testing-key", "testing-secret"
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Redis:
    """A redis-server that can be killed and started again on the same port."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        self.process = subprocess.Popen([*command, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                with redis.Redis(port=self.port) as client:
                    client.ping()
                    return
            except redis.exceptions.ConnectionError:
                time.sleep(0.05)
        raise AssertionError("redis-server did not answer within 10 s")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def flush(self) -> None:
        with redis.Redis(port=self.port) as client:
            client.flushall()


@contextmanager
def redis_server(folder: Path) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on this machine (Debian: apt-get install redis-server)")
    server = Redis(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Yield the URL of an empty cluster, without a database name.

    It lies in a folder of its own: another user must reach it, and pytest keeps its folders to itself.
    """
    if not POSTGRES:
        pytest.skip("no PostgreSQL under /usr/lib/postgresql (Debian: apt-get install postgresql)")
    binaries, port, user = POSTGRES[-1].parent, free_port(), _unprivileged_user()
    with tempfile.TemporaryDirectory(prefix="intima-postgresql-", ignore_cleanup_errors=True) as folder:
        if user is not None:
            shutil.chown(folder, user)
        run = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        initdb = ["initdb", "-D", f"{folder}/cluster", "-U", "intima", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([binaries / initdb[0], *initdb[1:]], check=True, **run)  # type: ignore[call-overload]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        pg_ctl = [binaries / "pg_ctl", "-D", f"{folder}/cluster", "-w"]
        start = [*pg_ctl, "-o", options, "-l", f"{folder}/log", "start"]
        subprocess.run(start, check=True, **run)  # type: ignore[call-overload]
        try:
            yield f"postgresql+psycopg://intima@127.0.0.1:{port}"
        finally:
            subprocess.run([*pg_ctl, "-m", "immediate", "stop"], check=False, **run)  # type: ignore[call-overload]


@dataclass
class Bucket:
    """A server that speaks S3 in a process of its own, with one bucket; what it is sent is in ``address``."""

    command: list[str]
    port: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> S3Address:
        endpoint = f"http://127.0.0.1:{self.port}"
        return S3Address("intima", "of/tests", endpoint=endpoint, access_key_id=S3_KEY, secret_access_key=S3_SECRET)

    @property
    def settings(self) -> dict[str, str]:
        """The address as environment variables of services."""
        at = self.address
        return {
            "INTIMA_BLOBS_URL": str(at),
            "INTIMA_S3_ENDPOINT": str(at.endpoint),
            "INTIMA_S3_ACCESS_KEY_ID": S3_KEY,
            "INTIMA_S3_SECRET_ACCESS_KEY": S3_SECRET,
        }

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{self.command[0]} did not answer within 20 s")

    def make(self) -> None:
        """Make the bucket."""
        at = self.address
        client = boto3.client(
            "s3",
            endpoint_url=at.endpoint,
            aws_access_key_id=S3_KEY,
            aws_secret_access_key=S3_SECRET,
            region_name=at.region,
        )
        client.create_bucket(Bucket=at.bucket)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def moto_server() -> Iterator[Bucket]:
    """Moto: honours create-only puts, checks no signature, keeps nothing over a restart."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _bucket(Bucket(command, port, dict(os.environ))) as bucket:
        yield bucket


@contextmanager
def nanio_server(folder: Path) -> Iterator[Bucket]:
    """nanio: checks signatures, keeps objects over a kill, ignores create-only. A program of its own, as Redis is."""
    program = shutil.which("nanio")
    if program is None:
        pytest.skip("no nanio on the path (pipx install nanio==0.1.7: it needs an environment of its own)")
    port = free_port()
    command = [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder)]
    secrets = {"NANIO_ACCESS_KEY": S3_KEY, "NANIO_SECRET_KEY": S3_SECRET}
    with _bucket(Bucket([*command, "--no-access-log"], port, os.environ | secrets)) as bucket:
        yield bucket


@contextmanager
def _bucket(bucket: Bucket) -> Iterator[Bucket]:
    bucket.start()
    try:
        bucket.make()
        yield bucket
    finally:
        bucket.kill()


def create_database(server: str, name: str) -> str:
    """Make an empty database; return its URL."""
    address = server.replace("+psycopg", "") + "/postgres"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
    return f"{server}/{name}"


def _unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root; null where this process is not root."""
    if os.getuid() != 0:
        return None
    known = Path("/etc/passwd").read_text()
    return next((u for u in ("postgres", "nobody") if f"\n{u}:" in known), None)
