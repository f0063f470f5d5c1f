"""A study of stability as a job: started at the api, done by units, read at the stats service."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from intima.comparison.stability import run_point
from intima.store import ledger
from intima.store.storage import Storage
from intima.store.work import UnitInput
from services.runner import HANDLERS
from services.stats.app import create_app as create_stats
from services.stats.settings import Settings as StatsSettings

BODY: dict[str, Any] = {"gaps": [0, 0.02, 0.04], "numbers": [20, 5, 9], "data_sets": 200, "seed": 3}


@pytest.fixture
def stats(storage: Storage) -> Iterator[TestClient]:
    with TestClient(create_stats(StatsSettings(data=storage.data_dir)), raise_server_exceptions=False) as found:
        yield found


def do_one(storage: Storage, job: str) -> str:
    """Do what a worker does with the next unit of a job."""
    with storage.writing() as connection:
        claim = ledger.claim_next(connection, owner="test", queues=["training"], lease_s=60)
        assert claim is not None
        assert claim.job_id == job
    assert HANDLERS[claim.kind] == "intima.comparison.stability:run_point"
    result = run_point(UnitInput(job, claim.key, 1, claim.payload, {}), storage, lambda *_: None)
    with storage.writing() as connection:
        assert ledger.publish(connection, claim, result=json.loads(json.dumps(result, allow_nan=False)))
    return claim.key


def test_a_study_as_a_job_answers_like_the_request(client: TestClient, stats: TestClient, storage: Storage) -> None:
    key = {"Idempotency-Key": "s1"}
    started = client.post("/v1/stability/studies", json=BODY, headers=key)
    assert started.status_code == 202, started.text
    assert client.post("/v1/stability/studies", json=BODY, headers=key).json() == started.json()
    assert client.post("/v1/stability/studies", json=BODY | {"seed": 4}, headers=key).status_code == 409
    study = started.json()["id"]
    path = f"/v1/stability/studies/{study}"
    assert stats.get(path).json() == {
        "id": study, "job": study, "state": "queued", "error": None, "points": [], "answer": None,
    }  # fmt: skip
    early = stats.get(f"{path}/figures/stability_curves.svg")
    assert (early.status_code, early.json()["code"]) == (409, "not_ready")
    assert do_one(storage, study) == "n5"
    assert [p["n"] for p in stats.get(path).json()["points"]] == [5]
    assert [do_one(storage, study) for _ in range(2)] == ["n9", "n20"]
    view = stats.get(path).json()
    assert view["state"] == "succeeded"
    assert view["answer"] == stats.post("/v1/stability", json=BODY).json() | {"points": view["points"]}
    assert client.get(f"/v1/jobs/{study}").json()["result"] == path
    assert stats.get(f"{path}/figures/stability_curves.csv").status_code == 200
    assert stats.get(f"{path}/figures/pie.svg").status_code == 404


def test_a_job_may_be_larger_than_a_request(client: TestClient, stats: TestClient, storage: Storage) -> None:
    large = BODY | {"numbers": [1_000], "data_sets": 8_000, "gaps": [0.01 * i for i in range(10)]}
    refused = stats.post("/v1/stability", json=large)
    assert (refused.status_code, "POST /v1/stability/studies" in refused.text) == (422, True)
    started = client.post("/v1/stability/studies", json=large)
    assert started.status_code == 202
    assert client.post(f"/v1/jobs/{started.json()['id']}/cancel").status_code == 202


def test_a_pilot_is_taken_in_when_the_study_starts(client: TestClient, stats: TestClient, storage: Storage) -> None:
    pilot = [[0.8, 0.82], [0.9, 0.88], [0.7, 0.75], [0.85, 0.86]]
    body = {"pilot": pilot, "numbers": [4], "data_sets": 100}
    study = client.post("/v1/stability/studies", json=body).json()["id"]
    do_one(storage, study)
    answer = stats.get(f"/v1/stability/studies/{study}").json()["answer"]
    assert answer == stats.post("/v1/stability", json=body).json()
    assert any("partly chance" in w for w in answer["warnings"])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"gaps": [0.1, 0.2]}, "/gaps"),
        ({"gaps": [0, 0.9]}, "/gaps/1"),
        ({"gaps": [0, 0.1], "sd_difference": 0.5}, "/sd_difference"),
        ({"gaps": [0, 0.1], "numbers": [1]}, "/numbers/0"),
    ],
)
def test_a_study_that_cannot_be_is_refused(client: TestClient, body: dict[str, Any], pointer: str) -> None:
    answer = client.post("/v1/stability/studies", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


@pytest.mark.parametrize("study", ["stb_nothing", "stb_" + "0" * 32, "bmk_" + "0" * 32])
def test_an_unknown_study_is_not_found(stats: TestClient, study: str) -> None:
    assert stats.get(f"/v1/stability/studies/{study}").status_code == 404
