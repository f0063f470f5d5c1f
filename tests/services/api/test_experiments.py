"""The experiment table over HTTP: every trial, fold and fit, as JSON, CSV and MLflow's files."""

import csv
import io
import json
import zipfile

import pytest
from fastapi.testclient import TestClient

from intima.contracts.benchmark import FitResult, FoldResult, LossPoint, ScoreRow, TrialResult
from intima.contracts.search import CurvePoint
from intima.store import ledger
from intima.store.storage import Storage
from tests.builders import dataset_zip, rings

PARAMETERS = {"learning_rate": 0.004, "loss": "=dice"}


def result_of(key: str) -> dict[str, object]:
    """What a worker would have written."""
    losses = (LossPoint(step=1, loss=0.5), LossPoint(step=2, loss=0.25))
    if "/trial" in key:
        curve = (CurvePoint(step=10, value=0.4), CurvePoint(step=20, value=0.6))
        made = TrialResult(parameters=PARAMETERS, value=0.6, curve=curve, seconds=1.5)
    elif key.endswith("/fold"):
        row = {
            "case": "c", "subject": "s", "protocol": "loocv", "repeat": 0, "fold": 0, "seed": 0, "architecture": "unet",
            "model": "unet", "class": "macro", "metric": "dice", "value": 0.75, "unit": "1", "selection_biased": False,
        }  # fmt: skip
        other = {"case": "d", "subject": "t", "value": 1.0}
        changes: tuple[dict[str, object], ...] = ({}, {"value": 0.25}, other, {"value": None})
        rows = tuple(ScoreRow.model_validate({**row, **change}) for change in changes)
        made = FoldResult(parameters=PARAMETERS, rows=rows, losses=losses, seconds=2.0, weights_sha256="a" * 64)
    else:
        made = FitResult(parameters=PARAMETERS, weights_sha256="b" * 64, losses=losses, seconds=3.0)
    return made.model_dump(mode="json", by_alias=True)


@pytest.fixture(scope="module")
def benchmark(client: TestClient, storage: Storage) -> str:
    """A planned benchmark whose first four trials and first fold are done."""
    masks = {f"m{n}": rings(64, radii=(8, 14, 20), center=28 + n) for n in range(3)}
    dataset = client.post("/v1/datasets", files={"file": ("d.zip", dataset_zip(masks))}).json()["id"]
    body = {
        "allow_leakage": "same rings on purpose",
        "dataset": dataset,
        "architectures": ["unet_small"],
        "protocols": [{"kind": "loocv"}],
    }
    answer = client.post("/v1/benchmarks", json={**body, "search": {"trials": 2}, "members": 1})
    assert answer.status_code == 202, answer.text
    job = answer.json()["job"]
    finished = set()
    while len(finished) < 5:
        with storage.writing() as connection:
            claim = ledger.claim_next(connection, owner="test", queues=["training"], lease_s=60)
            assert claim is not None
            assert ledger.publish(connection, claim, result=result_of(claim.key))
            finished.add(claim.key)
    assert job == answer.json()["id"]
    return job


def test_the_table_holds_every_training_once_in_pages(client: TestClient, benchmark: str) -> None:
    rows, token = [], ""
    while True:
        page = client.get(f"/v1/benchmarks/{benchmark}/experiments", params={"page_size": 3, "page_token": token})
        assert page.status_code == 200, page.text
        rows += page.json()["items"]
        if not (token := page.json()["next_page_token"]):
            break
    assert len({r["unit"] for r in rows}) == len(rows)
    assert {r["kind"] for r in rows} == {"trial", "fold", "fit"}
    assert sum(r["kind"] == "fold" for r in rows) == 3
    assert all(r["encoder"] and r["architecture"] == "unet_small" and r["init_seed"] >= 0 for r in rows)
    done = [r for r in rows if r["state"] == "done"]
    assert len(done) == 5
    trial = next(r for r in done if r["kind"] == "trial")
    assert (trial["value"], trial["parameters"], trial["number"]) == (0.6, PARAMETERS, 0)
    assert [p["step"] for p in trial["curve"]] == [10, 20]
    assert trial["started_at"] <= trial["finished_at"]
    waiting = next(r for r in rows if r["state"] == "waiting")
    assert (waiting["value"], waiting["parameters"], waiting["artefacts"]) == (None, {}, {})
    fold = next(r for r in done if r["kind"] == "fold")
    assert fold["value"] == pytest.approx((0.5 + 1.0) / 2), "sections of a subject count as one"
    final = next(r for r in rows if r["kind"] == "fit")
    assert (final["protocol"], final["fold"], final["number"]) == (None, None, 0)


