"""Walk A over HTTP, on an image whose areas are known."""

import io
import json
import math
import threading
import time
import zipfile
from typing import Any

import numpy as np
import pytest
import tifffile
from fastapi.testclient import TestClient
from PIL import Image

from intima.contracts.segmentation import SegmentationRequest, UncertaintySpec
from intima.store import ledger
from intima.store.ledger import Claim
from intima.store.storage import Storage
from services.api.dependencies import State
from services.api.segmenting import Caller, find_or_create
from services.api.segmenting import _wait as wait
from services.messages import send_nothing
from services.runner import sweep_once
from tests.builders import COLORS, png, publish_color_model, rings

FILES = {
    "mask.png",
    "mask.ome.tiff",
    "entropy.ome.tiff",
    "disagreement.ome.tiff",
    "overlay.png",
    "annotations.geojson",
    "annotations.geojson.gz",
    "rois.zip",
    "report.pdf",
    "thickness_profiles.csv",
    "measures.csv",
    "measures.json",
}


def upload(client: TestClient, data: bytes, **form: str) -> dict[str, Any]:
    answer = client.post("/v1/slides", files={"file": ("a.png", data)}, data=form)
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    return view


def finished(client: TestClient, segmentation: str, timeout_s: float = 60.0) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        view: dict[str, Any] = client.get(f"/v1/segmentations/{segmentation}").json()
        if view["state"] in {"succeeded", "failed", "canceled"}:
            return view
        time.sleep(0.1)
    raise AssertionError(f"not finished: {view}")


def check_rings(view: dict[str, Any], *, um_per_px: float) -> None:
    """Areas of circles of radius 60, 90, 120 px."""
    assert view["state"] == "succeeded", view["error"]
    (vessel,) = view["result"]["vessels"]
    found = {m["name"]: m for m in vessel["measures"]}
    lumen, iel, eel = (math.pi * (r * um_per_px) ** 2 for r in (60, 90, 120))
    for name, expected in {
        "lumen_area": lumen,
        "neointimal_area": iel - lumen,
        "medial_area": eel - iel,
        "intima_media_ratio": (iel - lumen) / (eel - iel),
        "stenosis": 100 * (iel - lumen) / iel,
    }.items():
        assert found[name]["value"] == pytest.approx(expected, rel=0.01), name
        interval = found[name]["interval"]
        assert interval["low"] <= found[name]["value"] <= interval["high"], name


def test_a_slide_becomes_mask_uncertainty_and_measures(
    client: TestClient, model: str, runner: None, artery: bytes
) -> None:
    slide = upload(client, artery, mpp="2.0", subject="m1")
    assert (slide["width"], slide["height"], slide["mpp"], slide["subject"]) == (400, 400, 2.0, "m1")
    answer = client.post(f"/v1/slides/{slide['id']}/segmentations", json={"model": model})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['job']}"
    view = finished(client, answer.json()["id"])
    check_rings(view, um_per_px=2.0)
    files = {a["name"]: client.get(a["url"]) for a in view["artefacts"]}
    assert set(files) >= FILES
    assert all(r.status_code == 200 for r in files.values())
    mask = np.asarray(Image.open(io.BytesIO(files["mask.png"].content)))
    np.testing.assert_array_equal(mask, rings())
    with tifffile.TiffFile(io.BytesIO(files["mask.ome.tiff"].content)) as tiff:
        np.testing.assert_array_equal(tiff.pages[0].asarray(), rings())
    features = json.loads(files["annotations.geojson"].content)["features"]
    assert {f["properties"]["classification"]["name"].lower() for f in features} == {"lumen", "neointima", "media"}
    again = client.post(f"/v1/slides/{slide['id']}/segmentations", json={"model": model})
    assert again.status_code == 200
    assert again.json()["id"] == view["id"]
    events = client.get(f"/v1/jobs/{view['job']}/events").text
    assert '"state":"succeeded"' in events.replace(" ", "")


def test_a_small_image_is_answered_in_the_request(client: TestClient, model: str, artery: bytes) -> None:
    form = {"model": model, "mpp": "2.0", "uncertainty": '{"sampler": "tta", "passes": 4}', "subject": "in-request"}
    answer = client.post("/v1/segment", files={"file": ("a.png", artery)}, data=form)
    assert answer.status_code == 200, answer.text
    check_rings(answer.json(), um_per_px=2.0)
    assert answer.json()["result"]["uncertainty"]["sampler"] == "tta"
    mask = client.post("/v1/segment", files={"file": ("a.png", artery)}, data=form, headers={"Accept": "image/png"})
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(mask.content))), rings())
    bundle = client.post(
        "/v1/segment", files={"file": ("a.png", artery)}, data=form, headers={"Accept": "application/zip"}
    )
    assert set(zipfile.ZipFile(io.BytesIO(bundle.content)).namelist()) >= FILES


