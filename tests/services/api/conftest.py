"""An api with a model whose answer is known exactly."""

import threading
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from intima.store.storage import Storage
from services.api.app import create_app
from services.api.settings import Settings
from services.runner import run_local
from tests.builders import COLORS, png, publish_color_model, rings


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An api on an empty folder; no worker runs."""
    settings = Settings(data=tmp_path_factory.mktemp("data"), port=59999)
    with TestClient(create_app(settings), raise_server_exceptions=False) as test_client:
        yield test_client


@pytest.fixture(scope="module")
def storage(client: TestClient) -> Storage:
    """The storage of the api."""
    found: Storage = client.app.state.intima.storage  # type: ignore[attr-defined]
    return found


@pytest.fixture(scope="module")
def model(storage: Storage) -> str:
    """A two-member model that works at 2 µm per pixel."""
    return publish_color_model(storage, name="color-net", mpp=2.0)


@pytest.fixture(scope="module")
def runner(storage: Storage) -> Iterator[None]:
    """A local runner for segmentations."""
    stop = threading.Event()
    thread = threading.Thread(
        target=run_local, args=(storage,), kwargs={"queues": ["inference"], "slots": 1, "stop": stop}
    )
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.fixture
def artery() -> bytes:
    """A PNG of one artery made of circles."""
    return png(COLORS[rings()])
