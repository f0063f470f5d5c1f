"""Calibration before and after temperature, error detection and conformal margins, on cases the nets have not seen.

``python -m bench calibration [--phantoms 24]``: the shipped model with the temperature of its card, on synthetic
arteries that neither training nor the card has seen, clean and shifted; no temperature is fitted here.
``python -m bench calibration --store FOLDER [--model unet] [--protocol kfold3]``: the nets of the folds of a finished
``bench contenders --store FOLDER``, each on its test cases, pooled as for a card: "after" is each subject at the
temperature of the others.

At native resolution, by the passes of the default sampler; means over subjects with 95 % t intervals.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench._models import fold_nets, shipped_model
from bench.default_model import MPP, SIZE_PX
from bench.samplers import SHIFTS
from intima.contracts.dataset import label_schema
from intima.contracts.evidence import CalibrationFigure, Figure, HeldOutCase
from intima.contracts.segmentation import UncertaintySpec
from intima.evidence import HeldOut, Measured, gather_case, pool_evidence
from intima.evidence.pool import figures_at
from intima.framing import working_scale
from intima.geometry import MicronsPerPixel, Size
from intima.inference import sample_passes
from intima.labels import ARTERY
from intima.phantom import Shift, draw_specs, render
from intima.resampling import resample_image
from intima.store.storage import Storage, open_storage
from intima.tiling import image_strips
from intima.training.data import read_truth
from intima.training.loop import as_predict
from intima.uncertainty import plan_passes, stack_passes

UNSEEN_SEED = 654_987


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=24)
    parser.add_argument("--store", type=Path, default=None)
    parser.add_argument("--model", default="unet")
    parser.add_argument("--protocol", default="kfold3")
    arguments = parser.parse_args()
    if arguments.store is None:
        for name, shift in SHIFTS.items():
            shipped(arguments.phantoms, name, shift)
        return 0
    storage = open_storage(arguments.store)
    try:
        cases = list(folds(storage, model=arguments.model, protocol=arguments.protocol))
    finally:
        storage.close()
    measured = Measured("out-of-fold", protocol=arguments.protocol, selection_biased=False, members=1)
    found = pool_evidence(cases, measured)
    print(f"{arguments.model}, {arguments.protocol}: {found.cases} cases of {found.subjects} subjects")
    print(f"  temperature {found.temperature.value:.3f}, fitted {found.temperature.fitted}: {found.temperature.reason}")
    table(found.calibration)
    for margin in found.margins:
        print(f"  margin of {margin.target} at alpha {margin.alpha}: {margin.margin} {margin.unit}: {margin.reason}")
    rates = [(c.dice, c.expected_dice[10]) for c in cases if c.dice is not None and c.expected_dice[10] is not None]
    correlation = np.corrcoef(np.array(rates, float).T)[0, 1]
    print(f"  Dice and expected Dice: correlation {correlation:.2f} over {len(rates)} cases")
    return 0


def shipped(count: int, name: str, shift: Shift) -> None:
    """Print what the shipped model gives on unseen synthetic arteries."""
    model = shipped_model()
    card, mpp = model.card, MicronsPerPixel(MPP, MPP)
    _, passes = plan_passes(UncertaintySpec(), members=len(model.nets))
    predict = sample_passes(model.nets, passes, seed=0)
    size = Size(SIZE_PX, SIZE_PX).scaled(working_scale(card, mpp))
    cases = []
    for number, named in enumerate(draw_specs(seed=UNSEEN_SEED, subjects=count, size_px=SIZE_PX, mpp=MPP, shift=shift)):
        phantom = render(named.spec)
        strips = image_strips(resample_image(phantom.image, size), predict, tile_px=card.tile_px, halo_px=card.halo_px)
        held = HeldOut(str(number), str(number), mpp=MPP, truth=phantom.mask, schema=ARTERY)
        cases.append(gather_case(held, strips))
    temperature = 1.0 if card.evidence is None else card.evidence.temperature.value
    print(f"{model.version.ref}, {count} unseen SYNTHETIC arteries, {name}; temperature of the card {temperature:.3f}")
    table(figures_at(cases, temperature))


def folds(storage: Storage, *, model: str, protocol: str) -> Iterator[HeldOutCase]:
    """Yield what the test cases of every fold say of the net of that fold."""
    _, passes = plan_passes(UncertaintySpec(), members=1)
    for fold in fold_nets(storage, model=model, protocol=protocol):
        predict, schema = stack_passes([as_predict(fold.net)], passes), label_schema(fold.dataset.classes)
        for case, image in fold.tests:
            strips = image_strips(image, predict, tile_px=fold.tiling.tile_px, halo_px=fold.tiling.halo_px)
            held = HeldOut(case.case, case.subject, mpp=case.mpp, truth=read_truth(storage, case), schema=schema)
            yield gather_case(held, strips)


def table(figures: Sequence[CalibrationFigure]) -> None:
    """Print one line per figure."""
    for figure in figures:
        print(f"  {figure.name:<26} {said(figure.before):<28} {said(figure.after):<28}", flush=True)


def said(figure: Figure | None) -> str:
    """Return a mean with its interval."""
    if figure is None:
        return "-"
    limits = "" if figure.ci95 is None else f" [{figure.ci95[0]:.4f}, {figure.ci95[1]:.4f}]"
    return f"{figure.mean:.4f}{limits}"


if __name__ == "__main__":
    sys.exit(main())
