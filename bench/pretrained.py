"""What pretrained weights are worth on real kidney tiles: one net, trained alike from published and random weights.

``python -m bench pretrained litemedsam|lite0 [--arms pretrained random] [--folds 0 1 2 3] [--steps N] [--rate R]``:
16 PAS tiles of 1024 px with glomeruli, 4 folds by tile, worked on at 256 px, scored at native resolution, by the loop
of the product. ``litemedsam``: frozen encoder, learned prompts; "random" has a random encoder and a random decoder,
"encoder" the published encoder and a random decoder. ``lite0``: a U-Net with EfficientNet-Lite0, trained in full, from
ImageNet or from nothing. One thread. Needs ../shared/data.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.real_data import DATA, SETS, indices
from intima.architectures import complete_architecture
from intima.architectures.build import build_net
from intima.architectures.net import SegmentationNet
from intima.arrays import LabelMask
from intima.contracts.benchmark import ArchitectureWish
from intima.contracts.search import ParameterValue
from intima.folds import kfold_splits
from intima.geometry import Size
from intima.resampling import resample_image
from intima.statistics.intervals import t_interval
from intima.store.cache import Cache
from intima.training.data import TrainingCase, resample_mask
from intima.training.loop import as_predict, fit
from intima.training.presets import LoopSettings
from intima.training.scoring import Tiling, predict_mask
from intima.training.search import default_parameters

SIDE = 256
FOLDS = 4
WISHES = {
    "litemedsam": ArchitectureWish(name="litemedsam", weights="pretrained"),
    "lite0": ArchitectureWish(name="unet", weights="imagenet"),
}
SETTINGS = {
    "litemedsam": LoopSettings(steps=150, batch=4, crop_px=SIDE, views=8),
    "lite0": LoopSettings(steps=150, batch=4, crop_px=192),
}
TILING = Tiling.of(complete_architecture(WISHES["litemedsam"]))
"""One tile, the whole image, for both nets."""
ARMS = ("pretrained", "encoder", "random")


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile at 256 px, and its truth at native resolution."""

    name: str
    case: TrainingCase
    truth: LabelMask


def main() -> int:
    """Print a row per arm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", choices=list(WISHES))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["pretrained", "random"])
    parser.add_argument("--folds", nargs="+", type=int, choices=range(FOLDS), default=list(range(FOLDS)))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rate", type=float, help="learning rate; without it that of the default search space")
    parser.add_argument("--cache", type=Path, help="folder to keep embeddings in")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.stderr.write("needs the folder ../shared/data\n")
        return 1
    torch.set_num_threads(1)
    tiles = read_tiles()
    print(f"{arguments.net}; Dice of the glomeruli per tile at native resolution, folds {arguments.folds}")
    print(f"{'arm':<12}{'mean':>7}{'95 % t interval':>20}{'median':>8}{'worst':>7}{'n':>4}{'CPU s':>8}")
    with ExitStack() as stack:
        folder = arguments.cache or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for arm in arguments.arms:
            print(row(arm, tiles, arguments, cache=Cache(folder, floor_bytes=0)), flush=True)
    return 0


def read_tiles() -> list[Tile]:
    """Return the tiles of the kidney set."""
    folder, size = DATA / "kidney-glomeruli-pas", Size(SIDE, SIDE)
    classes = json.loads((folder / "classes.json").read_text())["classes"]
    tiles = []
    for path in sorted((folder / "images").iterdir()):
        truth = indices(folder / "masks" / path.name, classes, SETS["kidney"]["merge"])
        image = resample_image(np.asarray(Image.open(path).convert("RGB")), size)
        tiles.append(Tile(path.stem, TrainingCase(image, resample_mask(truth, size, classes=2)), truth))
    return tiles


def row(arm: str, tiles: list[Tile], arguments: argparse.Namespace, *, cache: Cache) -> str:
    """Train and score one arm on the chosen folds; the scores of each tile go to standard error."""
    scores: list[float] = []
    at = time.process_time()
    for split in kfold_splits({t.name: t.name for t in tiles}, k=FOLDS, repeats=1, seed=0):
        if split.fold not in arguments.folds:
            continue
        train, test = ([t for t in tiles if t.name in names] for names in (split.train, split.test))
        net = trained(arm, [t.case for t in train], arguments, cache=cache)
        found = [(t.name, dice(net, t)) for t in test]
        print(f"  {arm} fold {split.fold}: " + ", ".join(f"{n} {d}" for n, d in found), file=sys.stderr, flush=True)
        scores += [d for _, d in found if d is not None]
    interval = t_interval(np.array(scores))
    shown = "none" if interval is None else f"[{interval.low:.3f}, {interval.high:.3f}]"
    spread = f"{np.median(scores):>8.3f}{min(scores):>7.3f}{len(scores):>4}{time.process_time() - at:>8.0f}"
    return f"{arm:<12}{np.mean(scores):>7.3f}{shown:>20}{spread}"


def trained(arm: str, cases: list[TrainingCase], arguments: argparse.Namespace, *, cache: Cache) -> SegmentationNet:
    """Return the net of an arm, trained on these cases."""
    parameters = default_parameters(WISHES[arguments.net].name)
    if arguments.rate is not None:
        parameters["learning_rate"] = arguments.rate
    settings = SETTINGS[arguments.net]
    return fit(
        build(arguments.net, arm, parameters),
        cases,
        classes=2,
        settings=replace(settings, steps=arguments.steps or settings.steps),
        parameters=parameters,
        seed=0,
        watch=lambda _fraction, _message: None,
        cache=cache,
        record=tell,
    )


def build(name: str, arm: str, parameters: Mapping[str, ParameterValue]) -> SegmentationNet:
    """Return the net of an arm: the decoder of "encoder" is a random one, its encoder the published one."""

    def build_from(weights: str | None) -> SegmentationNet:
        spec = complete_architecture(WISHES[name].model_copy(update={"weights": weights}))
        return build_net(spec, classes=2, parameters=parameters, seed=0)

    net = build_from("random" if arm == "random" else WISHES[name].weights)
    if arm == "encoder":
        net.decoder.load_state_dict(build_from("random").decoder.state_dict())
    return net


def dice(net: SegmentationNet, tile: Tile) -> float | None:
    """Return the Dice of one tile at native resolution; None where truth and prediction are both empty."""
    height, width = tile.truth.shape
    mask = predict_mask(tile.case.image, as_predict(net), size=Size(width, height), tiling=TILING)
    predicted = mask == 1
    truth = tile.truth == 1
    total = int(truth.sum() + predicted.sum())
    return round(2 * int((truth & predicted).sum()) / total, 4) if total else None


def tell(step: int, loss: float) -> None:
    """Print the loss now and then."""
    if step % 25 == 0:
        print(f"    step {step}, loss {loss:.3f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
