"""What can be searched, and what became of a search, over HTTP."""

from importlib import metadata
from typing import Any

import pytest
from fastapi.testclient import TestClient

from intima.architectures import ARCHITECTURES
from intima.contracts.benchmark import FoldResult, TrialResult
from intima.contracts.search import CurvePoint, StudySummary
from intima.store import ledger
from intima.store.storage import Storage
from tests.builders import dataset_zip, rings

TRIALS = {
    0: TrialResult(parameters={"dropout": 0.1}, value=0.5, curve=(CurvePoint(step=9, value=0.5),), seconds=3.0),
    1: TrialResult(
        parameters={"dropout": 0.3}, value=None, curve=(CurvePoint(step=3, value=0.1),), pruned=True, seconds=1
    ),
    2: TrialResult(parameters={"dropout": 0.2}, value=0.7, seconds=3.0),
}
SUMMARY = StudySummary(trials=3, best=2, value=0.7, importances={"dropout": 1.0})


@pytest.fixture(scope="module")
def dataset(client: TestClient) -> str:
    masks = {f"m{i}": rings(64, radii=(8 + i, 15 + i, 20 + i), center=32) for i in range(3)}
    answer = client.post("/v1/datasets", files={"file": ("d.zip", dataset_zip(masks))})
    return str(answer.json()["id"])


def submit(client: TestClient, dataset: str, **search: Any) -> Any:
    body = {"dataset": dataset, "architectures": ["unet"], "protocols": [{"kind": "loocv"}], "publish": False}
    return client.post("/v1/benchmarks", json=body | {"search": search})


def finish_first_study(storage: Storage) -> None:
    """Publish results as workers would, first the trials of a fold and then the fold itself."""
    results = [TRIALS[n].model_dump(mode="json") for n in sorted(TRIALS)]
    results.append(FoldResult(parameters={}, rows=(), seconds=1.0, search=SUMMARY).model_dump(mode="json"))
    for result in results:
        with storage.writing() as connection:
            held = ledger.claim_next(connection, owner="me", queues=["training"], lease_s=60)
            assert held is not None
            assert ledger.publish(connection, held, result=result)


def test_architectures_come_with_encoders_weights_and_spaces(client: TestClient) -> None:
    body = client.get("/v1/architectures").json()
    assert [a["name"] for a in body["architectures"]] == list(ARCHITECTURES)
    unet = body["architectures"][0]
    assert unet["encoders"][0]["name"] == "tf_efficientnet_lite0"
    weights = unet["encoders"][0]["weights"][0]
    assert (weights["kind"], weights["licence"], weights["available"]) == ("imagenet", "Apache-2.0", True)
    assert unet["space"]["learning_rate"] == {"low": 5e-4, "high": 1e-2, "log": True, "int": False, "default": 4e-3}
    assert body["searchable"]["optimiser"]["names"] == ["adamw", "adam", "sgd"]
    assert body["searchable"]["input_px"]["choices_only"]


def test_a_study_shows_its_trials_its_best_and_its_importances(
    client: TestClient, storage: Storage, dataset: str
) -> None:
    benchmark = submit(client, dataset, trials=3).json()["id"]
    before = client.get(f"/v1/benchmarks/{benchmark}/studies").json()
    assert [s["study"] for s in before] == [f"unet/loocv/r0/f{f}/s0" for f in range(3)]
    assert before[0]["best"] is None
    assert before[0]["importances_reason"] == "The search is not finished."
    assert [t["state"] for t in before[0]["trials"]] == ["ready", "waiting", "waiting"]
    finish_first_study(storage)
    study = client.get(f"/v1/benchmarks/{benchmark}/studies").json()[0]
    assert [(t["number"], t["state"], t["value"]) for t in study["trials"]] == [
        (0, "done", 0.5),
        (1, "pruned", None),
        (2, "done", 0.7),
    ]
    assert study["trials"][1]["curve"] == [{"step": 3, "value": 0.1}]
    assert study["best"] == 2
    assert study["importances"] == {"dropout": 1.0}
    assert client.get(f"/v1/benchmarks/{benchmark}").json()["hpo_noise"] == []


def test_the_space_of_a_benchmark_comes_back_as_it_was_sent(client: TestClient, dataset: str) -> None:
    space = {"batch": {"low": 2, "high": 8, "int": True}, "optimiser": {"choices": ["sgd", "adamw"]}}
    started = submit(client, dataset, trials=1, space=space)
    assert started.status_code == 202, started.text
    sent = client.get(f"/v1/benchmarks/{started.json()['id']}").json()["spec"]["search"]["space"]
    assert (sent["batch"]["high"], sent["batch"]["int"]) == (8, True)
    assert sent["optimiser"]["choices"] == ["sgd", "adamw"]


@pytest.mark.parametrize(
    ("search", "pointer"),
    [
        ({"space": {"speed": {"low": 0, "high": 1}}}, "/search/space/speed"),
        ({"space": {"dropout": {"low": 0.5, "high": 0.1}}}, "/search/space/dropout"),
        ({"space": {"prompt_tokens": {"low": 2, "high": 8}}}, "/search/space/prompt_tokens"),
        ({"space": {"encoder": {"choices": ["nothing"]}}}, "/architectures"),
        ({"parallel": 17}, "/search/parallel"),
        ({"pruner": "hyperband"}, "/search/pruner"),
    ],
)
def test_a_bad_search_is_refused_with_its_field(
    client: TestClient, dataset: str, search: dict[str, Any], pointer: str
) -> None:
    answer = submit(client, dataset, **search)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_a_benchmark_says_what_each_encoder_starts_from(
    client: TestClient, storage: Storage, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the packages that hold the weights are not installed, as in the api's image."""

    def absent(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    wishes = ["litemedsam", {"name": "unet", "weights": "imagenet"}, {"name": "dpt", "weights": "random"}]
    body = {"dataset": dataset, "architectures": wishes, "protocols": [{"kind": "loocv"}], "search": {"trials": 0}}
    started = client.post("/v1/benchmarks", json=body)
    assert started.status_code == 202, started.text
    starts = started.json()["starts"]
    assert [(s["model"], s["weights"]["kind"]) for s in starts] == [
        ("litemedsam", "pretrained"),
        ("unet", "imagenet"),
        ("dpt", "random"),
    ]
    assert client.get(f"/v1/benchmarks/{started.json()['id']}").json()["starts"] == starts
    (row, *_) = client.get(f"/v1/benchmarks/{started.json()['id']}/experiments").json()["items"]
    assert (row["model"], row["encoder_weights"]) == ("litemedsam", "pretrained")
    available = client.get("/v1/architectures").json()["architectures"][0]["encoders"][0]["weights"][0]["available"]
    assert available
    refused = client.post("/v1/benchmarks", json=body | {"architectures": ["unet", "segformer"]})
    assert refused.status_code == 422
    assert "mit_b0.safetensors" in refused.json()["detail"]
    assert str(storage.weights_folder) in refused.json()["detail"]
