"""The trainer in full over HTTP, real training on a real local stack: every option in one benchmark. Minutes long."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from intima.phantom import Shift, draw_specs
from services.demo import dataset_zip, follow
from services.local import Settings, running_stack

pytestmark = pytest.mark.faults

MODELS = ("small", "frozen", "segformer")
SPEC: dict[str, Any] = {
    "architectures": [
        {"name": "unet_small", "weights": "random", "input_px": 64, "label": "small"},
        {"name": "fpn", "input_px": 64, "encoder_training": "frozen", "label": "frozen"},
        {"name": "segformer", "weights": "random", "input_px": 64},
    ],
    "protocols": [{"kind": "kfold", "k": 2}],
    "seeds": [0, 1],
    "search": {"trials": 3, "parallel": 2, "pruner": "median", "space": {"batch": {"choices": [2, 4]}}},
    "members": 2,
    "preset": "quick",
}


@contextmanager
def client_of(data: Path, *, port: int) -> Iterator[httpx.Client]:
    with (
        running_stack(Settings(data=data, port=port)) as stack,
        httpx.Client(base_url=stack.url, timeout=300.0) as client,
    ):
        yield client


def upload(client: httpx.Client, *, clinic: str, seed: int, subjects: int, shift: Shift | None = None) -> str:
    drawn = draw_specs(seed=seed, subjects=subjects, size_px=192, mpp=4.0, shift=shift)
    specs = [replace(named, subject=f"{clinic}-{named.subject}") for named in drawn]
    files = {"file": ("d.zip", dataset_zip(specs, name=f"synthetic {clinic}"))}
    return str(client.post("/v1/datasets", files=files).raise_for_status().json()["id"])


def finish(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Start something that is a job, wait for its end, return the answer that started it."""
    answer = client.post(path, json=body)
    assert answer.status_code == 202, answer.text
    started: dict[str, Any] = answer.json()
    job = follow(client, started["job"])
    assert job["state"] == "succeeded", job
    return started


def rows_of(client: httpx.Client, benchmark: str) -> list[dict[str, str]]:
    text = client.get(f"/v1/benchmarks/{benchmark}/scores.csv").raise_for_status().text
    assert "nan" not in text.lower()
    return list(csv.DictReader(io.StringIO(text)))


def test_every_option_of_a_benchmark_works_with_every_other(tmp_path: Path) -> None:
    with client_of(tmp_path / "data", port=8660) as client:
        dataset = upload(client, clinic="a", seed=3, subjects=6)
        external = upload(client, clinic="b", seed=40, subjects=3, shift=Shift(stain=1.0))
        spec = SPEC | {"dataset": dataset, "external_dataset": external}
        benchmark = finish(client, "/v1/benchmarks", spec)["id"]
        rows = rows_of(client, benchmark)
        check_scores(rows)
        view = client.get(f"/v1/benchmarks/{benchmark}").raise_for_status().json()
        check_view(view)
        check_experiments(client, benchmark)
        check_package(client, view["models"][0]["model"])
        check_explanation(client, benchmark)
        check_imported_split(client, benchmark, dataset, rows)


def check_scores(rows: list[dict[str, str]]) -> None:
    dice = [r for r in rows if (r["metric"], r["class"]) == ("dice", "macro")]
    inside = {(r["model"], r["subject"], r["seed"]) for r in dice if r["protocol"] == "kfold2"}
    outside = {(r["model"], r["subject"]) for r in dice if r["protocol"] == "external"}
    assert len(inside) == len(MODELS) * 6 * 2
    assert len(outside) == len(MODELS) * 3
    starts = {r["model"]: r["encoder_weights"] for r in rows}
    assert starts == {"small": "random", "frozen": "imagenet", "segformer": "random"}


def check_view(view: dict[str, Any]) -> None:
    assert view["incomplete"] == []
    assert {n["model"] for n in view["hpo_noise"]} == set(MODELS)
    assert all(n["selection"]["splits"] == 4 for n in view["hpo_noise"])
    assert {e["model"] for e in view["leaderboard"]} == set(MODELS)
    assert view["external"] is not None
    assert {m["model"].partition("@")[0].rpartition("-")[2] for m in view["models"]} == set(MODELS)


def check_experiments(client: httpx.Client, benchmark: str) -> None:
    items: list[dict[str, Any]] = []
    token = ""
    while True:
        url = f"/v1/benchmarks/{benchmark}/experiments"
        page = client.get(url, params={"page_token": token, "page_size": 20}).raise_for_status().json()
        items += page["items"]
        token = page["next_page_token"]
        if not token:
            break
    kinds = [item["kind"] for item in items]
    studies = len(MODELS) * (2 * 2 + 1)
    assert kinds.count("trial") == studies * 3
    assert kinds.count("fold") == len(MODELS) * 4
    assert kinds.count("fit") == len(MODELS) * 2


def check_package(client: httpx.Client, model: str) -> None:
    name, _, version = model.partition("@")
    package = client.get(f"/v1/models/{name}/versions/{version}/package").raise_for_status().content
    first = client.post("/v1/models", files={"file": ("m.zip", package)}).raise_for_status().json()
    again = client.post("/v1/models", files={"file": ("m.zip", package)}).raise_for_status().json()
    assert first == again
    assert (first["name"], first["version"]) == (name, version)
    damaged = bytearray(package)
    damaged[len(damaged) // 2] ^= 0xFF
    answer = client.post("/v1/models", files={"file": ("m.zip", bytes(damaged))})
    assert answer.status_code == 422, answer.text


def check_explanation(client: httpx.Client, benchmark: str) -> None:
    for model in MODELS:
        body = {"model": model, "protocol": "kfold2", "seed": 1}
        explanation = finish(client, f"/v1/benchmarks/{benchmark}/explanations", body)["id"]
        view = client.get(f"/v1/explanations/{explanation}").raise_for_status().json()
        assert len(view["cases"]) == 6
        assert view["paradox"] is not None
        for case in view["cases"]:
            figure = client.get(case["figure"]["url"]).raise_for_status().content
            text = client.get(case["json_file"]["url"]).raise_for_status().content
            assert figure.startswith(b"\x89PNG")
            assert b"NaN" not in text


def check_imported_split(client: httpx.Client, benchmark: str, dataset: str, rows: list[dict[str, str]]) -> None:
    """The folds of seed 0, exported, imported and trained with the defaults, hold out the same cases."""
    exported = client.get(f"/v1/benchmarks/{benchmark}/splits").raise_for_status().json()
    imported = client.post(f"/v1/datasets/{dataset}/splits", json=exported).raise_for_status().json()
    spec = {
        "dataset": dataset,
        "architectures": SPEC["architectures"][:1],
        "protocols": [{"kind": "split", "split": imported["id"]}],
        "search": {"trials": 0},
        "publish": False,
    }
    again = rows_of(client, finish(client, "/v1/benchmarks", spec)["id"])
    assert {r["case"] for r in again} == {r["case"] for r in rows if r["protocol"] == "kfold2"}