def test_the_working_resolution_follows_the_pixel_size(client: TestClient, model: str) -> None:
    large = np.kron(rings(200, radii=(60, 75, 90), center=100), np.ones((2, 2), np.uint8))
    answer = client.post(
        "/v1/segment", files={"file": ("a.png", png(COLORS[large]))}, data={"model": model, "mpp": "1.0"}
    ).json()
    assert answer["provenance"]["working_width"] == 200
    found = {m["name"]: m["value"] for m in answer["result"]["vessels"][0]["measures"]}
    assert found["lumen_area"] == pytest.approx(math.pi * 120**2, rel=0.02)


def test_the_default_model_answers_on_first_start(client: TestClient, artery: bytes) -> None:
    answer = client.post("/v1/segment", files={"file": ("a.png", artery)}, data={"mpp": "2.0"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["provenance"]["synthetic_training_data"] is True
    assert any("synthetic" in w for w in answer.json()["result"]["warnings"])


def test_a_missing_pixel_size_is_asked_for(client: TestClient, model: str, artery: bytes) -> None:
    answer = client.post("/v1/segment", files={"file": ("a.png", artery)}, data={"model": model})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "missing_pixel_size"
    assert answer.json()["errors"][0]["pointer"] == "/mpp"
    slide = upload(client, artery)
    assert slide["mpp"] is None
    answer = client.post(f"/v1/slides/{slide['id']}/segmentations", json={"model": model})
    assert answer.status_code == 422
    assert answer.json()["code"] == "missing_pixel_size"


def test_a_model_without_pixel_size_works_in_pixels(client: TestClient, storage: Storage, artery: bytes) -> None:
    ref = publish_color_model(storage, name="pixel-net", mpp=None, members=1)
    answer = client.post("/v1/segment", files={"file": ("a.png", artery)}, data={"model": ref}).json()
    found = {m["name"]: m for m in answer["result"]["vessels"][0]["measures"]}
    assert found["lumen_area"]["value"] == pytest.approx(math.pi * 60**2, rel=0.01)
    assert "um" not in found["lumen_area"]["unit"]
    assert "µm" not in found["lumen_area"]["unit"]
    assert any("No pixel size" in w for w in answer["result"]["warnings"])
    assert any("give it in µm" in w for w in answer["result"]["warnings"])


def test_who_gave_the_pixel_size_is_not_asked_for_it(client: TestClient, model: str, artery: bytes) -> None:
    answer = client.post("/v1/segment", files={"file": ("a.png", artery)}, data={"model": model, "mpp": "2.0"}).json()
    assert not any("pixel size" in w.lower() for w in answer["result"]["warnings"])


def test_a_region_is_cut_out_in_level_0_pixels(client: TestClient, model: str, runner: None, artery: bytes) -> None:
    slide = upload(client, artery, mpp="2.0", subject="region")
    path = f"/v1/slides/{slide['id']}/segmentations"
    region = {"x": 40, "y": 60, "width": 320, "height": 300}
    started = client.post(path, json={"model": model, "region": region}).json()
    view = finished(client, started["id"])
    mask = client.get(f"/v1/segmentations/{started['id']}/artefacts/mask.png")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(mask.content))), rings()[60:360, 40:360])
    check_rings(view, um_per_px=2.0)
    outside = client.post(path, json={"model": model, "region": region | {"width": 400}})
    assert outside.status_code == 422
    assert outside.json()["code"] == "region_outside"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"model": "nobody"}, "model_not_found"),
        ({"uncertainty": "mc_dropout"}, "sampler_not_supported"),
        ({"uncertainty": "guess"}, "invalid"),
        ({"uncertainty": '{"sampler": "tta", "passes": 99}'}, "invalid"),
        ({"mpp": "0"}, "invalid"),
        ({"mpp": "nan"}, "invalid"),
    ],
)
def test_a_request_that_cannot_be_done_says_so(
    client: TestClient, model: str, artery: bytes, form: dict[str, str], code: str
) -> None:
    body = {"model": model, "mpp": "2.0"} | form
    answer = client.post("/v1/segment", files={"file": ("a.png", artery)}, data=body)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["code"] == code


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n garbage", b"II*\x00\xff\xff\xff\xff"])
def test_a_file_that_is_no_image_is_refused(client: TestClient, data: bytes) -> None:
    for path in ("/v1/segment", "/v1/slides"):
        answer = client.post(path, files={"file": ("x.tif", data)}, data={"mpp": "1.0"})
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"]


