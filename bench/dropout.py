"""P5: what T draws of dropout cost beside one pass, and beside as many whole passes: ``python -m bench dropout``.

CPU seconds on one thread of ONNX Runtime, all variants in turn, medians of pairwise ratios. The masks of all nets act
after the last block of the decoder, before the head. Weights are random but for the shipped model's: they cost the
same. Tiles are noise.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from importlib.resources import files

import numpy as np

from intima.architectures import complete_architecture
from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureWish
from intima.inference import OnnxNet, load_onnx
from intima.training.export import to_onnx
from intima.uncertainty import draw_masks

NETS = (("unet", "resnet34", 256), ("deeplabv3plus", "resnet34", 256), ("segformer", "mit_b0", 256))
ROUNDS = 5
GOAL = 1.6


def main() -> int:
    """Print the table. Returns 1 where a net costs more than the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    draws = parser.parse_args().draws
    shipped = load_onnx(files("intima").joinpath("assets/default_model/member-0.onnx").read_bytes())
    nets = [("shipped U-Net, small", shipped, 512), *((f"{n} {e}", built(n, e), px) for n, e, px in NETS)]
    missed = 0
    for name, net, px in nets:
        shared, naive, one_ms = ratios(net, px=px, draws=draws)
        missed += shared > GOAL
        print(
            f"{name}, tile {px} px: one pass {one_ms:.0f} ms; {draws} draws {shared:.2f} passes "
            f"({naive:.1f} as whole passes), {'pass' if shared <= GOAL else 'FAIL'} at {GOAL}",
            flush=True,
        )
    return 1 if missed else 0


def built(name: str, encoder: str) -> OnnxNet:
    """Return an untrained net as the service runs it."""
    spec = complete_architecture(ArchitectureWish(name=name, encoder=encoder, weights="random"))
    return load_onnx(to_onnx(build_net(spec, classes=4, parameters={"dropout": 0.1}, seed=0)))


def ratios(net: OnnxNet, *, px: int, draws: int) -> tuple[float, float, float]:
    """Return the cost of all draws in passes, shared and naive, and the milliseconds of one pass."""
    tile = np.random.default_rng(0).random((1, 3, px, px), np.float32)
    masks = draw_masks(net.dropout, seed=0, member=0, draws=range(1, draws + 1))
    alone = [{name: mask[i : i + 1] for name, mask in masks.items()} for i in range(draws)]
    ways: tuple[Callable[[], object], ...] = (
        lambda: net.predict(tile),
        lambda: net.predict_drawn(tile, masks),
        lambda: [net.predict_drawn(tile, mask) for mask in alone],
    )
    rounds = [[cpu_s(way) for way in ways] for _ in range(ROUNDS + 1)][1:]
    return (
        statistics.median(shared / one for one, shared, _ in rounds),
        statistics.median(naive / one for one, _, naive in rounds),
        1e3 * statistics.median(one for one, _, _ in rounds),
    )


def cpu_s(way: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    started = time.process_time()
    way()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
