"""Stores for the tests: SQLite always, PostgreSQL where it is installed."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import create_database, postgresql_server

from intima.store.storage import Storage, open_storage


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql_server(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "sqlite":
        return None
    return create_database(request.getfixturevalue("postgresql"), f"t{uuid.uuid4().hex}")


@pytest.fixture
def storage(tmp_path: Path, database_url: str | None) -> Iterator[Storage]:
    opened = open_storage(tmp_path / "data", database_url, floor_bytes=0)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_storage(tmp_path: Path) -> Iterator[Storage]:
    opened = open_storage(tmp_path / "data", floor_bytes=0)
    yield opened
    opened.close()
