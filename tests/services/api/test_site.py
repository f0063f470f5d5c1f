"""The viewer is served where the api has no route, and hides none of the api's own answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from services.api.site import Site
from services.http import install_problem_handlers

PAGE = "<!doctype html><title>Intima</title>"
DOCS = "<!doctype html><title>The api of Intima</title>"
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def served(folder: Path) -> TestClient:
    app = FastAPI(docs_url=None)
    install_problem_handlers(app)

    @app.get("/v1/slides/{slide_id}")
    def get_slide(slide_id: str) -> dict[str, str]:
        return {"id": slide_id}

    app.router.default = Site(folder, otherwise=app.router.default)
    return TestClient(app)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    built = tmp_path / "static"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text(PAGE)
    (built / "docs.html").write_text(DOCS)
    (built / "assets" / "main-1a2b.js").write_text("0")
    (tmp_path / "secret.txt").write_text("secret")
    with served(built) as found:
        yield found


@pytest.mark.parametrize("path", ["/", "/slides", "/slides/sld_1", "/benchmarks/bmk_1/results", "/no-such-page"])
def test_every_page_of_a_browser_is_the_viewer(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=BROWSER)
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-cache"


def test_the_docs_are_our_own(client: TestClient) -> None:
    answer = client.get("/docs")
    assert (answer.status_code, answer.text) == (200, DOCS)
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_what_is_named_by_its_content_is_kept_for_good(client: TestClient) -> None:
    assert "immutable" in client.get("/assets/main-1a2b.js").headers["cache-control"]


@pytest.mark.parametrize("path", ["/v1/nothing", "/v2/nothing", "/docs/nothing", "/metrics"])
def test_the_apis_own_paths_stay_its_own(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_programs_get_a_problem_and_not_a_page(client: TestClient) -> None:
    assert client.get("/slides", headers={"accept": "*/*"}).status_code == 404
    assert client.post("/slides", headers=BROWSER).status_code == 404
    assert client.get("/assets/gone.js", headers={"accept": "*/*"}).status_code == 404


def test_a_wrong_method_is_still_said_to_be_one(client: TestClient) -> None:
    assert client.post("/v1/slides/s", headers=BROWSER).status_code == 405


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "//etc/passwd", "/assets/%00"]
)
def test_no_path_leaves_the_folder(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"accept": "*/*"})
    assert answer.status_code == 404
    assert "secret" not in answer.text.replace("secret.txt", "")


def test_a_viewer_that_was_not_built_says_so(tmp_path: Path) -> None:
    with served(tmp_path / "none") as found:
        answers = [found.get("/", headers=BROWSER), found.get("/docs")]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (404, "viewer_not_built")
        assert "make web" in answer.json()["errors"][0]["hint"]
