"""P2: one image of 4,096 px, mask only, beside TIAToolbox's engine: ``python -m bench toolbox --python PATH``.

PATH is an interpreter with TIAToolbox, which is no dependency of Intima and pins other versions of much that Intima
needs: a virtual environment of its own, ``pip install tiatoolbox psutil``. Both sides have the same weights, a U-Net
with ResNet-34 trained a few steps on SYNTHETIC sections, and the same image in memory; the peer runs them by torch
(traced) in ``SemanticSegmentor``, at the patches and strides of its own published U-Net and at those of ``bench
tiles``. CPU seconds on one thread, sides in turn; the peer's are of its ``run`` alone, its net warm. Without
``--python``, or TOOLBOX_PYTHON in the environment, nothing is measured and 3 is returned.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench._outcomes import NOT_MEASURED
from bench.tiles import SIDE_PX, on_image, section, trained, verdict
from intima.arrays import LabelMask
from intima.inference import load_onnx
from intima.training.export import to_onnx
from intima.training.quantize import quantize_net

GOAL = 5.0
PEER = Path(__file__).with_name("_toolbox_peer.py")


@dataclass(frozen=True, slots=True)
class Patches:
    """How the peer cuts the image."""

    patch_px: int
    out_px: int
    stride_px: int


PATCHES = {
    "its own: 1,024 px to 512, stride 450": Patches(1024, 512, 450),
    "256 px, stride 192": Patches(256, 256, 192),
}
"""The first as its fcn_resnet50_unet-bcss has it; the goal is set against that."""
OURS = {"ONNX f32": "fp32", "ONNX int8": "int8"}


def main() -> int:
    """Print the table. Returns 1 where the goal is missed, 3 where the peer is not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=os.environ.get("TOOLBOX_PYTHON", ""))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--side", type=int, default=SIDE_PX)
    parser.add_argument("--patches", default="", help="of the peer's only those with this in their name")
    options = parser.parse_args()
    missing = why_not(options.python)
    if missing:
        print(f"not measured: {missing}")
        return NOT_MEASURED
    torch.set_num_threads(1)
    net, crops = trained(options.steps)
    image = section(options.side)
    data = to_onnx(net)
    files = {"fp32": data, "int8": quantize_net(data, tiles=crops)}
    ways = {name: on_image(load_onnx(files[kind]).predict, image, 1088, 32, True) for name, kind in OURS.items()}
    patches = {name: cut for name, cut in PATCHES.items() if options.patches in name}
    rounds, masks = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "image.npy", image)
        for _ in range(options.rounds):
            seconds = {}
            for label, cut in patches.items():
                seconds[label], masks[label] = by_peer(options.python, folder, net, cut)
            for label, way in ways.items():
                started = time.process_time()
                masks[label] = way()
                seconds[label] = time.process_time() - started
            rounds.append(seconds)
            print(seconds, flush=True)
    return report(rounds, masks, list(patches))


def why_not(python: str) -> str:
    """Return why the peer cannot be run; empty where it can."""
    if not python:
        return "no interpreter with TIAToolbox given (--python)"
    found = subprocess.run([python, "-P", str(PEER)], check=False, capture_output=True, text=True)
    return "" if found.returncode == 0 else f"{python} runs no TIAToolbox: {found.stderr.strip()[-200:]}"


def by_peer(python: str, folder: Path, net: torch.nn.Module, cut: Patches) -> tuple[float, LabelMask]:
    """Return the CPU seconds of the peer's run, and its mask."""
    with torch.inference_mode():
        traced = torch.jit.trace(net, torch.zeros(1, 3, cut.patch_px, cut.patch_px), check_trace=False)
    traced.save(str(folder / "net.pt"))
    found = subprocess.run(
        [python, "-P", str(PEER), str(folder), str(cut.patch_px), str(cut.out_px), str(cut.stride_px)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
    )
    said = json.loads(found.stdout.strip().rpartition("\n")[2])
    return said["cpu_s"], np.load(folder / "mask.npy")


def report(rounds: list[dict[str, float]], masks: Mapping[str, LabelMask], peers: list[str]) -> int:
    """Print what the rounds gave. Returns 1 where the goal is missed."""
    missed = 0
    print("| peer | way | CPU s, peer and ours | times as fast | same class |\n|---|---|---|---|---|")
    for peer in peers:
        for name in OURS:
            theirs, ours = (statistics.median(r[way] for r in rounds) for way in (peer, name))
            ratio = statistics.median(r[peer] / r[name] for r in rounds)
            said = verdict(ratio, GOAL if peer == next(iter(PATCHES)) else None)
            missed += "FAIL" in said
            agreement = float((masks[peer] == masks[name]).mean())
            print(f"| {peer} | {name} | {theirs:.1f}, {ours:.1f} | {ratio:.2f}{said} | {agreement:.4f} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
