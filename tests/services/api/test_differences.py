"""The difference of two segmentations over HTTP: numbers, a layer, and reasons where there is none."""

import io
import threading
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from intima.store.storage import Storage
from services.api import differences as module
from tests.builders import COLORS, png, publish_color_model, rings

SLIDE = COLORS[rings(600, radii=(100, 160, 220), center=300)][:520]


def upload(client: TestClient, pixels: np.ndarray) -> str:
    answer = client.post("/v1/slides", files={"file": ("a.png", png(pixels))}, data={"mpp": "2.0"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def segment(client: TestClient, slide: str, model: str, **more: Any) -> dict[str, Any]:
    body = {"model": model, "uncertainty": {"sampler": "none"}, **more}
    started = client.post(f"/v1/slides/{slide}/segmentations", json=body).json()
    with client.stream("GET", f"/v1/jobs/{started['job']}/events") as events:
        for _ in events.iter_lines():
            pass
    view: dict[str, Any] = client.get(f"/v1/segmentations/{started['id']}").json()
    assert view["state"] == "succeeded", view
    return view


@pytest.fixture(scope="module")
def slide(client: TestClient) -> str:
    return upload(client, SLIDE)


@pytest.fixture(scope="module")
def pair(client: TestClient, storage: Storage, model: str, slide: str, runner: None) -> list[dict[str, Any]]:
    coarse = publish_color_model(storage, name="coarse-net", mpp=8.0)
    return [segment(client, slide, name) for name in (model, coarse)]


def mask(client: TestClient, view: dict[str, Any]) -> np.ndarray:
    url = f"/v1/segmentations/{view['id']}/artefacts/mask.png"
    return np.asarray(Image.open(io.BytesIO(client.get(url).content)))


def test_numbers_are_those_of_the_masks(client: TestClient, pair: list[dict[str, Any]]) -> None:
    a, b = (mask(client, view) for view in pair)
    url = f"/v1/segmentations/{pair[0]['id']}/differences/{pair[1]['id']}"
    found = client.get(url).json()
    assert (found["a"], found["b"], found["mpp"]) == (pair[0]["id"], pair[1]["id"], 2.0)
    assert (found["pixels"], found["agreeing_pixels"]) == (a.size, int((a == b).sum()))
    assert 0 < found["agreeing_share"] < 1
    for index, entry in enumerate(found["classes"]):
        both = int(((a == index) & (b == index)).sum())
        assert entry["dice"] == pytest.approx(2 * both / ((a == index).sum() + (b == index).sum()))
        assert entry["area_a_um2"] == pytest.approx(4.0 * (a == index).sum())
    assert sum(k["pixels"] for k in found["kinds"]) == int((a != b).sum())
    assert client.get(url).json() == found
    turned = client.get(f"/v1/segmentations/{pair[1]['id']}/differences/{pair[0]['id']}").json()
    assert [(k["kind"], k["pixels"]) for k in turned["kinds"]] == [
        ("only_a", found["kinds"][1]["pixels"]),
        ("only_b", found["kinds"][0]["pixels"]),
        ("other_class", found["kinds"][2]["pixels"]),
    ]


def test_counting_holds_no_turn_of_tiles_and_a_reader_is_told_when_to_ask_again(
    client: TestClient, pair: list[dict[str, Any]], slide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    real = module.count_pairs

    def slow(*given: Any, **more: Any) -> Any:
        assert go.wait(60)
        return real(*given, **more)

    state = client.app.state.intima  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "count_pairs", slow)
    monkeypatch.setattr(module, "_MADE_AS", "a difference of this test")
    monkeypatch.setattr(state.counting, "_wait_s", 0.05)
    ids = [view["id"] for view in pair]
    urls = [f"/v1/segmentations/{a}/differences/{b}" for a in ids for b in ids]
    for url in urls + urls:
        answer = client.get(url)
        assert (answer.status_code, answer.json()["code"]) == (503, "difference_in_making"), answer.text
        assert answer.headers["retry-after"] == "3"
    assert client.get(f"/v1/slides/{slide}/deepzoom_files/10/0_0.jpeg").status_code == 200
    assert client.get(f"{urls[1]}_files/10/1_1.png").status_code == 200
    go.set()
    monkeypatch.setattr(state.counting, "_wait_s", 60.0)
    assert [client.get(url).status_code for url in urls] == [200] * 4


def test_the_layer_is_opaque_where_the_masks_differ(client: TestClient, pair: list[dict[str, Any]]) -> None:
    a, b = (mask(client, view) for view in pair)
    base = f"/v1/segmentations/{pair[0]['id']}/differences/{pair[1]['id']}"
    assert 'Width="600" Height="520"' in client.get(f"{base}.dzi").text
    tile = client.get(f"{base}_files/10/1_1.png")
    assert tile.headers["content-type"] == "image/png"
    shown = np.asarray(Image.open(io.BytesIO(tile.content)))[:, :, 3] > 0
    assert np.array_equal(shown, (a != b)[256:512, 256:512])
    etag = tile.headers["etag"]
    assert client.get(f"{base}_files/10/1_1.png", headers={"If-None-Match": etag}).status_code == 304
    assert client.get(f"{base}_files/0/0_0.png").status_code == 200
    for place in ("11/0_0", "10/9_0", "x/0_0", "10/0"):
        assert client.get(f"{base}_files/{place}.png").status_code == 404


def test_both_masks_named_may_be_cached_for_good(client: TestClient, pair: list[dict[str, Any]]) -> None:
    shas = [next(a["sha256"] for a in view["artefacts"] if a["name"] == "mask.ome.tiff") for view in pair]
    base = f"/v1/segmentations/{pair[0]['id']}/differences/{pair[1]['id']}"
    for url in (f"{base}.dzi", f"{base}_files/8/0_0.png"):
        assert client.get(url).headers["cache-control"] == "private, no-cache"
        half = client.get(url, params={"sha256": shas[0]})
        assert half.headers["cache-control"] == "private, no-cache"
        both = client.get(url, params={"sha256": shas[0], "other_sha256": shas[1]})
        assert "immutable" in both.headers["cache-control"]
        wrong = client.get(url, params={"sha256": shas[0], "other_sha256": "0" * 64})
        assert (wrong.status_code, wrong.json()["code"]) == (404, "layer_changed")


def test_a_segmentation_agrees_with_itself(client: TestClient, pair: list[dict[str, Any]]) -> None:
    found = client.get(f"/v1/segmentations/{pair[0]['id']}/differences/{pair[0]['id']}").json()
    assert (found["agreeing_share"], found["pairs"], found["mean_foreground_dice"]) == (1.0, [], 1.0)


def test_what_cannot_be_compared_says_why(
    client: TestClient, pair: list[dict[str, Any]], model: str, slide: str
) -> None:
    elsewhere = segment(client, upload(client, SLIDE[10:]), model)
    part = segment(client, slide, model, region={"x": 100, "y": 90, "width": 300, "height": 300})
    for other, code in ((elsewhere, "slides_differ"), (part, "regions_differ")):
        for end in ("", ".dzi", "_files/3/0_0.png"):
            answer = client.get(f"/v1/segmentations/{pair[0]['id']}/differences/{other['id']}{end}")
            assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    missing = client.get(f"/v1/segmentations/{pair[0]['id']}/differences/seg_none")
    assert missing.status_code == 404
