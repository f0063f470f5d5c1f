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


@pytest.mark.parametrize(
    "path", ["/", "/slides", "/slides/sld_1", "/models/net-v1.2/3.0", "/benchmarks/bmk_1/results", "/no-such-page"]
)
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


def test_a_browser_that_has_a_file_does_not_get_it_again(client: TestClient) -> None:
    first = client.get("/", headers=BROWSER)
    again = client.get("/slides", headers=BROWSER | {"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["vary"]) == (304, b"", "Accept")
    other = client.get("/", headers=BROWSER | {"if-none-match": '"other", W/"more"'})
    assert (other.status_code, other.text) == (200, PAGE)


def test_what_is_built_anew_does_not_mix_with_what_is_served(client: TestClient, tmp_path: Path) -> None:
    assets = tmp_path / "static" / "assets"
    (assets / "main-1a2b.js").rename(assets / "main-3c4d.js")
    assert client.get("/assets/main-1a2b.js").text == "0"
    assert client.get("/assets/main-3c4d.js", headers=BROWSER).status_code == 404


@pytest.mark.parametrize("path", ["/", "/assets/main-1a2b.js"])
def test_a_head_says_how_long_the_body_is(client: TestClient, path: str) -> None:
    whole, head = client.get(path, headers=BROWSER), client.head(path, headers=BROWSER)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]


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
