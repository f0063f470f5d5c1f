"""A person corrects a mask: previews, versions, conflicts, files, data sets, refusals; on synthetic rings."""

import csv
import io
import json
import threading
import time
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from intima.store.checking import check_store
from intima.store.storage import Storage
from services.api import correcting
from tests.builders import COLORS, png, publish_color_model, rings

FULL_PX = 400
AREAS = {1: 60, 2: 90, 3: 120}


def upload(client: TestClient, seed: int, *, mpp: str = "2.0", **form: str) -> str:
    pixels = COLORS[rings()].copy()
    pixels[0, :3] = np.random.default_rng(seed).integers(0, 255, (3, 3))
    answer = client.post("/v1/slides", files={"file": (f"s{seed}.png", png(pixels))}, data={"mpp": mpp} | form)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def wait(client: TestClient, segmentation: str) -> dict[str, Any]:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        view: dict[str, Any] = client.get(f"/v1/segmentations/{segmentation}").json()
        if view["state"] not in {"queued", "running"}:
            return view
        time.sleep(0.1)
    raise AssertionError(view)


def segment(client: TestClient, slide: str, model: str) -> str:
    body = {"model": model, "uncertainty": {"sampler": "none"}}
    started = client.post(f"/v1/slides/{slide}/segmentations", json=body)
    assert started.status_code in {200, 202}, started.text
    assert wait(client, started.json()["id"])["state"] == "succeeded"
    return str(started.json()["id"])


@pytest.fixture(scope="module")
def parent(client: TestClient, model: str, runner: None) -> str:
    """A segmentation at the slide's own resolution."""
    return segment(client, upload(client, 1, subject="m1"), model)


@pytest.fixture(scope="module")
def coarse(client: TestClient, storage: Storage, runner: None) -> str:
    """A segmentation at half of the slide's resolution."""
    return segment(
        client, upload(client, 2, mpp="1.0", subject="m2"), publish_color_model(storage, name="half", mpp=2.0)
    )


def send(client: TestClient, segmentation: str, body: Any, *, preview: Any = False, **query: Any) -> Any:
    if isinstance(body, np.ndarray):
        content, kind = png(body), "image/png"
    elif isinstance(body, bytes):
        content, kind = body, "application/geo+json"
    else:
        content, kind = json.dumps(body).encode(), "application/geo+json"
    url = f"/v1/segmentations/{segmentation}/corrections{'/preview' if preview else ''}"
    return client.post(url, content=content, headers={"Content-Type": kind}, params=query)


def mask_of(client: TestClient, segmentation: str, name: str = "artefacts/mask.png") -> np.ndarray:
    answer = client.get(f"/v1/segmentations/{segmentation}/{name}")
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def area(view: dict[str, Any], name: str) -> float:
    return next(float(a["pixels"]) for a in view["areas"] if a["name"] == name)


def corrected(client: TestClient, segmentation: str, body: Any, **query: str) -> dict[str, Any]:
    if "base" not in query:
        query["base"] = client.get(f"/v1/segmentations/{segmentation}/corrections").json()["newest"]
    answer = send(client, segmentation, body, **query)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/v1/segmentations/{answer.json()['id']}"
    view = wait(client, answer.json()["id"])
    assert view["state"] == "succeeded", view
    return view


def test_our_own_geojson_comes_back_as_the_same_mask(client: TestClient, parent: str) -> None:
    shapes = client.get(f"/v1/segmentations/{parent}/artefacts/annotations.geojson").content
    preview = send(client, parent, shapes, preview=True).json()
    assert (preview["changed_px"], preview["measured_at"], preview["base"]) == (0, "native", parent)
    assert preview["before"] == preview["after"]
    assert "Nothing differs" in preview["warnings"][-1]
    view = corrected(client, parent, shapes, note="looked at")
    np.testing.assert_array_equal(mask_of(client, view["id"]), mask_of(client, parent))
    again = client.get(f"/v1/segmentations/{view['id']}/artefacts/annotations.geojson").json()
    before = json.loads(shapes)
    assert [f["geometry"] for f in again["features"]] == [f["geometry"] for f in before["features"]]
    assert again["features"][0]["properties"]["metadata"]["source"] == "Intima, corrected by a person"


