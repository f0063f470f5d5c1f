"""What cached embeddings save in a search: CPU seconds of trials with a frozen encoder, cache against none.

``python -m bench embeddings [--names unet litemedsam] [--trials 10] [--steps 32]``: nine synthetic arteries. "every
step" runs the frozen encoder on the crops of each step, as a loop without embeddings does; "cold" is the first trial
of a search, which makes the embeddings; "warm" is every trial after it. One thread; the loop is the product's.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from intima.architectures import complete_architecture
from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureSpec, ArchitectureWish
from intima.geometry import Size
from intima.phantom import draw_specs, render
from intima.resampling import resample_image
from intima.store.cache import Cache
from intima.training.data import TrainingCase, resample_mask
from intima.training.loop import fit
from intima.training.presets import LoopSettings


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="+", default=["unet", "litemedsam"])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--steps", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"9 synthetic arteries, {arguments.steps} steps of 4 a trial, 8 views a case; CPU seconds, 1 thread")
    print(
        f"{'architecture':<16}{'every step':>11}{'cold':>8}{'warm':>8}{'a step':>8}{f'{arguments.trials} trials':>11}"
    )
    for name in arguments.names:
        spec = complete_architecture(ArchitectureWish(name=name, encoder_training="frozen"))
        every, cold, warm = measure(spec, steps=arguments.steps)
        search = arguments.trials * every / (cold + (arguments.trials - 1) * warm)
        print(f"{name:<16}{every:>11.1f}{cold:>8.1f}{warm:>8.1f}{every / warm:>7.1f}x{search:>10.1f}x", flush=True)
    return 0


def measure(spec: ArchitectureSpec, *, steps: int) -> tuple[float, float, float]:
    """Return CPU seconds of a trial that runs the encoder at every step, with a cold cache, and with a warm one."""
    cases = [artery(spec, number) for number in range(9)]
    settings = LoopSettings(steps=steps, batch=4, crop_px=256, norm_steps=4).within(spec)
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder), floor_bytes=0)
        cold = timed(spec, cases, settings=settings, cache=cache)
        warm = timed(spec, cases, settings=settings, cache=cache)
    return timed(spec, cases, settings=settings, cache=None), cold, warm


def artery(spec: ArchitectureSpec, number: int) -> TrainingCase:
    """Return a synthetic artery at the input size of a net."""
    phantom = render(draw_specs(seed=4000 + number, subjects=1, size_px=768)[0].spec)
    size = Size(spec.input_px, spec.input_px)
    return TrainingCase(resample_image(phantom.image, size), resample_mask(phantom.mask, size, classes=4))


def timed(spec: ArchitectureSpec, cases: list[TrainingCase], *, settings: LoopSettings, cache: Cache | None) -> float:
    """Train once; without a cache on crops, the frozen encoder run at every step."""
    net = build_net(spec, classes=4, parameters={}, seed=0)
    net.frozen_encoder = cache is not None
    started = time.process_time()
    fit(net, cases, classes=4, settings=settings, parameters={}, seed=0, watch=lambda *_: None, cache=cache)
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
