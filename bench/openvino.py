"""OpenVINO beside the CPU of the same ONNX Runtime: the same masks, and at what cost: ``python -m bench openvino``.

CPU seconds on one thread, both in turn, medians of ratios; logits and masks on a SYNTHETIC section. Weights are random
but for the shipped model's. Needs an interpreter with onnxruntime-openvino in place of onnxruntime (docs/providers.md);
returns 3, "not measured", elsewhere.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import onnxruntime

from bench._outcomes import NOT_MEASURED
from bench.tiles import section
from intima.architectures import complete_architecture
from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureWish
from intima.inference import load_onnx
from intima.providers import Device
from intima.tiling import to_tile_batch
from intima.training.export import to_onnx
from intima.training.quantize import quantize_net
from intima.uncertainty import draw_masks

NETS = (("unet", "resnet34", 256), ("segformer", "mit_b0", 256))
LEAST_AGREEMENT = {"f32": 0.9999, "int8": 0.995}
DRAWS = 20


def main() -> int:
    """Print the table. Returns 1 where masks differ by more than near ties, 3 where OpenVINO is not installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers():
        print("not measured: this ONNX Runtime is not onnxruntime-openvino")
        return NOT_MEASURED
    print(f"ONNX Runtime {onnxruntime.__version__}")
    print("| net | CPU s to load, both | ms of a tile | x CPU | 20 draws, in passes | largest difference | agreement |")
    print("|---" * 7 + "|")
    return 1 if sum(worse(*net, rounds=rounds) for net in _nets()) else 0


def _nets() -> list[tuple[str, str, bytes, int]]:
    shipped = files("intima").joinpath("assets/default_model/member-0.onnx").read_bytes()
    crops = [crop(256, offset=offset) for offset in (0, 100, 200, 300)]
    nets = [("shipped U-Net, small", "f32", shipped, 512)]
    nets.append(("shipped U-Net, small", "int8", quantize_net(shipped, tiles=crops), 512))
    for name, encoder, px in NETS:
        spec = complete_architecture(ArchitectureWish(name=name, encoder=encoder, weights="random"))
        nets.append((name, "f32", to_onnx(build_net(spec, classes=4, parameters={"dropout": 0.1}, seed=0)), px))
    return nets


def crop(px: int, *, offset: int) -> np.ndarray:
    """Return a tile of a section."""
    return to_tile_batch([section(1024)[offset : offset + px, offset : offset + px]])


def worse(name: str, kind: str, data: bytes, px: int, *, rounds: int) -> bool:
    """Print a row; tell whether masks differ by more than near ties."""
    started = time.process_time()
    cpu = load_onnx(data)
    between = time.process_time()
    there = load_onnx(data, device=Device("openvino"))
    loads = between - started, time.process_time() - between
    tile = crop(px, offset=256)
    expected, found = cpu.predict(tile), there.predict(tile)
    masks = draw_masks(cpu.dropout, seed=0, member=0, draws=range(1, DRAWS + 1))
    ways: tuple[Callable[[], object], ...] = (
        lambda: cpu.predict(tile),
        lambda: there.predict(tile),
        lambda: cpu.predict_drawn(tile, masks),
        lambda: there.predict_drawn(tile, masks),
    )
    seconds = [[cpu_s(way) for way in ways] for _ in range(rounds + 1)][1:]
    one, other = (1e3 * statistics.median(s[i] for s in seconds) for i in (0, 1))
    faster = statistics.median(s[0] / s[1] for s in seconds)
    draws, draws_there = (statistics.median(s[i + 2] / s[i] for s in seconds) for i in (0, 1))
    agreement = float((expected.argmax(1) == found.argmax(1)).mean())
    print(
        f"| {name}, {kind}, {px} px | {loads[0]:.2f}, {loads[1]:.2f} | {one:.0f}, {other:.0f} | {faster:.2f} | "
        f"{draws:.2f}, {draws_there:.2f} | {np.abs(expected - found).max():.2g} of {np.abs(expected).max():.2g} | "
        f"{agreement:.6f} |",
        flush=True,
    )
    return agreement < LEAST_AGREEMENT[kind]


def cpu_s(way: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    started = time.process_time()
    way()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
