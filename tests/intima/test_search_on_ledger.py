"""One study on the real ledger: any number of workers, in any order, killed or not, gives one table."""

import math
import random
from pathlib import Path

import pytest

from intima.arrays import Json
from intima.benchmark import run_trial, trials
from intima.contracts.benchmark import BenchmarkSpec
from intima.contracts.dataset import ClassSpec, Dataset
from intima.contracts.search import CurvePoint
from intima.schedule import plan_benchmark
from intima.store import ledger
from intima.store.storage import Storage, open_storage
from intima.store.work import UnitInput
from intima.training.pruning import is_hopeless
from tests.builders import COMPARED, stored_case

TRIALS, PARALLEL = 11, 3


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """Train nothing: a trial scores a bowl, and half of it at its rung."""

    def attempt(_storage, _payload, *, parameters, earlier, report):
        value = 1 - (parameters["dropout"] - 0.35) ** 2 - 0.1 * (math.log10(parameters["learning_rate"]) + 2.5) ** 2
        curve = (CurvePoint(step=10, value=value / 2), CurvePoint(step=20, value=value))
        if is_hopeless(curve[:1], earlier=earlier):
            return trials.Outcome(value=None, curve=curve[:1], pruned=True)
        return trials.Outcome(value=value, curve=curve)

    monkeypatch.setattr(trials, "_try", attempt)


def study() -> list:
    """Return the trials of a study over all data."""
    cases = [stored_case(f"c{n}.png", f"s{n}") for n in range(3)]
    classes = (ClassSpec(index=0, name="out", color="#000000"), ClassSpec(index=1, name="in", color="#ff0000"))
    data = Dataset(
        id="ds", version="2" * 64, name="d", licence="none", classes=classes, cases=tuple(cases), similarity=COMPARED
    )
    search = {"trials": TRIALS, "parallel": PARALLEL, "sampler": "tpe"}
    body = {"dataset": "ds", "architectures": ["unet"], "protocols": [{"kind": "loocv"}], "search": search}
    units = plan_benchmark(BenchmarkSpec.model_validate(body), dataset=data, benchmark="b")
    return [u for u in units if u.key.startswith("unet/final/trial")]


def run_with(storage: Storage, *, workers: int, order: int, killed: float) -> dict[str, Json]:
    """Run the study with this many claims at a time that end in a random order; some die and are tried again."""
    rng = random.Random(order)
    with storage.writing() as connection:
        job = ledger.create_job(connection, kind="t", units=study(), payload={}, result_url=None, unit_attempts=99)
    held: list[ledger.Claim] = []
    while True:
        with storage.writing() as connection:
            fresh = [
                ledger.claim_next(connection, owner="me", queues=["training"], lease_s=60)
                for _ in range(workers - len(held))
            ]
        held += [claim for claim in fresh if claim is not None]
        if not held:
            break
        finish(storage, held.pop(rng.randrange(len(held))), dies=rng.random() < killed)
    with storage.reading() as connection:
        results = ledger.results_of(connection, job, [u.key for u in study()])
    return {key: {**result, "seconds": 0} for key, result in results.items()}


def finish(storage: Storage, claim: ledger.Claim, *, dies: bool) -> None:
    with storage.reading() as connection:
        results = ledger.results_of(connection, claim.job_id, claim.needs)
    unit = UnitInput(claim.job_id, claim.key, claim.attempt, claim.payload, results)
    with storage.writing() as connection:
        if dies:
            ledger.fail_attempt(connection, claim, code="killed", message="SIGKILL", retryable=True)
        else:
            ledger.publish(connection, claim, result=run_trial(unit, storage, lambda *_: None))


def test_one_table_on_any_number_of_workers_killed_or_not(tmp_path: Path) -> None:
    tables = []
    for place, (workers, killed) in enumerate([(1, 0.0), (2, 0.0), (4, 0.3)]):
        storage = open_storage(tmp_path / str(place))
        tables.append(run_with(storage, workers=workers, order=place, killed=killed))
        storage.close()
    assert len(tables[0]) == TRIALS
    assert tables[0] == tables[1] == tables[2]
    assert len({str(r["parameters"]) for r in tables[0].values()}) == TRIALS
    assert any(r["pruned"] for r in tables[0].values())
