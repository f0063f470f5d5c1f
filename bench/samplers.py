"""Which sampler finds the errors of a model: ROC area, risk-coverage, errors removed by deferral, calibration.

``python -m bench samplers [--phantoms 12]``: the shipped model on synthetic arteries nobody trained on, clean, and
stained and blurred as elsewhere. ``python -m bench samplers --store FOLDER [--model unet] [--protocol kfold3]``: the
nets of the folds of a finished ``bench contenders --store FOLDER``, each on the cases it has not seen.

Everything at the model's working resolution, over whole images; means over images with 95 % t intervals. A score is the
predictive entropy (H) or the disagreement (MI) of the passes.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench._models import fold_nets, shipped_model
from intima.arrays import LabelMask, RgbImage
from intima.calibration import measure_calibration
from intima.contracts.segmentation import UncertaintySpec
from intima.framing import working_scale
from intima.geometry import MicronsPerPixel, Size
from intima.inference import OnnxNet, load_onnx, sample_passes
from intima.phantom import Shift, draw_specs, render
from intima.resampling import resample_image
from intima.selective import ErrorDetection, detect_errors
from intima.statistics.intervals import t_interval
from intima.store.storage import Storage, open_storage
from intima.tiling import predict_image
from intima.training.data import read_truth, resample_mask
from intima.training.export import to_onnx
from intima.training.scoring import Tiling
from intima.uncertainty import plan_passes, summarise_passes

SAMPLERS = (
    UncertaintySpec(sampler="none"),
    UncertaintySpec(sampler="ensemble", passes=2),
    UncertaintySpec(sampler="tta", passes=8),
    UncertaintySpec(sampler="mc_dropout", passes=8),
    UncertaintySpec(sampler="mc_dropout", passes=40),
)
UNSEEN_SEED = 876_543
SIZE_PX, MPP = 768, 1.0
SHIFTS = {"clean": Shift(), "stain and blur": Shift(stain=0.8, blur_um=2.0)}


@dataclass(frozen=True, slots=True)
class Seen:
    """An image with its truth and the nets that have not been trained on it."""

    image: RgbImage
    truth: LabelMask
    nets: tuple[OnnxNet, ...]
    tiling: Tiling


@dataclass(slots=True)
class Row:
    """What one sampler gave on all images."""

    cpu_s: float = 0.0
    ece: list[float] = field(default_factory=list)
    brier: list[float] = field(default_factory=list)
    entropy: list[ErrorDetection] = field(default_factory=list)
    disagreement: list[ErrorDetection] = field(default_factory=list)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=12)
    parser.add_argument("--store", type=Path, default=None)
    parser.add_argument("--model", default="unet")
    parser.add_argument("--protocol", default="kfold3")
    arguments = parser.parse_args()
    if arguments.store is None:
        for name, shift in SHIFTS.items():
            print(f"shipped model, {arguments.phantoms} unseen SYNTHETIC arteries, {name}")
            report(list(phantoms(arguments.phantoms, shift)))
        return 0
    storage = open_storage(arguments.store)
    try:
        print(f"{arguments.model}, nets of the folds of {arguments.protocol}, each on its own test cases")
        report(list(folds(storage, model=arguments.model, protocol=arguments.protocol)))
    finally:
        storage.close()
    return 0


def phantoms(count: int, shift: Shift) -> Iterator[Seen]:
    """Yield synthetic arteries with the shipped model."""
    model = shipped_model()
    card, mpp = model.card, MicronsPerPixel(MPP, MPP)
    size = Size(SIZE_PX, SIZE_PX).scaled(working_scale(card, mpp))
    for named in draw_specs(seed=UNSEEN_SEED, subjects=count, size_px=SIZE_PX, mpp=MPP, shift=shift):
        phantom = render(named.spec)
        truth = resample_mask(phantom.mask, size, classes=len(card.classes))
        yield Seen(resample_image(phantom.image, size), truth, model.nets, Tiling(card.tile_px, card.halo_px))


def folds(storage: Storage, *, model: str, protocol: str) -> Iterator[Seen]:
    """Yield the test cases of every fold with the net of that fold."""
    for fold in fold_nets(storage, model=model, protocol=protocol):
        served = load_onnx(to_onnx(fold.net))
        for case, image in fold.tests:
            size = Size(image.shape[1], image.shape[0])
            truth = resample_mask(read_truth(storage, case), size, classes=len(fold.dataset.classes))
            yield Seen(image, truth, (served,), fold.tiling)


def report(seen: Sequence[Seen]) -> None:
    """Print one line per sampler the nets support."""
    members, rate = len(seen[0].nets), seen[0].nets[0].dropout_rate
    for spec in SAMPLERS:
        if spec.sampler == "ensemble" and members < 2:
            continue
        row = Row()
        for item in seen:
            measure(item, spec, row, rate=rate)
        print_row(spec, row)


def measure(item: Seen, spec: UncertaintySpec, row: Row, *, rate: float | None) -> None:
    """Add what a sampler gives on one image."""
    started = time.process_time()
    _, passes = plan_passes(spec, members=len(item.nets), dropout_rate=rate)
    predict = sample_passes(item.nets, passes, seed=spec.seed)
    stacked = predict_image(item.image, predict, tile_px=item.tiling.tile_px, halo_px=item.tiling.halo_px)
    found = summarise_passes(stacked, classes=len(stacked) // len(passes))
    row.cpu_s += time.process_time() - started
    wrong = found.probabilities.argmax(0) != item.truth
    calibration = measure_calibration(found.probabilities, item.truth)
    row.ece.append(calibration.ece)
    row.brier.append(calibration.brier)
    row.entropy.append(detect_errors(found.entropy, wrong))
    row.disagreement.append(detect_errors(found.disagreement, wrong))


def print_row(spec: UncertaintySpec, row: Row) -> None:
    """Print one line."""
    name = spec.sampler if spec.passes is None else f"{spec.sampler} {spec.passes}"
    wrong = mean_of([e.error_rate for e in row.entropy])
    print(f"  {name:<14} {row.cpu_s:6.1f} CPU s  wrong {wrong}  ECE {mean_of(row.ece)}  Brier {mean_of(row.brier)}")
    for score, found in (("H", row.entropy), ("MI", row.disagreement)):
        if score == "MI" and spec.sampler == "none":
            continue
        removed = [[e.removed[i] for e in found if e.removed is not None] for i in range(2)]
        print(
            f"    {score:<3} AUROC {mean_of([e.auroc for e in found if e.auroc is not None])}"
            f"  excess AURC x 1000 {mean_of([1e3 * e.excess_aurc for e in found])}"
            f"  removed at 12 % {mean_of(removed[0])}, at 25 % {mean_of(removed[1])}",
            flush=True,
        )


def mean_of(values: Sequence[float]) -> str:
    """Return a mean and its interval over images."""
    if not values:
        return "-"
    interval = t_interval(np.array(values)) if len(values) > 1 else None
    limits = "" if interval is None else f" [{interval.low:.4f}, {interval.high:.4f}]"
    return f"{np.mean(values):.4f}{limits}"


if __name__ == "__main__":
    sys.exit(main())
