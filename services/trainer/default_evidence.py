"""Measure the uncertainty of the model that comes with Intima: python -m services.trainer.default_evidence.

On synthetic arteries nobody trained on, each a subject of its own, by the passes of the default sampler: half of them
as the training images are, half each from a laboratory of its own. Rewrites the card; the networks stay as they are.
"""

import sys
from collections.abc import Iterator

import numpy as np

from intima.contracts.evidence import HeldOutCase
from intima.contracts.model import ModelCard
from intima.contracts.segmentation import UncertaintySpec
from intima.evidence import HeldOut, Measured, gather_case, pool_evidence
from intima.inference import load_onnx, sample_passes
from intima.labels import ARTERY
from intima.phantom import NamedSpec, Shift, draw_specs, phantom_cases
from intima.resampling import resample_image
from intima.review import summary_of
from intima.tiling import image_strips
from intima.uncertainty import plan_passes
from services.trainer.default_model import FOLDER, say, working_size

SEED = 95_000
LIKE_TRAINING = 24
ELSEWHERE = 24
MOST_STAIN, MOST_BLUR_UM = 0.8, 2.0
"""Ends of the shift of a laboratory, drawn evenly."""


def main() -> int:
    """Measure and rewrite the card."""
    path = FOLDER / "card.json"
    card = ModelCard.model_validate_json(path.read_bytes())
    cases = []
    for case in gather(card):
        cases.append(case)
        say(f"{len(cases)}/{LIKE_TRAINING + ELSEWHERE} {case.subject}")
    measured = Measured(
        basis="held-out synthetic phantoms", protocol=None, selection_biased=False, members=len(card.members)
    )
    evidence = pool_evidence(cases, measured)
    known = card.model_copy(update={"evidence": evidence, "calibration": summary_of(evidence)})
    path.write_text(known.model_dump_json(indent=1, by_alias=True) + "\n")
    say(known.calibration)
    return 0


def gather(card: ModelCard) -> Iterator[HeldOutCase]:
    """Yield what each held-out artery says of the shipped networks."""
    nets = [load_onnx((FOLDER / f"member-{n}.onnx").read_bytes()) for n in range(len(card.members))]
    _, passes = plan_passes(UncertaintySpec(), members=len(nets), dropout_rate=card.dropout_rate)
    predict = sample_passes(nets, passes, seed=0)
    for number, (named, phantom) in enumerate(phantom_cases(held_out_specs()), start=1):
        image = resample_image(phantom.image, working_size(phantom, mpp=named.spec.mpp))
        strips = image_strips(image, predict, tile_px=card.tile_px, halo_px=card.halo_px)
        subject = f"phantom-{number:02d}"
        held = HeldOut(subject, subject, mpp=named.spec.mpp, truth=phantom.mask, schema=ARTERY)
        yield gather_case(held, strips)


def held_out_specs() -> Iterator[NamedSpec]:
    """Yield the specs of the arteries; none is among those of training, of scores or of benches."""
    yield from draw_specs(seed=SEED, subjects=LIKE_TRAINING)
    for number in range(ELSEWHERE):
        stain, blur = np.random.default_rng([SEED, number]).uniform((0, 0), (MOST_STAIN, MOST_BLUR_UM))
        shift = Shift(stain=float(stain), blur_um=float(blur))
        yield from draw_specs(seed=SEED + 1 + number, subjects=1, shift=shift)


if __name__ == "__main__":
    sys.exit(main())