def test_a_painted_mask_is_a_version_with_its_own_files(client: TestClient, parent: str) -> None:
    painted = mask_of(client, parent, "working_mask.png").copy()
    assert painted.shape == (FULL_PX, FULL_PX)
    painted[painted == 1] = 2
    painted[rings(radii=(30, 90, 120)) == 1] = 1
    preview = send(client, parent, painted, preview=True).json()
    assert preview["pairs"] == [{"before": 1, "after": 1}]
    view = corrected(client, parent, painted, note="lumen: thrombus")
    truth = {v: int((painted == v).sum()) for v in range(4)}
    for name, value in (("lumen", 1), ("neointima", 2), ("media", 3)):
        assert area(view, name) == area(preview["after"], name) == truth[value]
    assert preview["changed_px"] == view["provenance"]["changed_px"] > 0
    names = {a["name"] for a in view["artefacts"]}
    assert names >= {"mask.png", "mask.ome.tiff", "annotations.geojson", "rois.zip", "overlay.png", "report.pdf"}
    assert "entropy.ome.tiff" not in names
    assert (view["uncertainty"], view["result"]["interval_basis"]) == (None, "none: a person has corrected the mask")
    assert all(m["interval"] is None for v in view["measures"] for m in v["measures"])
    made = view["correction"]
    assert (made["parent"], made["note"], made["author"], made["source"]) == (
        parent,
        "lumen: thrombus",
        "local",
        "mask",
    )
    table = client.get(f"/v1/segmentations/{view['id']}/artefacts/measures.csv").text
    assert {row["source"] for row in csv.DictReader(io.StringIO(table, newline=""))} == {"person"}
    assert client.get(f"/v1/segmentations/{view['id']}/layers/mask.dzi").status_code == 200
    assert client.get(f"/v1/segmentations/{parent}").json()["correction"] is None


def test_measures_tables_say_what_a_person_has_corrected(client: TestClient, parent: str) -> None:
    corrected(client, parent, rings(radii=(50, 90, 120)))
    versions = client.get(f"/v1/segmentations/{parent}/corrections").json()["items"]
    rows = list(csv.DictReader(io.StringIO(client.get("/v1/measures.csv").text, newline="")))
    lumen = {r["segmentation"]: r for r in rows if r["measure"] == "lumen_area"}
    assert (lumen[parent]["corrected"], lumen[parent]["corrected_by"]) == ("", "")
    for version in versions:
        row = lumen[version["id"]]
        assert (row["corrected"], row["corrected_by"]) == (str(version["number"]), "local")
        assert (row["low"], row["interval_basis"]) == ("", "")
    means = client.get("/v1/subject_means.csv", params={"subject": "m1"}).text
    mean = next(r for r in csv.DictReader(io.StringIO(means, newline="")) if r["measure"] == "lumen_area")
    assert (mean["n_sections"], mean["n_corrected"]) == ("1", "1")
    assert float(mean["mean"]) == pytest.approx(float(lumen[versions[0]["id"]]["value"]), rel=1e-3)


def test_at_half_resolution_an_edit_stays_where_it_was_made(client: TestClient, coarse: str) -> None:
    native = mask_of(client, coarse)
    working = mask_of(client, coarse, "working_mask.png").copy()
    assert (native.shape, working.shape) == ((400, 400), (200, 200))
    untouched = send(client, coarse, working, preview=True).json()
    assert untouched["changed_px"] == 0
    working[:10, :10] = 3
    view = corrected(client, coarse, working)
    found = mask_of(client, view["id"])
    np.testing.assert_array_equal(found[30:], native[30:])
    assert (found[:18, :18] == 3).all()
    pair = [mask_of(client, view["id"], f"artefacts/working_{kind}.png") for kind in ("image", "mask")]
    assert [p.shape for p in pair] == [(200, 200, 3), (200, 200)]
    assert np.count_nonzero(pair[1] != working) <= 1, "the corner is rounded"


