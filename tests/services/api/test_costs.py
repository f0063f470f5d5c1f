"""What a segmentation costs is said before, and is what it then takes."""

import time
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from intima.contracts.model import Cost, Latency
from intima.contracts.segmentation import SlideInfo
from intima.costs import segmentation_cost
from intima.framing import plan_frame
from intima.store.models import get_model
from intima.store.storage import Storage
from tests.builders import COLORS, png, publish_color_model, rings


def upload(client: TestClient, side: int, **form: str) -> str:
    image = np.zeros((side, side), np.uint8)
    image[:160, :160] = rings(160, radii=(20, 40, 60), center=80)
    answer = client.post("/v1/slides", files={"file": ("a.png", png(COLORS[image]))}, data=form)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def cost(client: TestClient, slide: str, model: str, **request: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/slides/{slide}/segmentations/cost", json={"model": model} | request)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_counts_follow_from_sizes_and_passes(client: TestClient, model: str) -> None:
    slide = upload(client, 1000, mpp="2.0")
    jobs = client.get("/v1/jobs").json()["items"]
    plain = cost(client, slide, model, uncertainty={"sampler": "none"})
    assert (plain["working_width"], plain["working_height"]) == (1000, 1000)
    assert plain["tiles"] * plain["tile_width"] * plain["tile_height"] >= 1000 * 1000
    assert plain["network_runs"] == 2 * plain["tiles"], "two members"
    views = cost(client, slide, model, uncertainty={"sampler": "tta", "passes": 8})
    assert views["network_runs"] == 8 * plain["tiles"]
    part = cost(client, slide, model, region={"x": 0, "y": 0, "width": 100, "height": 100})
    assert part["tiles"] < plain["tiles"]
    assert part["sampler"] == "ensemble", "what auto becomes"
    assert client.get("/v1/jobs").json()["items"] == jobs, "nothing was started"


def test_what_is_known_costs_nothing_more(client: TestClient, model: str, runner: None) -> None:
    slide = upload(client, 201, mpp="2.0")
    request = {"uncertainty": {"sampler": "none"}}
    assert cost(client, slide, model, **request)["known"] is None
    started = client.post(f"/v1/slides/{slide}/segmentations", json={"model": model} | request).json()
    assert cost(client, slide, model, **request)["known"] == started["id"]
    assert cost(client, slide, model, **request, force=True)["known"] is None


def test_time_comes_from_earlier_results_or_is_not_said(client: TestClient, storage: Storage) -> None:
    model = publish_color_model(storage, name="timed-net", mpp=2.0)
    slide = upload(client, 500, mpp="2.0")
    assert cost(client, slide, model)["time"] is None, "nobody timed it"
    image = png(COLORS[rings(250, radii=(20, 40, 60), center=80)])
    form = {"mpp": "2.0", "model": model, "uncertainty": "ensemble"}
    view = client.post("/v1/segment", files={"file": ("b.png", image)}, data=form).json()
    seconds, said = sum(view["timings"].values()), view["provenance"]
    past = said["tiles"] * said["tile_width"] * said["tile_height"]
    asked = cost(client, slide, model, uncertainty={"sampler": "ensemble"})
    work = asked["tiles"] * asked["tile_width"] * asked["tile_height"]
    assert asked["time"]["low_s"] == pytest.approx(seconds * work / past / 2)
    assert asked["time"]["high_s"] == pytest.approx(seconds * work / past * 2)
    assert asked["time"]["basis"].startswith("half to twice of 1 earlier result ")
    half = cost(client, slide, model, uncertainty={"sampler": "tta", "passes": view["uncertainty"]["passes"] // 2})
    assert half["time"]["low_s"] == pytest.approx(asked["time"]["low_s"] / 2)
    large = upload(client, 3000, mpp="2.0")
    assert cost(client, large, model)["time"] is None, "a tile or two tell nothing of a hundred"


def finished(client: TestClient, segmentation: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        view: dict[str, Any] = client.get(f"/v1/segmentations/{segmentation}").json()
        if view["state"] == "succeeded":
            return view
        time.sleep(0.1)
    raise AssertionError(view)


def test_tiles_of_a_result_are_those_that_were_said(client: TestClient, model: str, runner: None) -> None:
    slide = upload(client, 700, mpp="2.0")
    request = {"background": "segment", "uncertainty": {"sampler": "none"}}
    for region in (None, {"x": 10, "y": 20, "width": 300, "height": 100}):
        said = cost(client, slide, model, region=region, **request)
        form = {"model": model, "region": region, **request}
        started = client.post(f"/v1/slides/{slide}/segmentations", json=form).json()
        found = finished(client, started["id"])["provenance"]
        assert (found["tiles"], found["tile_width"]) == (said["tiles"], said["tile_width"])


def test_a_slide_whose_bytes_are_gone_costs_nothing(client: TestClient, storage: Storage, model: str) -> None:
    slide = upload(client, 305, mpp="2.0")
    storage.blobs.path(client.get(f"/v1/slides/{slide}").json()["sha256"]).unlink()
    answer = client.post(f"/v1/slides/{slide}/segmentations/cost", json={"model": model})
    assert (answer.status_code, answer.json()["code"]) == (409, "blob_missing")


def test_a_published_latency_times_what_nobody_ran(storage: Storage, model: str) -> None:
    with storage.reading() as connection:
        card = get_model(connection, model).card
    timed = card.model_copy(
        update={
            "cost": Cost(flops=10**9, peak_memory_bytes=10**9),
            "latency": (
                Latency(precision="fp32", provider="CPUExecutionProvider", threads=1, median_ms=100.0, runs=9),
                Latency(precision="int8", provider="CPUExecutionProvider", threads=1, median_ms=50.0, runs=9),
            ),
        }
    )
    info = SlideInfo(format="png", width=1000, height=700, levels=1, mpp=None, vendor=None)
    frame = plan_frame(info, card=card, mpp=2.0, region=None)
    plain, quick = (
        segmentation_cost(frame, timed, sampler="tta", passes=4, precision=precision, past=[])
        for precision in ("fp32", "int8")
    )
    tiles_of_card = plain.network_runs * plain.tile_width * plain.tile_height / card.tile_px**2
    assert plain.flops == round(tiles_of_card * 1e9)
    assert plain.time is not None
    assert quick.time is not None
    assert (plain.time.low_s, plain.time.high_s) == pytest.approx((tiles_of_card * 0.05, tiles_of_card * 0.2))
    assert quick.time.high_s == pytest.approx(plain.time.high_s / 2)
    assert segmentation_cost(frame, timed, sampler="tta", passes=4, precision="fp16", past=[]).time is None


def test_what_starting_refuses_costing_refuses(client: TestClient, model: str) -> None:
    slide, sizeless = upload(client, 300, mpp="2.0"), upload(client, 301)
    url = "/v1/slides/{}/segmentations/cost"
    for path, body, status, code in [
        (url.format(sizeless), {"model": model}, 422, "missing_pixel_size"),
        (url.format("sld_none"), {"model": model}, 404, "slide_not_found"),
        (url.format(slide), {"model": "none"}, 404, "model_not_found"),
        (url.format(slide), {"model": model, "uncertainty": {"sampler": "mc_dropout"}}, 422, "sampler_not_supported"),
        (url.format(slide), {"model": model, "precision": "int8"}, 422, "precision_unavailable"),
    ]:
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
