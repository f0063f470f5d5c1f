"""Fixtures of stores and real servers; loaded for all tests by tests/conftest.py."""

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
from servers import Bucket, Redis, create_database, moto_server, nanio_server, postgresql_server, redis_server
from toy_jobs import child_environment

from intima.store.addresses import S3Address
from intima.store.storage import Storage, open_storage
from intima.store.tables import METADATA

StartWorker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A real PostgreSQL server; skips where there is none."""
    with postgresql_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest) -> str | None:
    """Null (SQLite in the data folder) or the URL of an empty PostgreSQL database."""
    if request.param == "sqlite":
        return None
    return create_database(request.getfixturevalue("postgresql"), f"t{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def shared_database(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated PostgreSQL database that tests share, one after the other: a new one each would be slow."""
    url = create_database(postgresql, "shared")
    open_storage(tmp_path_factory.mktemp("shared"), url).close()
    return url


@pytest.fixture
def empty_shared_database(shared_database: str) -> str:
    """The shared PostgreSQL database without rows."""
    with psycopg.connect(shared_database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # no triggers: rows of the audit log go too
        for table in reversed(METADATA.sorted_tables):
            connection.execute(f"DELETE FROM {table.name}")  # type: ignore[call-overload]
    return shared_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """Null (SQLite in the data folder) or the URL of a migrated PostgreSQL database without rows."""
    return None if request.param == "sqlite" else request.getfixturevalue("empty_shared_database")


@pytest.fixture(scope="session")
def moto() -> Iterator[Bucket]:
    """A bucket of a server that keeps objects in memory."""
    with moto_server() as bucket:
        yield bucket


@pytest.fixture(scope="session")
def nanio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket of a server that checks signatures; skips where there is none."""
    with nanio_server(tmp_path_factory.mktemp("nanio")) as bucket:
        yield bucket


@pytest.fixture(params=["moto", "nanio"])
def bucket(request: pytest.FixtureRequest) -> S3Address:
    """An empty part of a bucket, on each server."""
    return part_of(request.getfixturevalue(request.param))


def part_of(bucket: Bucket) -> S3Address:
    """Return a part of a bucket that nothing has been put into."""
    return replace(bucket.address, prefix=f"t{uuid.uuid4().hex}")


@pytest.fixture(params=["folder", "bucket"])
def blobs_at(request: pytest.FixtureRequest) -> S3Address | None:
    """Null (blobs in the data folder) or an empty part of a bucket."""
    return None if request.param == "folder" else part_of(request.getfixturevalue("moto"))


@pytest.fixture(params=["sqlite-folder", "postgresql-bucket"])
def whole_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A store as on one machine, and as on many."""
    url, at = None, None
    if request.param == "postgresql-bucket":
        url, at = request.getfixturevalue("empty_shared_database"), part_of(request.getfixturevalue("moto"))
    opened = open_storage(tmp_path / "data", url, floor_bytes=0, blobs_at=at)
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path, database_url: str | None) -> Iterator[Storage]:
    """A store on SQLite and on PostgreSQL."""
    opened = open_storage(tmp_path / "data", database_url, floor_bytes=0)
    yield opened
    opened.close()


@pytest.fixture
def postgresql_store(tmp_path: Path, empty_shared_database: str) -> Iterator[Storage]:
    """A store on PostgreSQL."""
    opened = open_storage(tmp_path / "data", empty_shared_database, floor_bytes=0)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Storage]:
    """A store on SQLite."""
    opened = open_storage(tmp_path / "data", floor_bytes=0)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def redis_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A real redis-server; skips where there is none."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def broker(redis_broker: Redis) -> Redis:
    """The redis-server, empty."""
    redis_broker.flush()
    return redis_broker


@pytest.fixture
def start_worker(sqlite_store: Storage, broker: Redis, tmp_path: Path) -> Iterator[StartWorker]:
    """Start real Celery workers with toy units; kill what is left of them afterwards."""
    environment = child_environment(
        INTIMA_DATA=str(sqlite_store.data_dir), INTIMA_REDIS_URL=broker.url, INTIMA_SLOTS="2"
    )
    environment.pop("INTIMA_DATABASE_URL", None)
    started: list[subprocess.Popen[bytes]] = []

    def start(**more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "celery", "-A", "toy_worker", "worker", "-Q", "training", "--loglevel", "INFO"]
        with (tmp_path / f"worker{len(started)}.log").open("wb") as log:
            started.append(subprocess.Popen(command, env=environment | more, stdout=log, stderr=log, cwd=tmp_path))
        return started[-1]

    yield start
    for process in started:
        kill_tree(process)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """kill -9 a process with all it started, as a lost machine would."""
    family: list[psutil.Process] = []
    if process.poll() is None:
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children(recursive=True)]
    for one in family:
        with suppress(psutil.NoSuchProcess):  # ended by itself meanwhile
            one.kill()
    process.wait()
