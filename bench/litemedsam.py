"""LiteMedSAM with learned prompts on real kidney tiles, with and without its pretrained weights.

``python -m bench litemedsam [--steps 240] [--batch 4] [--rate 1e-3] [--arms pretrained random ...]``: 16 PAS tiles of
1024 px with glomeruli, 4 folds by tile, scored at native resolution. The encoder is frozen; its embeddings of the
orientations of every image are computed once, then only the decoder is trained. Arms: ``pretrained`` encoder and
decoder; ``encoder``: pretrained encoder, random decoder; ``random``: both random. One thread. Needs ../shared/data.
"""

import argparse
import json
import math
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bench.real_data import DATA, SETS, indices
from intima.architectures import complete_architecture
from intima.architectures.build import build_net
from intima.architectures.net import SegmentationNet
from intima.contracts.benchmark import ArchitectureSpec, ArchitectureWish, ParameterValue
from intima.folds import kfold_splits
from intima.geometry import Size
from intima.inference import load_onnx
from intima.losses import LOSSES
from intima.tiling import resample_image, upsample_logits
from intima.training.data import resample_mask
from intima.training.export import to_onnx
from intima.training.loop import choose_precision, make_optimizer, rate_at
from intima.training.presets import LoopSettings

SIDE = 256
ARMS = ("pretrained", "encoder", "random")


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: its truth at native resolution, and its orientations at 256 px."""

    name: str
    truth: np.ndarray
    images: Tensor
    """(views, 3, 256, 256) float32."""
    masks: Tensor
    """(views, 256, 256) int64."""


def main() -> int:
    """Print one row per arm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--folds", type=int, default=4, help="how many of the four folds to run")
    parser.add_argument("--views", type=int, default=8, help="orientations to train on, of the eight")
    parser.add_argument("--cache", type=Path, default=None, help="folder to keep embeddings in")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["pretrained", "random"])
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.stderr.write("needs the folder ../shared/data\n")
        return 1
    torch.set_num_threads(1)
    tiles = read_tiles(arguments.views)
    print(f"{arguments.steps} steps, batch {arguments.batch}, rate {arguments.rate:g}, {arguments.views} orientations")
    print("Dice of the glomeruli per tile at native resolution; CPU seconds on one thread")
    print(f"{'arm':<12}{'mean':>7}{'95 % t interval':>18}{'median':>8}{'worst':>7}{'n':>4}{'embed s':>9}{'step s':>8}")
    for arm in arguments.arms:
        print(row(arm, tiles, arguments), flush=True)
    return 0


def read_tiles(views: int) -> list[Tile]:
    """Return the tiles of the kidney set at 256 px in their first ``views`` orientations."""
    folder = DATA / "kidney-glomeruli-pas"
    classes = json.loads((folder / "classes.json").read_text())["classes"]
    tiles = []
    for path in sorted((folder / "images").iterdir()):
        truth = indices(folder / "masks" / path.name, classes, SETS["kidney"]["merge"])
        image = resample_image(np.asarray(Image.open(path).convert("RGB")), Size(SIDE, SIDE))
        small = resample_mask(truth, Size(SIDE, SIDE), classes=2)
        planes = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
        images = orientations(planes)[:views]
        masks = orientations(torch.from_numpy(small.astype(np.int64))[None])[:views]
        tiles.append(Tile(path.stem, truth, images, masks[:, 0]))
    return tiles


def orientations(planes: Tensor) -> Tensor:
    """Return the eight orientations of (channels, side, side), the given one first."""
    turned = [torch.rot90(planes, k, (1, 2)) for k in range(4)]
    return torch.stack([*turned, *(t.flip(2) for t in turned)])


