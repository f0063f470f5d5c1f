"""Seconds of one training step: architectures and encoders, float32 against bfloat16 as the loop uses it.

``python -m bench training [--crop 256] [--batch 4] [--steps 5]``: CPU seconds on one thread, medians; the two number
formats take turns in one process. The ratio is float32 over bfloat16.
"""

import argparse
import statistics
import sys
import time

import torch
from torch import nn

from intima.architectures import LITE0
from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureSpec
from intima.losses import LOSSES

CONTENDERS = (
    ("unet", LITE0),
    ("unet_small", LITE0),
    ("deeplabv3plus", LITE0),
    ("unet", "resnet18"),
    ("deeplabv3plus", "resnet18"),
)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"batch {arguments.batch} of {arguments.crop} px; CPU seconds a step, 1 thread")
    print(f"{'architecture':<16}{'encoder':<24}{'float32':>9}{'bfloat16':>10}{'ratio':>7}")
    for name, encoder in CONTENDERS:
        spec = ArchitectureSpec(name=name, encoder=encoder, weights="random")
        net = build_net(spec, classes=4, parameters={}, seed=0).train()
        full, half = measure(net, crop=arguments.crop, batch=arguments.batch, steps=arguments.steps)
        print(f"{name:<16}{encoder:<24}{full:>9.3f}{half:>10.3f}{full / half:>7.2f}", flush=True)
    return 0


def measure(net: nn.Module, *, crop: int, batch: int, steps: int) -> tuple[float, float]:
    """Return median CPU seconds of a step in float32 and in bfloat16, measured in turn after one step of each."""
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(batch, 3, crop, crop).contiguous(memory_format=torch.channels_last)
    target = torch.randint(0, 4, (batch, crop, crop))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    seconds: dict[bool, list[float]] = {False: [], True: []}
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
    return statistics.median(seconds[False][1:]), statistics.median(seconds[True][1:])


if __name__ == "__main__":
    sys.exit(main())
