"""A stats service over a store that holds finished and unfinished benchmarks."""

from collections.abc import Iterator

import pytest
from benchmark_store import Installation, fill
from fastapi.testclient import TestClient

from intima.store.storage import open_storage
from services.stats.app import create_app
from services.stats.dependencies import State
from services.stats.settings import Settings


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("data")
    storage = open_storage(folder)
    try:
        return fill(storage)
    finally:
        storage.close()


@pytest.fixture(scope="module")
def settings(installation: Installation) -> Settings:
    return Settings(data=installation.folder)


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(scope="module")
def state(client: TestClient) -> State:
    found: State = client.app.state.intima  # type: ignore[attr-defined]
    return found