def test_bad_pages_and_unknown_benchmarks_are_refused(client: TestClient, benchmark: str) -> None:
    for params in ({"page_token": "abc"}, {"page_token": "-1"}, {"page_size": 0}):
        assert client.get(f"/v1/benchmarks/{benchmark}/experiments", params=params).status_code == 422
    for tail in ("experiments", "experiments.csv", "experiments.mlflow.zip"):
        assert client.get(f"/v1/benchmarks/bmk_none/{tail}").status_code == 404


def test_csv_has_a_column_for_each_parameter_and_no_formula(client: TestClient, benchmark: str) -> None:
    answer = client.get(f"/v1/benchmarks/{benchmark}/experiments.csv")
    table = list(csv.DictReader(io.StringIO(answer.text)))
    listed = client.get(f"/v1/benchmarks/{benchmark}/experiments", params={"page_size": 1000}).json()["items"]
    assert [r["unit"] for r in table] == [r["unit"] for r in listed]
    trial = next(r for r in table if r["kind"] == "trial" and r["state"] == "done")
    assert trial["param.learning_rate"] == "0.004"
    assert trial["param.loss"] == "'=dice"
    assert json.loads(trial["curve"]) == [{"step": 10, "value": 0.4}, {"step": 20, "value": 0.6}]


def test_mlflow_files_lie_where_mlflow_looks(client: TestClient, benchmark: str) -> None:
    path = f"/v1/benchmarks/{benchmark}/experiments.mlflow.zip"
    packed = client.get(path).content
    assert client.get(path).content == packed
    with zipfile.ZipFile(io.BytesIO(packed)) as bundle:
        files = {name: bundle.read(name).decode() for name in bundle.namelist()}
    (experiment,) = (n for n in files if n.count("/") == 2)
    assert f'name: "{benchmark}"' in files[experiment]
    root = experiment.removesuffix("meta.yaml")
    runs = {n.split("/")[2] for n in files if n.count("/") > 2}
    assert len(runs) == 5
    for run in runs:
        assert {f"{root}{run}/{folder}/" for folder in ("artifacts", "metrics", "params")} <= set(files)
        meta = dict(line.split(": ", 1) for line in files[f"{root}{run}/meta.yaml"].splitlines())
        assert json.loads(meta["run_id"]) == run
        assert json.loads(meta["status"]) == 3
        assert json.loads(meta["experiment_id"]) == root.split("/")[1]
        assert files[f"{root}{run}/params/learning_rate"] == "0.004"
        assert files[f"{root}{run}/tags/mlflow.runName"] == json.loads(meta["run_name"])
        for name in (n for n in files if n.startswith(f"{root}{run}/metrics/") and not n.endswith("/")):
            for line in files[name].splitlines():
                at, value, step = line.split(" ")
                assert int(at) > 10**12
                assert float(value) >= 0
                assert int(step) >= 0


def test_a_training_that_runs_shows_its_curves_until_it_ends(
    client: TestClient, storage: Storage, benchmark: str
) -> None:
    def running() -> list[dict[str, object]]:
        page = client.get(f"/v1/benchmarks/{benchmark}/experiments", params={"state": "running"})
        assert page.status_code == 200, page.text
        return list(page.json()["items"])

    assert running() == []
    with storage.writing() as connection:
        claim = ledger.claim_next(connection, owner="curious", queues=["training"], lease_s=60)
    assert claim is not None
    live = {"losses": [{"step": 1, "loss": 0.5}], "curve": [{"step": 1, "value": 0.25}]}
    for news in (live, None):
        with storage.writing() as connection:
            ledger.heartbeat(connection, claim, lease_s=60, fraction=0.5, message="step 1/2", live=news)
        (row,) = running()
        assert (row["unit"], row["losses"], row["curve"]) == (claim.key, live["losses"], live["curve"])
    (worker,) = client.get("/v1/workers").json()["workers"]
    assert (worker["owner"], worker["late"], worker["running"][0]["key"]) == ("curious", False, claim.key)
    assert worker["running"][0]["job"] == benchmark
    with storage.writing() as connection:
        ledger.release(connection, claim)
    assert running() == []
    assert client.get("/v1/workers").json()["workers"] == []
    assert client.get(f"/v1/benchmarks/{benchmark}/experiments", params={"state": "asleep"}).status_code == 422


def test_the_best_inner_score_so_far_is_told_of_each_search(client: TestClient, benchmark: str) -> None:
    studies = client.get(f"/v1/benchmarks/{benchmark}").json()["studies"]
    assert {s["best"] for s in studies if s["done"]} == {0.6}
    assert all(s["best"] is None for s in studies if not s["done"])
