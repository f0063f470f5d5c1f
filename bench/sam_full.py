"""ViT-B of Segment Anything at its full 1024 px on random weights: shape, export to ONNX and parity with torch.

``python -m bench sam_full [--name sam] [--input-px 1024]``: CPU seconds on one thread and peak memory of the process.
Takes about 8 GB at 1024 px.
"""

import argparse
import resource
import sys
import time

import numpy as np
import torch

from intima.architectures import complete_architecture
from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureWish
from intima.inference import load_onnx
from intima.training.export import check_parity, to_onnx


def main() -> int:
    """Print one line per step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="sam")
    parser.add_argument("--input-px", type=int, default=1024)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    px = arguments.input_px
    wish = ArchitectureWish(name=arguments.name, encoder="vit_b", weights="random", input_px=px)
    net = build_net(complete_architecture(wish), classes=4, parameters={}, seed=0).eval()
    at = time.process_time()
    with torch.inference_mode():
        shape = tuple(net(torch.rand(1, 3, px, px)).shape)
    at = told(f"torch forward, logits {shape}", at)
    data = to_onnx(net)
    at = told(f"export, {len(data) / 1e6:.0f} MB", at)
    served = load_onnx(data).predict
    at = told("load in ONNX Runtime", at)
    tile = np.random.default_rng(0).random((1, 3, px, px), dtype=np.float32)
    worst = check_parity(net, served, tiles=[tile])
    told(f"parity, largest difference in probability {worst:.1e}", at)
    return 0


def told(what: str, since: float) -> float:
    """Print a step with its seconds and the peak memory so far; return the clock."""
    now = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what:<60}{now - since:>8.1f} s{peak:>7.1f} GB", flush=True)
    return now


if __name__ == "__main__":
    sys.exit(main())
