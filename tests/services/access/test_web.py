"""What web pages of others may ask: nothing, unless they are named."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from access_tokens import bearer
from fastapi.testclient import TestClient

from services.api.app import create_app
from services.api.settings import Settings
from tests.services.access.conftest import ADMIN

FRIEND = "https://lab.example.org"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(
        data=tmp_path_factory.mktemp("data"), cors_origins=(FRIEND,), host_names=("Arteries.lab.example",)
    )
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "api", "10.1.2.3:8000", "arteries.lab.example"]
)
def test_names_that_no_stranger_owns_are_answered(local: TestClient, host: str) -> None:
    assert local.get("/v1/slides", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1.nip.example", "localhost.evil.example"])
def test_a_name_of_somebody_else_is_refused(local: TestClient, host: str) -> None:
    answer = local.get("/v1/slides", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "unknown_host")


@pytest.mark.parametrize("headers", [{"Host": "["}, {"Host": "[::1"}, {"Origin": "http://["}, {"Origin": "http://[x"}])
def test_what_is_no_address_is_refused(local: TestClient, headers: dict[str, str]) -> None:
    assert local.get("/v1/slides", headers=headers).status_code == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost"])
def test_a_page_of_somebody_else_cannot_post(local: TestClient, origin: str) -> None:
    answer = local.post("/v1/tokens", json={"name": "a", "scopes": ["admin"]}, headers={"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_origin")
    assert local.get("/v1/tokens").json()["items"] == []


def test_a_page_of_its_own_can(local: TestClient) -> None:
    assert local.get("/v1/slides", headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200


def test_a_page_that_is_named_can_and_is_told_so(local: TestClient) -> None:
    asked = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    before = local.options("/v1/slides", headers=asked)
    assert before.headers["access-control-allow-origin"] == FRIEND
    answer = local.get("/v1/slides", headers={"Origin": FRIEND})
    assert answer.headers["access-control-allow-origin"] == FRIEND
    assert "access-control-allow-credentials" not in answer.headers
    other = local.options("/v1/slides", headers=asked | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_with_tokens_cors_is_closed_unless_opened(api: TestClient) -> None:
    answer = api.get("/v1/slides", headers=bearer(ADMIN) | {"Origin": "https://evil.example"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    assert api.options("/v1/slides", headers=preflight).status_code == 405


def test_a_refusal_too_is_readable_for_a_page_that_is_named(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, auth="tokens", cors_origins=(FRIEND,))
    with TestClient(create_app(settings)) as client:
        answer = client.get("/v1/slides", headers={"Origin": FRIEND})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == FRIEND
