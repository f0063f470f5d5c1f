"""A benchmark of which one unit cannot succeed: everybody else has scores, rank and model, and a retry mends it."""

import csv
import io

import pytest
from fastapi.testclient import TestClient

from intima.benchmark import run_collect
from intima.contracts.benchmark import FitResult, FoldPayload, FoldResult, PublishResult, ScoreRow, TrialResult
from intima.store import ledger
from intima.store.ledger import Claim
from intima.store.storage import Storage
from intima.store.work import UnitInput
from tests.builders import dataset_zip, rings

BAD_TRIAL = "sam/kfold3/r0/f1/s0/trial0"
LABELS = ("unet", "fpn", "sam")


def do(storage: Storage, claim: Claim) -> dict[str, object]:
    """Return what a worker would: the real table, and no training."""
    if claim.kind == "collect":
        with storage.reading() as connection:
            results = ledger.results_of(connection, claim.job_id, claim.needs)
            failures = ledger.failures_of(connection, claim.job_id, claim.needs)
        unit = UnitInput(claim.job_id, claim.key, 1, claim.payload, results, failures)
        return run_collect(unit, storage, lambda *_: None)
    if claim.kind == "fold":
        made = fold_result(FoldPayload.model_validate(claim.payload))
    elif claim.kind == "trial":
        made = TrialResult(parameters={}, value=0.6, seconds=1.0)
    elif claim.kind == "fit":
        made = FitResult(parameters={}, weights_sha256="b" * 64, seconds=1.0)
    else:
        made = PublishResult(model=f"rings-{claim.key.split('/')[0]}@1", parity_max_abs=0.0)
    return made.model_dump(mode="json", by_alias=True)


def fold_result(fold: FoldPayload) -> FoldResult:
    shared = {
        "protocol": fold.split.protocol, "repeat": fold.split.repeat, "fold": fold.split.fold, "seed": 0,
        "architecture": "unet", "model": fold.study.label, "class": "macro", "metric": "dice", "unit": "",
        "selection_biased": False, "value": 0.5 + 0.1 * LABELS.index(fold.study.label),
    }  # fmt: skip
    rows = tuple(ScoreRow.model_validate({**shared, "case": c, "subject": c}) for c in fold.split.test)
    return FoldResult(parameters={}, rows=rows, seconds=1.0)


def work(storage: Storage, *bad: str) -> None:
    """Do all units there are; these run out of memory each time."""
    while True:
        with storage.writing() as connection:
            claim = ledger.claim_next(connection, owner="test", queues=["training"], lease_s=600)
        if claim is None:
            return
        result = {} if claim.key in bad else do(storage, claim)
        with storage.writing() as connection:
            if claim.key in bad:
                ledger.fail_attempt(connection, claim, code="out_of_memory", message="no room", retryable=True)
            else:
                assert ledger.publish(connection, claim, result=result)


@pytest.fixture
def benchmark(client: TestClient) -> str:
    masks = {f"m{n}": rings(64, radii=(8, 14, 20), center=28 + n) for n in range(6)}
    dataset = client.post("/v1/datasets", files={"file": ("d.zip", dataset_zip(masks))}).json()["id"]
    body = {
        "allow_leakage": "same rings on purpose",
        "dataset": dataset,
        "architectures": [{"name": "unet_small", "label": label} for label in LABELS],
        "protocols": [{"kind": "loocv"}, {"kind": "kfold", "k": 3}],
        "search": {"trials": 1},
    }
    answer = client.post("/v1/benchmarks", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def read(client: TestClient, benchmark: str) -> dict:
    answer = client.get(f"/v1/benchmarks/{benchmark}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def table(client: TestClient, benchmark: str) -> list[dict[str, str]]:
    answer = client.get(f"/v1/benchmarks/{benchmark}/scores.csv")
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_a_unit_that_dies_three_times_costs_its_own_contender_only_and_a_retry_mends_it(
    client: TestClient, storage: Storage, benchmark: str
) -> None:
    work(storage, BAD_TRIAL)
    found = read(client, benchmark)
    assert (found["state"], found["error"]["code"], found["error"]["unit"]) == ("failed", "incomplete", BAD_TRIAL)
    ranked = {(e["protocol"], e["model"]) for e in found["leaderboard"]}
    assert ranked == {("loocv", label) for label in LABELS} | {("kfold3", "unet"), ("kfold3", "fpn")}
    assert sorted(m["model"] for m in found["models"]) == ["rings-fpn@1", "rings-unet@1"]
    reason = f"need_failed: {BAD_TRIAL}: out_of_memory: no room"
    assert found["incomplete"] == [
        {"model": "sam", "protocol": "kfold3", "missing": 1, "unit": "sam/kfold3/r0/f1/s0/fold", "reason": reason},
        {"model": "sam", "protocol": None, "missing": 1, "unit": "sam/final/publish", "reason": reason},
    ]
    rows = table(client, benchmark)
    assert {r["fold"] for r in rows if (r["model"], r["protocol"]) == ("sam", "kfold3")} == {"0", "2"}

    assert client.post(f"/v1/jobs/{benchmark}/retry").status_code == 202
    assert table(client, benchmark) == rows
    work(storage)
    mended = read(client, benchmark)
    assert (mended["state"], mended["incomplete"]) == ("succeeded", [])
    assert ("kfold3", "sam") in {(e["protocol"], e["model"]) for e in mended["leaderboard"]}
    assert len(mended["models"]) == 3
    assert len(table(client, benchmark)) == len(rows) + 2


def test_where_everything_failed_there_is_no_table(client: TestClient, storage: Storage, benchmark: str) -> None:
    with storage.reading() as connection:
        trials = [u.key for u in ledger.read_units(connection, benchmark) if u.kind == "trial"]
    work(storage, *trials, "collect")
    found = read(client, benchmark)
    assert (found["state"], found["leaderboard"], found["models"]) == ("failed", [], [])
    assert {p["model"] for p in found["incomplete"]} == set(LABELS)
    answer = client.get(f"/v1/benchmarks/{benchmark}/scores.csv")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
