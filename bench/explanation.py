"""Train two folds on synthetic arteries and explain them; write the figures and the time per layer.

python -m bench explanation FOLDER               figures and JSON of unet_small into FOLDER
python -m bench explanation FOLDER --steps 60    train longer
"""

import argparse
import io
import json
import tempfile
import time
from pathlib import Path

from PIL import Image

from intima.benchmark import run_fold
from intima.benchmark.explaining import run_explain, run_paradox
from intima.contracts.benchmark import BenchmarkSpec, FoldPayload, FoldResult
from intima.contracts.dataset import ClassSpec, Dataset, StoredCase
from intima.contracts.explanation import ALL_LAYERS, ExplanationRequest
from intima.explanation.plan import FinishedFold, choose_folds, plan_explanation
from intima.labels import ARTERY
from intima.phantom import draw_specs, phantom_cases
from intima.schedule import plan_benchmark
from intima.store import catalog
from intima.store.storage import Storage, open_storage
from intima.store.work import UnitInput
from intima.training import presets
from intima.training.presets import LoopSettings

MPP = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--architecture", default="unet_small")
    parser.add_argument("--subjects", type=int, default=4)
    parser.add_argument("--size-px", type=int, default=512)
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    presets.PRESETS["quick"] = LoopSettings(steps=arguments.steps, batch=4, crop_px=128, norm_steps=4)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        storage = open_storage(Path(place))
        dataset = phantoms(storage, subjects=arguments.subjects, size_px=arguments.size_px)
        folds = train(storage, dataset, architecture=arguments.architecture)
        explain(storage, folds, arguments.folder)
        storage.close()


def phantoms(storage: Storage, *, subjects: int, size_px: int) -> Dataset:
    cases = []
    for named, phantom in phantom_cases(draw_specs(seed=3, subjects=subjects, size_px=size_px, mpp=MPP)):
        files = [storage.blobs.put(png(pixels)) for pixels in (phantom.image, phantom.mask)]
        cases.append(
            StoredCase(
                case=f"synthetic/{named.subject}.png",
                subject=named.subject,
                block=None,
                section=None,
                mpp=MPP,
                width=size_px,
                height=size_px,
                image_sha256=files[0],
                mask_sha256=files[1],
            )
        )
    classes = tuple(ClassSpec(index=c.index, name=c.name, color=c.color) for c in ARTERY.classes)
    made = Dataset(
        id="synthetic", version="0" * 64, name="synthetic", licence="CC0", classes=classes, cases=tuple(cases)
    )
    with storage.writing() as connection:
        catalog.add_dataset(connection, made)
    return made


def png(pixels: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")  # type: ignore[arg-type]
    return out.getvalue()


def train(storage: Storage, dataset: Dataset, *, architecture: str) -> list[FinishedFold]:
    spec = BenchmarkSpec.model_validate(
        {
            "dataset": dataset.id,
            "architectures": [{"name": architecture, "label": architecture}],
            "protocols": [{"kind": "loocv"}],
            "search": {"trials": 0},
            "allow_leakage": "phantoms, drawn one by one",
        }
    )
    folds = []
    for unit in plan_benchmark(spec, dataset=dataset, benchmark="b"):
        if unit.kind == "fold":
            result = run_fold(UnitInput("j", unit.key, 1, dict(unit.payload), {}), storage, lambda *_: None)
            folds.append(FinishedFold(FoldPayload.model_validate(unit.payload), FoldResult.model_validate(result)))
            print(f"fold {folds[-1].number}: Dice {folds[-1].dice:.3f}")
    return folds


def explain(storage: Storage, folds: list[FinishedFold], folder: Path) -> None:
    request = ExplanationRequest(model=folds[0].payload.study.label, protocol="loocv")
    chosen, results = choose_folds(request, folds), {}
    for unit in plan_explanation(request, chosen):
        started = time.perf_counter()
        handler = run_paradox if unit.kind == "paradox" else run_explain
        needs = {key: results[key] for key in unit.needs}
        results[unit.key] = handler(UnitInput("j", unit.key, 1, dict(unit.payload), needs), storage, lambda *_: None)
        print(f"{unit.key}: {time.perf_counter() - started:.1f} s")
        write(storage, results[unit.key], folder)
    case = json.loads((folder / results[f"fold{chosen[0].number}"]["cases"][0]["json_file"]["name"]).read_text())
    print(json.dumps({name: case[name] for name in ALL_LAYERS if name != "morphology"}, indent=1)[:6000])


def write(storage: Storage, result: dict[str, object], folder: Path) -> None:
    files = [result] if "paradox" in result else result["cases"]
    for item in files:  # type: ignore[attr-defined]
        for kind in ("figure", "json_file"):
            (folder / item[kind]["name"]).write_bytes(storage.blobs.read(item[kind]["sha256"]))


if __name__ == "__main__":
    main()
