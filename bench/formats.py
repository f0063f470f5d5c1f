"""P6: what a number format costs in Dice on sections nobody trained on: ``python -m bench formats``.

The shipped model's networks, converted as publication converts them (int8 takes its ranges from other sections), on
SYNTHETIC sections, every one a subject: mean loss of macro Dice against float32 with its 90 % interval and the verdict
of two one-sided tests at the goal's margin of .005.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files

from intima.arrays import Predict, RgbImage
from intima.benchmark.certificate import MARGIN, equivalence_of
from intima.benchmark.external import as_ensemble
from intima.contracts.model import ModelCard, Precision
from intima.framing import working_scale
from intima.geometry import MicronsPerPixel, Size
from intima.inference import load_onnx
from intima.labels import ARTERY, MACRO
from intima.metrics import score_case
from intima.phantom import Phantom, draw_specs, render
from intima.resampling import resample_image
from intima.tiling import to_tile_batch
from intima.training.export import halve_weights
from intima.training.quantize import quantize_net
from intima.training.scoring import Tiling, predict_mask

SIZE_PX, MPP = 1024, 1.0


def main() -> int:
    """Print the table. Returns 1 where a format is worse by more than the margin."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=24)
    count = parser.parse_args().phantoms
    folder = files("intima").joinpath("assets/default_model")
    card = ModelCard.model_validate_json(folder.joinpath("card.json").read_bytes())
    nets = [folder.joinpath(f"member-{n}.onnx").read_bytes() for n in range(len(card.members))]
    working = Size(SIZE_PX, SIZE_PX).scaled(working_scale(card, MicronsPerPixel(MPP, MPP)))
    ranges = [to_tile_batch([middle(p, working, card.tile_px)]) for p in sections(seed=901, count=6)]
    formats: Mapping[Precision, Sequence[bytes]] = {
        "fp32": nets,
        "fp16": [halve_weights(net) for net in nets],
        "int8": [quantize_net(net, tiles=ranges) for net in nets],
    }
    served = {name: as_ensemble([load_onnx(net).predict for net in members]) for name, members in formats.items()}
    scores: dict[str, dict[str, float]] = {name: {} for name in served}
    for number, phantom in enumerate(sections(seed=902, count=count)):
        image = resample_image(phantom.image, working)
        for name, predict in served.items():
            scores[name][f"s{number}"] = macro_dice(phantom, image, predict, Tiling(card.tile_px, card.halo_px))
    print(f"| format | MB | macro Dice, {count} sections | loss | 90 % interval | at {MARGIN:g} |\n" + "|---" * 6 + "|")
    worse = False
    for name, members in formats.items():
        found = equivalence_of(scores["fp32"], scores[name])
        mean = sum(scores[name].values()) / count
        limits = "" if found.ci90 is None else f"{found.ci90[0]:.5f} to {found.ci90[1]:.5f}"
        size = sum(map(len, members)) / 2**20
        print(f"| {name} | {size:.1f} | {mean:.4f} | {found.loss:.5f} | {limits} | {found.verdict} |", flush=True)
        worse |= found.verdict not in {"identical", "equivalent", "different_but_negligible", "better"}
    return 1 if worse else 0


def sections(*, seed: int, count: int) -> list[Phantom]:
    """Return SYNTHETIC sections of as many subjects."""
    return [render(drawn.spec) for drawn in draw_specs(seed=seed, subjects=count, size_px=SIZE_PX, mpp=MPP)]


def middle(phantom: Phantom, working: Size, tile_px: int) -> RgbImage:
    """Return the middle of a section at the model's resolution."""
    image = resample_image(phantom.image, working)
    top = max(0, (image.shape[0] - tile_px) // 2)
    return image[top : top + tile_px, top : top + tile_px]


def macro_dice(phantom: Phantom, image: RgbImage, predict: Predict, tiling: Tiling) -> float:
    """Return the mean Dice over foreground classes at native resolution."""
    predicted = predict_mask(image, predict, size=Size(SIZE_PX, SIZE_PX), tiling=tiling)
    scores = score_case(phantom.mask, predicted, schema=ARTERY, mpp=MPP, probabilities=None, metrics=("dice",))
    value = next(s.value for s in scores if s.class_name == MACRO)
    return 0.0 if value is None else value


if __name__ == "__main__":
    sys.exit(main())