def test_an_idempotency_key_gives_the_same_answer_and_refuses_another_body(
    client: TestClient, model: str, runner: None, artery: bytes
) -> None:
    slide = upload(client, artery, mpp="2.0", subject="key")
    path, headers = f"/v1/slides/{slide['id']}/segmentations", {"Idempotency-Key": "k-1"}
    first = client.post(path, json={"model": model, "force": True}, headers=headers).json()
    second = client.post(path, json={"model": model, "force": True}, headers=headers).json()
    assert first["job"] == second["job"]
    other = client.post(path, json={"model": model, "uncertainty": {"sampler": "none"}}, headers=headers)
    assert other.status_code == 409
    finished(client, first["id"])
    forced = client.post(path, json={"model": model, "force": True}).json()
    assert forced["job"] != first["job"]
    finished(client, forced["id"])


def test_unknown_things_are_404_problems(client: TestClient) -> None:
    for path in (
        "/v1/slides/x",
        "/v1/segmentations/x",
        "/v1/jobs/x",
        "/v1/models/x",
        "/v1/datasets/x",
        "/v1/benchmarks/x",
        "/v9",
    ):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"].startswith("req_")


def test_a_slide_far_coarser_than_the_model_is_refused(client: TestClient, model: str, artery: bytes) -> None:
    answer = client.post("/v1/segment", files={"file": ("a.png", artery)}, data={"model": model, "mpp": "29"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "too_coarse"
    assert answer.json()["errors"][0]["pointer"] == "/mpp"


def test_too_few_pixels_are_said(client: TestClient, model: str, artery: bytes) -> None:
    answer = client.post("/v1/segment", files={"file": ("a.png", artery)}, data={"model": model, "mpp": "0.02"})
    assert answer.status_code == 200, answer.text
    assert any("check mpp" in w for w in answer.json()["result"]["warnings"])


def test_work_that_no_request_should_wait_for_is_a_job(client: TestClient, model: str) -> None:
    wide = np.zeros((1300, 1300), np.uint8)
    answer = client.post(
        "/v1/segment", files={"file": ("a.png", png(COLORS[wide]))}, data={"model": model, "mpp": "2.0"}
    )
    assert answer.status_code == 422
    assert answer.json()["code"] == "image_too_large"
    assert "/segmentations" in answer.json()["errors"][0]["hint"]


def test_publishing_under_the_shipped_name_does_not_replace_the_default(
    client: TestClient, storage: Storage, artery: bytes
) -> None:
    before = client.get("/readyz").json()["default_model"]
    ours = publish_color_model(storage, name="phantom-unet", mpp=2.0)
    assert client.get("/v1/models/phantom-unet").json()["version"] == ours.partition("@")[2]
    answer = client.post("/v1/segment", files={"file": ("a.png", artery)}, data={"mpp": "2.0"}).json()
    assert answer["model"] == before
    assert client.get("/readyz").json()["default_model"] == before


def queued(client: TestClient, storage: Storage, model: str, data: bytes, *, subject: str) -> tuple[Claim, str]:
    """Return a claimed segmentation unit that nobody works on, and its segmentation.

    Made and claimed in one transaction: the runner of this module would be as fast.
    """
    slide = upload(client, data, mpp="2.0", subject=subject)
    request = SegmentationRequest(model=model, uncertainty=UncertaintySpec(sampler="none"))
    with storage.writing() as connection:
        started = find_or_create(connection, client.app.state.intima, slide_id=slide["id"], request=request)
        claim = ledger.claim_next(connection, owner="a test", queues=["inference"], lease_s=60.0)
    assert claim is not None
    assert claim.job_id == started.job
    return claim, started.id


def test_a_request_that_waits_for_a_job_that_fails_is_a_409(
    client: TestClient, storage: Storage, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = png(COLORS[rings(radii=(50, 80, 110))])
    claim, _ = queued(client, storage, model, image, subject="waits")
    form = {"model": model, "mpp": "2.0", "uncertainty": "none", "subject": "waits"}

    def wait_for_failure(state: State, job_id: str, caller: Caller) -> None:
        threading.Timer(0.3, lambda: fail(storage, claim)).start()
        wait(state, job_id, caller)

    monkeypatch.setattr("services.api.segmenting._wait", wait_for_failure)
    for accept in ("image/png", "application/json", "application/zip"):
        answer = client.post("/v1/segment", files={"file": ("a.png", image)}, data=form, headers={"Accept": accept})
        if accept == "image/png":
            assert answer.status_code == 409
            assert "spoiled on purpose" in answer.json()["detail"]
        else:
            assert answer.status_code == 200, "the failed segmentation is made anew"


def fail(storage: Storage, claim: Claim) -> None:
    with storage.writing() as connection:
        ledger.fail_attempt(connection, claim, code="x", message="spoiled on purpose", retryable=False)


def test_a_defect_in_the_request_ends_its_unit_and_can_be_repeated(
    client: TestClient, storage: Storage, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = png(COLORS[rings(radii=(40, 70, 100))])
    form = {"model": model, "mpp": "2.0", "subject": "defect"}

    def broken(*_: object, **__: object) -> None:
        raise ValueError("not foreseen")

    with monkeypatch.context() as patch:
        patch.setattr("services.api.segmenting.segment_slide", broken)
        assert client.post("/v1/segment", files={"file": ("a.png", image)}, data=form).status_code == 500
    with storage.reading() as connection:
        assert not ledger.running_owners(connection)
    assert client.post("/v1/segment", files={"file": ("a.png", image)}, data=form).status_code == 200


def test_a_sweep_goes_on_while_a_request_holds_a_unit(client: TestClient, storage: Storage, model: str) -> None:
    image = png(COLORS[rings(radii=(30, 60, 90))])
    claim, _ = queued(client, storage, model, image, subject="swept")
    with storage.writing() as connection:
        ledger.expire_owner(connection, "a test")
    sweep_once(storage, send=send_nothing, queued=None)
    with storage.reading() as connection:
        assert not ledger.running_owners(connection)
        assert ledger.read_job(connection, claim.job_id).state != "failed"
    client.post(f"/v1/jobs/{claim.job_id}/cancel")


def test_a_result_stays_readable_while_it_is_made_again_and_a_lost_file_is_remade(
    client: TestClient, storage: Storage, model: str
) -> None:
    image = png(COLORS[rings(radii=(55, 75, 95))])
    form = {"model": model, "mpp": "2.0", "subject": "again"}
    first = client.post("/v1/segment", files={"file": ("a.png", image)}, data=form).json()
    forced = client.post(f"/v1/slides/{first['slide']}/segmentations", json={"model": model, "force": True}).json()
    view = client.get(f"/v1/segmentations/{first['id']}").json()
    assert (view["id"], view["state"]) == (forced["id"], "queued")
    assert view["measures"] == first["measures"]
    client.post(f"/v1/jobs/{forced['job']}/cancel")
    overlay = next(a for a in first["artefacts"] if a["name"] == "overlay.png")
    assert client.get(overlay["url"]).status_code == 200
    storage.blobs.path(overlay["sha256"]).unlink()
    again = client.post("/v1/segment", files={"file": ("a.png", image)}, data=form)
    assert again.status_code == 200, again.text
    assert client.get(overlay["url"]).status_code == 200


def test_broken_unicode_and_huge_numbers_are_422(client: TestClient, model: str, artery: bytes) -> None:
    slide = upload(client, artery, mpp="2.0")
    headers = {"content-type": "application/json"}
    for path, body in (
        (f"/v1/slides/{slide['id']}/segmentations", b'{"model": "\\ud800"}'),
        ("/v1/benchmarks", b'{"dataset": "\\ud800", "architectures": ["unet"], "protocols": [{"kind": "loocv"}]}'),
    ):
        assert client.post(path, content=body, headers=headers).status_code == 422, path
    alias = client.put("/v1/models/color-net/aliases/x", content=b'{"version": "\\ud800"}', headers=headers)
    assert alias.status_code == 422
    answer = client.post("/v1/segment", files={"file": ("a.png", artery)}, data={"mpp": "2.0", "model": model}).json()
    assert client.get(f"/v1/jobs/{answer['job']}/logs?after={10**30}").status_code == 422
    assert client.get(f"/v1/jobs/{answer['job']}/events", headers={"Last-Event-ID": "9" * 30}).status_code == 422
