"""A store with one finished benchmark, one unfinished, and two published models; nothing was trained."""

from dataclasses import dataclass
from pathlib import Path

from intima.contracts.benchmark import ArchitectureSpec, BenchmarkSpec, LeaveOneOut, UnitPlan
from intima.contracts.dataset import ClassSpec, Dataset, StoredCase
from intima.contracts.model import Member, ModelCard
from intima.store import catalog, ledger, models
from intima.store.storage import Storage

SCORES = {
    "unet": (0.81, 0.86, 0.79, 0.90, 0.84, 0.77, 0.88, 0.83, 0.85),
    "deeplabv3plus": (0.80, 0.87, 0.78, 0.89, 0.85, 0.76, 0.87, 0.84, 0.84),
}
CLASSES = (ClassSpec(index=0, name="background", color="#000000"), ClassSpec(index=1, name="Lumen", color="#ff0000"))


@dataclass(frozen=True, slots=True)
class Installation:
    """What the store holds."""

    folder: Path
    finished: str
    running: str
    model: str
    default_model: str


def fill(storage: Storage) -> Installation:
    with storage.writing() as connection:
        catalog.add_dataset(connection, dataset())
        finished, job = benchmark(connection, "bmk_finished")
        running, _ = benchmark(connection, "bmk_running")
        model = models.add_model(connection, card("artery-unet", benchmark=finished)).ref
        default_model = models.add_model(connection, card("phantom", benchmark=None)).ref
    sha256 = storage.blobs.put(scores_csv())
    with storage.writing() as connection:
        collect = {"scores_sha256": sha256, "leaderboard": [], "skipped": 0}
        finish(connection, job, {"collect": collect, "unet/final/publish": {"model": model, "parity_max_abs": 0.0}})
    return Installation(storage.data_dir, finished, running, model, default_model)


def benchmark(connection, benchmark_id: str) -> tuple[str, str]:
    spec = BenchmarkSpec(
        dataset="dst_1", architectures=("unet", "deeplabv3plus"), protocols=(LeaveOneOut(kind="loocv"),)
    )
    units = [
        UnitPlan(key="collect", kind="collect", queue="training", payload={}),
        UnitPlan(key="unet/final/publish", kind="publish", queue="training", payload={}),
    ]
    job = ledger.create_job(connection, kind="benchmark", units=units, payload={}, result_url=None)
    catalog.add_benchmark(connection, benchmark_id=benchmark_id, job_id=job, dataset="dst_1", spec=spec)
    return benchmark_id, job


def finish(connection, job: str, results: dict[str, dict[str, object]]) -> None:
    for _ in results:
        claim = ledger.claim_next(connection, owner="test", queues=["training"], lease_s=60)
        assert claim is not None
        assert claim.job_id == job
        assert ledger.publish(connection, claim, result=results[claim.key])


def dataset() -> Dataset:
    cases = tuple(
        StoredCase(
            case=f"m{i}.png",
            subject=f"m{i}",
            block=None,
            section=None,
            mpp=None,
            width=8,
            height=8,
            image_sha256=f"{i:064x}",
            mask_sha256=f"{i + 100:064x}",
        )
        for i in range(9)
    )
    return Dataset(id="dst_1", version="d" * 64, name="nine", licence="CC0", classes=CLASSES, cases=cases)


def card(name: str, *, benchmark: str | None) -> ModelCard:
    return ModelCard(
        name=name,
        architecture=ArchitectureSpec(name="unet"),
        classes=CLASSES,
        mpp=None,
        pixel_scale=1.0,
        tile_px=64,
        halo_px=8,
        members=(Member(seed=0, onnx_sha256="a" * 64, bytes=1),),
        parameters={},
        encoder_weights="random",
        weights_licence="none",
        dataset="dst_1",
        dataset_version="d" * 64,
        dataset_licence="CC0",
        synthetic=True,
        benchmark=benchmark,
        scores=(),
        parity_max_abs=0.0,
        parameter_count=1,
        intima_version="test",
    )


def scores_csv() -> bytes:
    lines = ["case,subject,protocol,repeat,fold,seed,architecture,model,class,metric,value,unit,selection_biased"]
    lines += [
        f"m{i}.png,m{i},loocv,0,{i},0,{model},{model},macro,dice,{value},,False"
        for model, values in SCORES.items()
        for i, value in enumerate(values)
    ]
    return "\n".join(lines).encode()
