"""Explanations over HTTP: a finished benchmark is explained by the handlers a worker runs."""

import importlib
import io
import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureSpec, BenchmarkSpec, UnitPlan
from intima.store import catalog, ledger
from intima.store.storage import Storage
from intima.store.work import UnitInput
from intima.training.weights import pack_weights
from services.runner import HANDLERS
from tests.builders import dataset_zip, rings

ARCHITECTURE = ArchitectureSpec(name="unet_small", weights="random", input_px=64)
DICE = (0.8, 0.3, 0.6)


def run_ready(storage: Storage, job: str) -> list[str]:
    """Do what a worker does with every unit of a job."""
    done = []
    while True:
        with storage.writing() as connection:
            claim = ledger.claim_next(connection, owner="test", queues=["training"], lease_s=60)
            if claim is None:
                return done
            assert claim.job_id == job
            results = ledger.results_of(connection, job, claim.needs)
        module, function = HANDLERS[claim.kind].split(":")
        handler = getattr(importlib.import_module(module), function)
        result = handler(UnitInput(job, claim.key, 1, claim.payload, results), storage, lambda *_: None)
        with storage.writing() as connection:
            assert ledger.publish(connection, claim, result=json.loads(json.dumps(result, allow_nan=False)))
        done.append(claim.key)


@pytest.fixture(scope="module")
def benchmark(client: TestClient, storage: Storage) -> str:
    """Three folds of one subject each, done; nothing was trained."""
    masks = {f"m{i}": rings(96, radii=(10 + i, 18 + i, 26 + i), center=48) for i in range(3)}
    dataset = client.post("/v1/datasets", files={"file": ("d.zip", dataset_zip(masks))}).json()["id"]
    cases = [c["case"] for c in client.get(f"/v1/datasets/{dataset}").json()["cases"]]
    net = build_net(ARCHITECTURE, classes=4, parameters={"dropout": 0.2}, seed=0)
    weights = storage.blobs.put(pack_weights(net, seed=0))
    units, results = [], {}
    for number, case in enumerate(cases):
        key = f"small/loocv/r0/f{number}/s0/fold"
        units.append(UnitPlan(key=key, kind="fold", queue="training", payload=fold_payload(dataset, cases, number)))
        results[key] = fold_result(case, number, weights)
    spec = BenchmarkSpec.model_validate(
        {"dataset": dataset, "architectures": ["unet_small"], "protocols": [{"kind": "loocv"}]}
    )
    with storage.writing() as connection:
        job = ledger.create_job(
            connection, kind="benchmark", units=units, payload={}, result_url=None, job_id="bmk_" + "1" * 32
        )
        catalog.add_benchmark(connection, benchmark_id=job, job_id=job, dataset=dataset, spec=spec)
        for _ in units:
            claim = ledger.claim_next(connection, owner="test", queues=["training"], lease_s=60)
            assert claim is not None
            ledger.publish(connection, claim, result=results[claim.key])
    return job


def fold_payload(dataset: str, cases: list[str], number: int) -> dict[str, Any]:
    train = [c for i, c in enumerate(cases) if i != number]
    split = {"protocol": "loocv", "repeat": 0, "fold": number, "train": train, "test": [cases[number]]}
    study = {
        "architecture": ARCHITECTURE.model_dump(mode="json"),
        "label": "small",
        "seed": 0,
        "seeds": {"split": 0, "init": 0, "augmentation": 0},
        "split": split,
    }
    payload = {"dataset": dataset, "study": study, "split": split, "selection_biased": False, "preset": "quick"}
    return payload | {"reads": {"prefix": "", "count": 0}}


def fold_result(case: str, number: int, weights: str) -> dict[str, Any]:
    row = {"case": case, "subject": f"m{number}", "protocol": "loocv", "repeat": 0, "fold": number, "seed": 0}
    row |= {"architecture": "unet_small", "model": "small", "class": "macro", "metric": "dice"}
    row |= {"value": DICE[number], "unit": "", "selection_biased": False}
    return {"parameters": {"dropout": 0.2}, "rows": [row], "seconds": 1.0, "weights_sha256": weights}


@pytest.fixture(scope="module")
def explained(client: TestClient, storage: Storage, benchmark: str) -> dict[str, Any]:
    body = {"model": "small", "protocol": "loocv", "settings": {"saliency_steps": 2, "dropout_passes": 2}}
    started = client.post(f"/v1/benchmarks/{benchmark}/explanations", json=body, headers={"Idempotency-Key": "e1"})
    assert started.status_code == 202, started.text
    assert started.json()["folds"] == [0, 1]
    again = client.post(f"/v1/benchmarks/{benchmark}/explanations", json=body, headers={"Idempotency-Key": "e1"})
    assert again.json() == started.json()
    view = client.get(f"/v1/explanations/{started.json()['id']}").json()
    assert (view["state"], view["cases"], view["paradox"]) == ("queued", [], None)
    early = client.get(f"/v1/explanations/{view['id']}/artefacts/paradox.png")
    assert (early.status_code, early.json()["code"]) == (409, "not_ready")
    assert run_ready(storage, view["id"]) == ["fold0", "fold1", "paradox"]
    return client.get(f"/v1/explanations/{view['id']}").json()


