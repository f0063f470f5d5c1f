"""P5: what T draws of dropout cost beside one pass, and beside as many whole passes: ``python -m bench dropout``.

CPU seconds on one thread, all variants in turn, medians of pairwise ratios. The masks act after the last block of the
decoder, before the head; in a second U-Net after every block of the decoder. Weights are random but for the shipped
model's: they cost the same. Tiles are noise. Draws of a seed must be the same bits in many threads. Beside ONNX
Runtime's CPU, OpenVINO in float32 where the interpreter has it (docs/providers.md); its goal is set for bfloat16,
which Intima does not ask for.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import numpy as np
import onnxruntime
from torch import nn

from intima.architectures import complete_architecture
from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureWish
from intima.inference import OnnxNet, load_onnx
from intima.providers import Device
from intima.training.export import to_onnx
from intima.uncertainty import draw_masks

NETS = (("unet", "resnet34", 256), ("deeplabv3plus", "resnet34", 256), ("segformer", "mit_b0", 256))
ROUNDS, THREADS, RATE = 5, 6, 0.1
AFTER_LAST, EVERY_BLOCK = 1.6, 6.4
"""Goals."""


def main() -> int:
    """Print the table. Returns 1 where a net costs more than the goal, or a seed gives two answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    draws = parser.parse_args().draws
    shipped = files("intima").joinpath("assets/default_model/member-0.onnx").read_bytes()
    nets = [("shipped U-Net, small", shipped, 512, AFTER_LAST)]
    nets += [(f"{name} {encoder}", built(name, encoder), px, AFTER_LAST) for name, encoder, px in NETS]
    nets.append(("unet resnet34, every block", built("unet", "resnet34", every_block=True), 256, EVERY_BLOCK))
    missed = 0
    for name, data, px, goal in nets:
        net = load_onnx(data)
        shared, naive, one_ms = ratios(net, px=px, draws=draws)
        same = same_bits(net, px=px)
        missed += shared > goal or not same
        print(
            f"{name}, tile {px} px: one pass {one_ms:.0f} ms; {draws} draws {shared:.2f} passes "
            f"({naive:.1f} as whole passes), {'pass' if shared <= goal else 'FAIL'} at {goal}; bits of a seed in "
            f"{THREADS} threads: {'the same' if same else 'FAIL, not the same'}",
            flush=True,
        )
        if "OpenVINOExecutionProvider" in onnxruntime.get_available_providers():
            there = load_onnx(data, device=Device("openvino"))
            shared, naive, one_ms = ratios(there, px=px, draws=draws)
            print(f"  OpenVINO f32: one pass {one_ms:.0f} ms; {shared:.2f} passes ({naive:.1f})", flush=True)
    return 1 if missed else 0


def same_bits(net: OnnxNet, *, px: int) -> bool:
    """Tell whether three seeds give in many threads at once the bits that each gives alone."""
    tile = np.random.default_rng(0).random((1, 3, px, px), np.float32)

    def drawn(seed: int) -> bytes:
        masks = draw_masks(net.dropout, seed=seed, member=0, draws=range(1, 5))
        return net.predict_drawn(tile, masks).tobytes()

    alone = [drawn(seed) for seed in range(3)]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(drawn, [0, 1, 2] * 3)) == alone * 3 and len(set(alone)) == 3


def built(name: str, encoder: str, *, every_block: bool = False) -> bytes:
    """Return the file of an untrained net, with dropout before the head or after every block of its decoder."""
    spec = complete_architecture(ArchitectureWish(name=name, encoder=encoder, weights="random"))
    net = build_net(spec, classes=4, parameters={"dropout": RATE}, seed=0)
    if every_block:
        for block in net.decoder.blocks[:-1]:  # type: ignore[union-attr, index]
            block.attention2 = nn.Dropout2d(RATE)
    return to_onnx(net)


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
