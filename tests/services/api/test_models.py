"""Models over HTTP: pages, and which variant of a model a segmentation runs."""

import pytest
from fastapi.testclient import TestClient

from intima.registry import resolve
from intima.store.storage import Storage
from tests.builders import publish_color_model


@pytest.fixture(scope="module")
def varied(storage: Storage) -> str:
    """A model in fp32 and fp16; int8 was left out."""
    return publish_color_model(storage, name="varied-net", mpp=2.0, precisions=("fp32", "fp16"))


def segment(client: TestClient, artery: bytes, **form: str):
    return client.post("/v1/segment", files={"file": ("a.png", artery)}, data={"mpp": "2.0", **form})


def test_a_segmentation_runs_the_variant_it_asks_for(
    client: TestClient, storage: Storage, varied: str, artery: bytes
) -> None:
    card = resolve(storage, varied).card
    answers = {p: segment(client, artery, model=varied, precision=p).json() for p in ("auto", "fp32", "fp16")}
    assert answers["auto"]["id"] == answers["fp32"]["id"] != answers["fp16"]["id"]
    for wish, precision in (("auto", "fp32"), ("fp16", "fp16")):
        provenance = answers[wish]["provenance"]
        assert provenance["precision"] == precision
        assert provenance["member_sha256"] == [m.sha256 for m in card.files(precision)]
    assert answers["fp16"]["areas"] == answers["fp32"]["areas"]


def test_a_variant_that_was_not_published_is_refused_with_its_reason(
    client: TestClient, model: str, varied: str, artery: bytes
) -> None:
    answer = segment(client, artery, model=varied, precision="int8")
    assert answer.status_code == 422
    assert answer.json()["code"] == "precision_unavailable"
    assert "spoils the media" in answer.text
    slide = client.post("/v1/slides", files={"file": ("a.png", artery)}, data={"mpp": "2.0"}).json()["id"]
    for wish, status in (("fp16", 422), ("fp64", 422), ("fp32", 202)):
        body = {"model": model, "precision": wish}
        assert client.post(f"/v1/slides/{slide}/segmentations", json=body).status_code == status, wish


def test_models_come_in_pages(client: TestClient, storage: Storage) -> None:
    names = [f"page-{n}" for n in range(5)]
    for name in names:
        publish_color_model(storage, name=name, mpp=1.0, members=1)
    seen, token = [], ""
    while True:
        page = client.get("/v1/models", params={"page_size": 2, "page_token": token}).json()
        assert len(page["items"]) <= 2
        seen += [f"{m['name']}@{m['version']}" for m in page["items"]]
        if not (token := page["next_page_token"]):
            break
    assert len(seen) == len(set(seen))
    assert [s.partition("@")[0] for s in seen if s.startswith("page-")] == names[::-1]
    assert client.get("/v1/models", params={"page_token": "nonsense"}).status_code == 422
    assert client.get("/v1/models", params={"page_size": 0}).status_code == 422


def test_a_package_goes_out_and_in_over_http(client: TestClient, varied: str) -> None:
    name, _, version = varied.partition("@")
    answer = client.get(f"/v1/models/{name}/versions/{version}/package")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert int(answer.headers["content-length"]) == len(answer.content)
    brought = client.post("/v1/models", files={"file": ("m.zip", answer.content)})
    assert brought.status_code == 201, brought.text
    assert brought.json()["version"] == version
    refused = client.post("/v1/models", files={"file": ("m.zip", answer.content[:-30])})
    assert refused.status_code == 422
    assert refused.json()["code"] == "not_a_package"
    assert client.get(f"/v1/models/{name}/versions/0123/package").status_code == 404
