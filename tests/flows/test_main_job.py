"""The main job end to end over HTTP with real training: dataset, benchmark, scores, verdict, model, segmentation."""

import csv
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from intima.metrics import METRICS
from intima.phantom import draw_specs, render
from services.api.app import create_app
from services.api.settings import Settings
from services.demo import dataset_zip, png
from services.runner import run_local
from services.stats.app import create_app as create_stats
from services.stats.settings import Settings as StatsSettings

SUBJECTS = 4
SPEC: dict[str, Any] = {
    "architectures": [
        {"name": "unet", "encoder": "resnet18", "weights": "random", "input_px": 64},
        {"name": "deeplabv3plus", "encoder": "resnet18", "weights": "random", "input_px": 64},
    ],
    "protocols": [{"kind": "kfold", "k": 2}],
    "search": {"sampler": "gp", "trials": 1},
    "members": 1,
    "preset": "quick",
}
COLUMNS = (
    "case,subject,protocol,repeat,fold,seed,architecture,model,class,metric,value,unit,selection_biased,"
    "split_seed,init_seed,augmentation_seed,leakage_override,encoder_weights"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def api(data: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(data=data, port=59999))) as client:
        stop = threading.Event()
        thread = threading.Thread(target=run_local, args=(client.app.state.intima.storage,), kwargs={"stop": stop})  # type: ignore[attr-defined]
        thread.start()
        yield client
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def stats(data: Path, api: TestClient) -> Iterator[TestClient]:
    with TestClient(create_stats(StatsSettings(data=data))) as client:
        yield client


@pytest.fixture(scope="module")
def benchmark(api: TestClient) -> dict[str, Any]:
    """A finished benchmark on four synthetic subjects."""
    bundle = dataset_zip(draw_specs(seed=3, subjects=SUBJECTS, size_px=192, mpp=4.0), name="synthetic flow")
    dataset = api.post("/v1/datasets", files={"file": ("d.zip", bundle)}).raise_for_status().json()
    started = api.post("/v1/benchmarks", json=SPEC | {"dataset": dataset["id"]}).raise_for_status().json()
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        job = api.get(f"/v1/jobs/{started['job']}").json()
        if job["state"] in {"succeeded", "failed", "canceled"}:
            break
        time.sleep(0.5)
    assert job["state"] == "succeeded", job
    view: dict[str, Any] = api.get(f"/v1/benchmarks/{started['id']}").json()
    return view


def test_the_scores_table_is_complete(api: TestClient, benchmark: dict[str, Any]) -> None:
    text = api.get(f"/v1/benchmarks/{benchmark['id']}/scores.csv").text
    assert text.splitlines()[0] == COLUMNS
    rows = list(csv.DictReader(io.StringIO(text)))
    dice = [r for r in rows if r["metric"] == "dice" and r["class"] == "macro"]
    assert {(r["model"], r["subject"]) for r in dice} == {
        (m, f"subject-{i + 1:02d}") for m in ("unet", "deeplabv3plus") for i in range(SUBJECTS)
    }
    assert all(0 <= float(r["value"]) <= 1 for r in dice)
    assert {r["metric"] for r in rows} == set(METRICS)
    calibration = [float(r["value"]) for r in rows if r["metric"] in {"ece", "ece_foreground"}]
    assert len(calibration) == 4 * SUBJECTS
    assert all(0 <= value <= 1 for value in calibration)
    by = {(r["model"], r["case"], r["class"], r["metric"]): float(r["value"]) for r in rows if r["value"]}
    assert all(by[*key[:3], "tolerant_dice"] >= value for key, value in by.items() if key[3] == "dice")
    assert {r["selection_biased"].lower() for r in rows} == {"false"}
    assert {r["encoder_weights"] for r in rows} == {"random"}
    assert "nan" not in text.lower()


def test_the_leaderboard_and_the_models_are_there(api: TestClient, benchmark: dict[str, Any]) -> None:
    board = {e["model"]: e for e in benchmark["leaderboard"] if e["metric"] == "dice/macro"}
    assert set(board) == {"unet", "deeplabv3plus"}
    assert all(e["n_subjects"] == SUBJECTS for e in board.values())
    assert {s["trials"] for s in benchmark["studies"]} == {1}
    assert [(s["model"], s["weights"]["origin"]) for s in benchmark["starts"]] == [
        ("unet", "random"),
        ("deeplabv3plus", "random"),
    ]
    published = {f"{m['name']}@{m['version']}": m for m in api.get("/v1/models").json()["items"]}
    for result in benchmark["models"]:
        card = published[result["model"]]["card"]
        assert card["parity_max_abs"] < 1e-3
        assert card["benchmark"] == benchmark["id"]
        assert card["encoder_weights"].startswith("random")
        assert card["scores"]


def test_the_verdict_is_one_of_five(stats: TestClient, benchmark: dict[str, Any]) -> None:
    sides = {
        side: {"benchmark": benchmark["id"], "architecture": name}
        for side, name in (("a", "unet"), ("b", "deeplabv3plus"))
    }
    answer = stats.post("/v1/comparisons", json=sides | {"margin": {"value": 0.05}})
    assert answer.status_code == 200, answer.text
    verdict = answer.json()
    assert verdict["verdict"] in {"equivalent", "better_a", "better_b", "different_but_negligible", "inconclusive"}
    assert verdict["n_units"] == SUBJECTS
    assert verdict["dependence"]["protocol"] == "kfold2"
    assert verdict["dependence"]["standard_error_factor"] > 1
    low, high = verdict["difference"]["ci95"]
    assert low <= verdict["difference"]["estimate"] <= high
    by_model = {side: {"model": m["model"]} for side, m in zip(("a", "b"), benchmark["models"], strict=True)}
    again = stats.post("/v1/comparisons", json=by_model | {"margin": {"value": 0.05}}).json()
    assert again["difference"]["estimate"] == pytest.approx(verdict["difference"]["estimate"])


def test_the_report_ranks_and_reads_the_differences(stats: TestClient, benchmark: dict[str, Any]) -> None:
    page = stats.get(f"/v1/benchmarks/{benchmark['id']}/report.html", params={"margin": 0.05})
    assert page.status_code == 200, page.text
    for wanted in ("The images are synthetic", "2-fold cross-validation", "made of?", "Cheapest among", "unet"):
        assert wanted.lower() in page.text.lower()
    margin = stats.post("/v1/margins", json={"endpoint": {"benchmark": benchmark["id"], "largest": 0.1}})
    assert (margin.status_code, margin.json()["code"]) == (422, "too_few_subjects")


def test_the_published_model_segments(api: TestClient, benchmark: dict[str, Any]) -> None:
    phantom = render(draw_specs(seed=77, subjects=1, size_px=192, mpp=4.0)[0].spec)
    form = {"model": benchmark["models"][0]["model"], "mpp": "4.0"}
    answer = api.post("/v1/segment", files={"file": ("p.png", png(phantom.image))}, data=form)
    assert answer.status_code == 200, answer.text
    view = answer.json()
    assert view["result"]["uncertainty"]["sampler"] == "tta"
    assert sum(a["pixels"] for a in view["result"]["areas"]) == 192 * 192
