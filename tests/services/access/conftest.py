"""An api and a stats service that ask for tokens."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from intima.contracts.access import SCOPES, TokenRequest
from intima.store import tokens
from intima.store.storage import Storage
from services.api.app import create_app
from services.api.settings import Settings
from services.stats.app import create_app as create_stats
from services.stats.settings import Settings as StatsSettings

ADMIN = "first-token-of-the-laboratory-0123456789"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def api(folder: Path) -> Iterator[TestClient]:
    settings = Settings(data=folder, port=59999, auth="tokens", admin_token=ADMIN)  # type: ignore[arg-type]
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def stats(folder: Path, api: TestClient) -> Iterator[TestClient]:
    settings = StatsSettings(data=folder, auth="tokens", admin_token=ADMIN)  # type: ignore[arg-type]
    with TestClient(create_stats(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def storage(api: TestClient) -> Storage:
    found: Storage = api.app.state.intima.storage  # type: ignore[attr-defined]
    return found


@pytest.fixture(scope="module")
def held(storage: Storage) -> Mapping[str, str]:
    """A token of each scope."""
    with storage.writing() as connection:
        made = {s: tokens.create_token(connection, TokenRequest(name=s, scopes=(s,)), by="test") for s in SCOPES}
    return {scope: token.token for scope, token in made.items()}