def test_every_case_has_a_figure_and_a_json_of_five_layers(client: TestClient, explained: dict[str, Any]) -> None:
    assert explained["state"] == "succeeded"
    assert [c["fold"] for c in explained["cases"]] == [0, 1]
    for case in explained["cases"]:
        figure = client.get(case["figure"]["url"])
        assert figure.headers["content-type"] == "image/png"
        assert figure.headers["etag"] == f'"{case["figure"]["sha256"]}"'
        with Image.open(io.BytesIO(figure.content)) as picture:
            assert picture.width == 1440
        found = client.get(case["json_file"]["url"]).json()
        assert found["case"] == case["case"]
        assert found["dice"] == case["dice"]
        assert found["attention"]["method"] == "grad_cam"
        assert [s["sampler"] for s in found["uncertainty"]["samplers"]] == ["tta", "mc_dropout"]
        assert found["morphology"]["arterial"]
        assert found["saliency"]["classes"]
        assert found["error"]["unit"] == "µm"
        with Image.open(io.BytesIO(client.get(case["prediction"]["url"]).content)) as mask:
            wrong = np.asarray(mask) != rings(96, radii=tuple(r + case["fold"] for r in (10, 18, 26)), center=48)
        assert np.count_nonzero(wrong) == found["error"]["pixels"]


def test_the_paradox_check_sets_best_beside_worst(client: TestClient, explained: dict[str, Any]) -> None:
    paradox = explained["paradox"]
    assert paradox["best"]["dice"] >= paradox["worst"]["dice"]
    assert {paradox["best"]["fold"], paradox["worst"]["fold"]} == {0, 1}
    figure, json_file = explained["paradox_files"]
    assert client.get(figure["url"]).content.startswith(b"\x89PNG")
    assert client.get(json_file["url"]).json() == paradox


def test_a_second_attempt_gives_the_same_prediction_and_numbers(
    client: TestClient, storage: Storage, benchmark: str, explained: dict[str, Any]
) -> None:
    body = {"model": "small", "protocol": "loocv", "folds": [1], "settings": explained["request"]["settings"]}
    started = client.post(f"/v1/benchmarks/{benchmark}/explanations", json=body).json()
    assert run_ready(storage, started["id"]) == ["fold1"]
    (case,) = client.get(f"/v1/explanations/{started['id']}").json()["cases"]
    first = explained["cases"][1]
    assert case["prediction"]["sha256"] == first["prediction"]["sha256"]
    one, other = (client.get(c["json_file"]["url"]).json() for c in (first, case))
    assert one["error"] == other["error"]
    for ours, theirs in zip(numbers_of(one), numbers_of(other), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def numbers_of(value: Any) -> list[float]:
    """Return every number of a JSON value, in order."""
    if isinstance(value, dict):
        return [n for key in sorted(value) for n in numbers_of(value[key])]
    if isinstance(value, list):
        return [n for item in value for n in numbers_of(item)]
    return [value] if isinstance(value, int | float) else []


def test_layers_not_asked_for_are_null(client: TestClient, storage: Storage, benchmark: str) -> None:
    body = {"model": "small", "protocol": "loocv", "folds": [2], "settings": {"layers": ["error"]}}
    started = client.post(f"/v1/benchmarks/{benchmark}/explanations", json=body).json()
    run_ready(storage, started["id"])
    view = client.get(f"/v1/explanations/{started['id']}").json()
    found = client.get(view["cases"][0]["json_file"]["url"]).json()
    assert found["error"] is not None
    assert [found[layer] for layer in ("uncertainty", "morphology", "attention", "saliency")] == [None] * 4
    assert view["paradox"] is None


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"model": "large"}, "/model"),
        ({"protocol": "kfold3"}, "/protocol"),
        ({"seed": 5}, "/seed"),
        ({"folds": [9]}, "/folds"),
        ({"folds": []}, "/folds"),
        ({"settings": {"layers": ["error", "error"]}}, "/settings/layers"),
        ({"settings": {"band_um": 0}}, "/settings/band_um"),
    ],
)
def test_a_wrong_request_names_the_field(
    client: TestClient, benchmark: str, fields: dict[str, Any], pointer: str
) -> None:
    body = {"model": "small", "protocol": "loocv"} | fields
    answer = client.post(f"/v1/benchmarks/{benchmark}/explanations", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)


def test_what_does_not_exist_is_a_404(client: TestClient, benchmark: str, explained: dict[str, Any]) -> None:
    body = {"model": "small", "protocol": "loocv"}
    for path in (f"/v1/explanations/exp_{'0' * 32}", f"/v1/explanations/{benchmark}", "/v1/explanations/x"):
        assert client.get(path).status_code == 404
    assert client.get(f"/v1/explanations/{explained['id']}/artefacts/none.png").status_code == 404
    assert client.post("/v1/benchmarks/bmk_none/explanations", json=body).status_code == 404
