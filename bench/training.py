"""Milliseconds of one training step: architectures and encoders, float32 against bfloat16 as the loop uses it.

``python -m bench training [--crop 256] [--batch 4] [--steps 5] [--only unet]``: every architecture with its first
encoder, and a ResNet where it takes one; millions of weights; CPU milliseconds on one thread, medians. The two number
formats take turns in one process where the processor has bfloat16. The ratio is float32 over bfloat16.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

import torch
from torch import nn

from intima.architectures import ARCHITECTURES, complete_architecture
from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureWish
from intima.losses import LOSSES
from intima.training.loop import choose_precision

RESNET = "resnet18"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", choices=sorted(ARCHITECTURES), nargs="*", default=list(ARCHITECTURES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    formats = (False, True) if choose_precision().bf16 else (False,)
    print(f"batch {arguments.batch} of {arguments.crop} px; CPU milliseconds a step, 1 thread")
    print(f"{'architecture':<16}{'encoder':<24}{'M weights':>10}{'float32':>9}{'bfloat16':>10}{'ratio':>7}")
    for name, encoder in contenders(arguments.only):
        wish = ArchitectureWish(name=name, encoder=encoder, weights="random", input_px=arguments.crop)
        spec = complete_architecture(wish)
        net = build_net(spec, classes=4, parameters={}, seed=0).train()
        weights = sum(p.numel() for p in net.parameters()) / 1e6
        taken = measure(net, crop=arguments.crop, batch=arguments.batch, steps=arguments.steps, formats=formats)
        ms = "".join(f"{1e3 * seconds:>{width}.0f}" for seconds, width in zip(taken, (9, 10), strict=False))
        ratio = f"{taken[0] / taken[-1]:>7.2f}" if len(taken) > 1 else ""
        print(f"{name:<16}{spec.encoder:<24}{weights:>10.2f}{ms}{ratio}", flush=True)
    return 0


def contenders(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return architectures with their encoders."""
    encoders = {name: ARCHITECTURES[name].encoders for name in names}
    return [(n, e[0]) for n, e in encoders.items()] + [(n, RESNET) for n, e in encoders.items() if RESNET in e]


def measure(net: nn.Module, *, crop: int, batch: int, steps: int, formats: Sequence[bool]) -> list[float]:
    """Return median CPU seconds of a step in each number format, measured in turn after one step of each."""
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(batch, 3, crop, crop).contiguous(memory_format=torch.channels_last)
    target = torch.randint(0, 4, (batch, crop, crop))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    seconds: dict[bool, list[float]] = {bf16: [] for bf16 in formats}
    for _ in range(steps + 1):
        for bf16, found in seconds.items():
            started = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = net(images)
            loss = LOSSES["focal_dice"](logits, target, {})
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            found.append(time.process_time() - started)
    return [statistics.median(found[1:]) for found in seconds.values()]


if __name__ == "__main__":
    sys.exit(main())