def row(arm: str, tiles: list[Tile], arguments: argparse.Namespace) -> str:
    """Train and score one arm on every fold."""
    at = time.process_time()
    embedded = embed(arm, tiles, cache=arguments.cache)
    embed_s = (time.process_time() - at) / sum(len(e) for e in embedded.values())
    print(f"  {arm}: embedded, {embed_s:.2f} s each", file=sys.stderr, flush=True)
    scores: list[float] = []
    at = time.process_time()
    splits = kfold_splits({t.name: t.name for t in tiles}, k=4, repeats=1, seed=0)[: arguments.folds]
    for split in splits:
        train, test = ([t for t in tiles if t.name in names] for names in (split.train, split.test))
        net = fit(arm, train, embedded, arguments)
        found = [(t.name, dice(net, t, embedded[t.name])) for t in test]
        print(f"  {arm} fold {split.fold}: " + ", ".join(f"{n} {d}" for n, d in found), file=sys.stderr, flush=True)
        scores += [d for _, d in found if d is not None]
    step_s = (time.process_time() - at) / (len(splits) * arguments.steps)
    half = 2.13 * statistics.stdev(scores) / math.sqrt(len(scores))
    mean = statistics.fmean(scores)
    interval = f"[{mean - half:.3f}, {mean + half:.3f}]"
    spread = f"{statistics.median(scores):>8.3f}{min(scores):>7.3f}{len(scores):>4}"
    return f"{arm:<12}{mean:>7.3f}{interval:>18}{spread}{embed_s:>9.2f}{step_s:>8.2f}"


def build(arm: str, rate: float) -> tuple[SegmentationNet, dict[str, ParameterValue]]:
    """Return the net of an arm: the decoder of "encoder" is a random one, its encoder the pretrained one."""
    parameters: dict[str, ParameterValue] = {"learning_rate": rate, "prompt_tokens": 8, "dropout": 0.1}
    net = build_net(spec_of("random" if arm == "random" else "pretrained"), classes=2, parameters=parameters, seed=0)
    if arm == "encoder":
        random = build_net(spec_of("random"), classes=2, parameters=parameters, seed=0)
        net.decoder.load_state_dict(random.decoder.state_dict())
    return net, parameters


def spec_of(weights: str) -> ArchitectureSpec:
    """Return LiteMedSAM at its own size, frozen."""
    return complete_architecture(ArchitectureWish.model_validate({"name": "litemedsam", "weights": weights}))


class EmbedOnly(nn.Module):
    """A net up to its embedding, to run through ONNX Runtime: more than twice as fast as torch on this encoder."""

    def __init__(self, net: SegmentationNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Return the embedding of images."""
        return self.net.embed(images)[0]


def embed(arm: str, tiles: list[Tile], *, cache: Path | None) -> dict[str, Tensor]:
    """Return (views, 256, 64, 64) float16 embeddings by tile."""
    name = "random" if arm == "random" else "pretrained"
    known = None if cache is None else cache / f"{name}-{len(tiles[0].masks)}.pt"
    if known is not None and known.is_file():
        kept: dict[str, Tensor] = torch.load(known, weights_only=True)
        return kept
    net, _ = build(arm, 0.0)
    embedding = load_onnx(to_onnx(EmbedOnly(net))).predict
    made = {t.name: torch.cat([torch.from_numpy(embedding(v[None].numpy())).half() for v in t.images]) for t in tiles}
    if known is not None:
        torch.save(made, known)
    return made


def fit(arm: str, train: list[Tile], embedded: dict[str, Tensor], arguments: argparse.Namespace) -> SegmentationNet:
    """Train the decoder of one arm on cached embeddings."""
    net, parameters = build(arm, arguments.rate)
    settings = LoopSettings(steps=arguments.steps, batch=arguments.batch, crop_px=SIDE)
    optimizer = make_optimizer(net, settings=settings, parameters=parameters)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, settings=settings))
    rng, bf16 = np.random.default_rng(0), choose_precision().bf16
    torch.manual_seed(0)
    net.train()
    for step in range(settings.steps):
        drawn = [(train[i], int(rng.integers(arguments.views))) for i in rng.integers(len(train), size=settings.batch)]
        features = torch.stack([embedded[t.name][v] for t, v in drawn]).float()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = net.decode([features])
        loss = LOSSES["focal_dice"](logits, torch.stack([t.masks[v] for t, v in drawn]), {})
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 19:
            print(f"    step {step + 1}, loss {float(loss.detach()):.3f}", file=sys.stderr, flush=True)
    return net.eval()


def dice(net: SegmentationNet, tile: Tile, embedding: Tensor) -> float | None:
    """Return the Dice of one tile at native resolution, unturned; None where truth and prediction are both empty."""
    with torch.inference_mode():
        logits = net.decode([embedding[:1].float()])[0].numpy()
    height, width = tile.truth.shape
    predicted = upsample_logits(logits, Size(width, height)).argmax(axis=0) == 1
    truth = tile.truth == 1
    total = int(truth.sum() + predicted.sum())
    return round(2 * int((truth & predicted).sum()) / total, 4) if total else None


if __name__ == "__main__":
    sys.exit(main())