def test_large_slides_are_measured_at_working_resolution(
    client: TestClient, coarse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intima.corrections.MOST_NATIVE_PX", 1000)
    shapes = client.get(f"/v1/segmentations/{coarse}/artefacts/annotations.geojson").content
    for body in (shapes, mask_of(client, coarse, "working_mask.png")):
        preview = send(client, coarse, body, preview=True, base=coarse).json()
        assert (preview["measured_at"], preview["mpp"], preview["width"]) == ("working", 2.0, 200)
        lumen = area(preview["after"], "lumen"), area(preview["before"], "lumen")
        assert lumen[0] == pytest.approx(lumen[1], rel=0.02)


def test_versions_are_counted_and_one_that_is_outdated_is_refused(
    client: TestClient, storage: Storage, model: str, runner: None
) -> None:
    root = segment(client, upload(client, 3), model)
    first = corrected(client, root, rings(radii=(40, 90, 120)), base=root)
    stale = send(client, root, rings(radii=(41, 90, 120)), base=root)
    assert (stale.status_code, stale.json()["code"]) == (409, "correction_outdated")
    assert first["id"] in stale.text
    second = corrected(client, first["id"], rings(radii=(42, 90, 120)), base=first["id"])
    page = client.get(f"/v1/segmentations/{second['id']}/corrections").json()
    assert (page["parent"], page["newest"]) == (root, second["id"])
    assert [(v["number"], v["base"], v["author_name"]) for v in page["items"]] == [
        (2, first["id"], "local"),
        (1, root, "local"),
    ]
    assert send(client, root, rings(), base="seg_" + "0" * 32).status_code == 404
    assert send(client, root, rings()).status_code == 422


def test_of_two_at_once_one_is_stored(client: TestClient, model: str, runner: None) -> None:
    root = segment(client, upload(client, 4), model)
    codes: list[int] = []
    threads = [
        threading.Thread(
            target=lambda r=r: codes.append(send(client, root, rings(radii=(r, 90, 120)), base=root).status_code)
        )
        for r in range(30, 36)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [201, 409, 409, 409, 409, 409]


def test_a_key_stands_for_one_correction(client: TestClient, model: str, runner: None) -> None:
    root = segment(client, upload(client, 5), model)
    url, body = f"/v1/segmentations/{root}/corrections", png(rings(radii=(40, 90, 120)))
    headers = {"Content-Type": "image/png", "Idempotency-Key": "k"}
    first, second = (client.post(url, content=body, headers=headers, params={"base": root}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] == second.json()["id"]
    other = client.post(url, content=png(rings()), headers=headers, params={"base": root})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


def test_a_version_whose_job_was_canceled_blocks_nobody(client: TestClient, model: str, storage: Storage) -> None:
    """The runner may be quick: then the version is there, and is the newest."""
    root = segment(client, upload(client, 6), model)
    made = send(client, root, rings(radii=(40, 90, 120)), base=root).json()
    client.post(f"/v1/jobs/{made['job']}/cancel")
    state = wait(client, made["id"])["state"]
    newest = client.get(f"/v1/segmentations/{root}/corrections").json()["newest"]
    assert newest == (root if state == "canceled" else made["id"])
    assert corrected(client, root, rings(radii=(41, 90, 120)), base=newest)["correction"]["number"] == 2


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (np.zeros((10, 10), np.uint8), "bad_mask"),
        (np.zeros((FULL_PX, FULL_PX), np.uint16), "bad_mask"),
        (np.zeros((FULL_PX, FULL_PX, 3), np.uint8), "bad_mask"),
        (np.zeros((FULL_PX, FULL_PX), bool), "bad_mask"),
        (np.full((FULL_PX, FULL_PX), 4, np.uint8), "unknown_class"),
        (np.full((FULL_PX, FULL_PX), 255, np.uint8), "bad_mask"),
    ],
)
@pytest.mark.parametrize("preview", [True, False])
def test_images_that_are_no_mask(client: TestClient, parent: str, pixels: np.ndarray, code: str, preview: bool) -> None:
    answer = send(client, parent, pixels, preview=preview, base=parent)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["pointer"] == "/mask"


def test_broken_bodies(client: TestClient, parent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"/v1/segmentations/{parent}/corrections/preview"
    good = png(rings())
    for body in (b"", b"\x89PNG", good[:200], good[:60] + b"\0" * 40 + good[100:]):
        answer = client.post(url, content=body, headers={"Content-Type": "image/png"})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/mask"), body[:20]
    assert client.post(url, content=good, headers={"Content-Type": "image/jpeg"}).status_code == 415
    assert client.post(url, content=good).status_code == 415
    assert send(client, parent, b'[{"type":"Feature"', preview=True).status_code == 422
    assert send(client, "seg_" + "1" * 32, rings(), preview=True).status_code == 404
    monkeypatch.setitem(correcting._MOST_BYTES, "mask", 100)
    answer = client.post(url, content=good, headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def ring(radius: float, *, corners: int = 720, name: str | None = "media") -> dict[str, Any]:
    angles = np.linspace(0, 2 * np.pi, corners + 1)
    points = np.stack([200 + radius * np.cos(angles), 200 + radius * np.sin(angles)], axis=1)
    points[-1] = points[0]
    properties = {} if name is None else {"classification": {"name": name}}
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [points.tolist()]},
        "properties": properties,
    }


def test_outlines_drawn_over_each_other_are_rings_and_said_so(client: TestClient, parent: str) -> None:
    shapes = [ring(40, name="Lumen"), ring(120, name="Media"), ring(90, name="Neointima"), ring(9, name=None)]
    preview = send(client, parent, shapes, preview=True, base=parent).json()
    assert area(preview["after"], "lumen") == pytest.approx(np.pi * 40**2, rel=0.01)
    assert area(preview["after"], "neointima") == pytest.approx(np.pi * (90**2 - 40**2), rel=0.01)
    assert {(o["below"], o["on_top"]) for o in preview["overlaps"]} == {
        ("media", "neointima"),
        ("media", "lumen"),
        ("neointima", "lumen"),
    }
    assert [n["feature"] for n in preview["needs_class"]] == [3]
    assert len(preview["warnings"]) == 4
    values = {m["name"]: m["value"] for m in preview["after"]["vessels"][0]["measures"]}
    assert values["stenosis"] == pytest.approx(100 * (1 - 40**2 / 90**2), rel=0.01)


def test_layers_out_of_order_are_a_warning(client: TestClient, parent: str) -> None:
    preview = send(client, parent, [ring(90, name="neointima"), ring(40, name="lumen")], preview=True).json()
    assert any("media is open" in w for w in preview["after"]["vessels"][0]["warnings"])


def test_hostile_shapes_are_refused_with_their_place(client: TestClient, parent: str) -> None:
    crossed = ring(50)
    crossed["geometry"]["coordinates"] = [[[0, 0], [90, 90], [90, 0], [0, 90], [0, 0]]]
    many = [ring(199.0 - n / 100, corners=300) for n in range(200)]
    for shapes, code, place in (
        ([ring(10), crossed], "bad_polygon", "/features/1/geometry/coordinates"),
        ([ring(1e7)], "bad_coordinates", "/features/0/geometry/coordinates/0"),
        ([ring(10, name="artery")], "unknown_class", "/features/0/properties/classification/name"),
        (many, "too_intricate", "/features"),
    ):
        for preview in (True, False):
            answer = send(client, parent, shapes, preview=preview, base=parent)
            assert (answer.status_code, answer.json()["code"]) == (422, code)
            assert answer.json()["errors"][0]["pointer"] == place
    assert send(client, parent, b'[{"type":"Feature","geometry":NaN}]', preview=True).status_code == 422


def dataset(client: TestClient, *segmentations: str) -> Any:
    body = {"name": "corrected synthetic rings", "licence": "CC0", "segmentations": list(segmentations)}
    return client.post("/v1/datasets/from_corrections", json=body)


def test_corrections_become_a_dataset(client: TestClient, storage: Storage, parent: str, coarse: str) -> None:
    one = corrected(client, parent, rings(radii=(33, 90, 120)))
    working = mask_of(client, coarse, "working_mask.png").copy()
    working[60:70, 60:70] = 2
    other = corrected(client, coarse, working)
    answer = dataset(client, parent, other["id"])
    assert answer.status_code == 201, answer.text
    assert (answer.json()["cases"], answer.json()["subjects"]) == (2, 2)
    stored = client.get(f"/v1/datasets/{answer.json()['id']}").json()
    first, second = stored["cases"]
    assert (first["case"], first["subject"], first["section"], first["mpp"]) == (
        f"{one['id']}.png",
        "m1",
        "s1.png",
        2.0,
    )
    assert (second["width"], second["height"], second["mpp"]) == (200, 200, 2.0)
    mask = np.asarray(Image.open(io.BytesIO(storage.blobs.read(second["mask_sha256"]))))
    assert np.count_nonzero(mask != working) <= 4, "the corners are rounded"
    assert stored["similarity"]["compared"] == 1
    assert dataset(client, parent, other["id"]).json()["id"] == answer.json()["id"], "the same content is one version"


def test_what_is_no_case_of_a_dataset(client: TestClient, model: str, runner: None, parent: str) -> None:
    nameless = segment(client, upload(client, 7), model)
    answer = dataset(client, nameless)
    assert (answer.status_code, answer.json()["code"]) == (422, "not_corrected")
    view = corrected(client, nameless, rings(radii=(33, 90, 120)))
    answer = dataset(client, parent, view["id"])
    assert (answer.status_code, answer.json()["code"]) == (422, "missing_subject")
    assert answer.json()["errors"][0]["pointer"] == "/segmentations/1"
    assert dataset(client, parent, parent).json()["code"] == "duplicate_image"
    assert dataset(client, "seg_" + "2" * 32).status_code == 404
    assert dataset(client).status_code == 422


def test_a_deleted_slide_takes_its_corrections_along(
    client: TestClient, storage: Storage, model: str, runner: None
) -> None:
    slide = upload(client, 8, subject="gone")
    root = segment(client, slide, model)
    view = corrected(client, root, rings(radii=(34, 90, 120)))
    assert client.delete(f"/v1/slides/{slide}").status_code == 204
    for gone in (root, view["id"]):
        assert client.get(f"/v1/segmentations/{gone}").status_code == 404
        assert client.get(f"/v1/segmentations/{gone}/corrections").status_code == 404
        assert send(client, gone, rings(), base=gone).status_code == 404
    assert client.get(f"/v1/jobs/{view['job']}").status_code == 404
    assert check_store(storage).good
