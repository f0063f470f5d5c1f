"""The training loop: a function. On a CPU, equal input, seed and number of threads give equal weights bit for bit."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from intima.architectures.net import SegmentationNet
from intima.arrays import LogitBatch, Predict, TileBatch
from intima.contracts.benchmark import ParameterValue
from intima.errors import Invalid
from intima.losses import LOSSES
from intima.store.cache import Cache
from intima.training.augment import CropSource, draw_batch
from intima.training.data import TrainingCase
from intima.training.embeddings import Views, embed_views
from intima.training.presets import LoopSettings

Watch = Callable[[float, str], None]
"""watch(fraction 0..1, message): told after each step."""

Record: TypeAlias = Callable[[int, float], None]
"""record(step from 1, training loss): told after each step."""

Inputs: TypeAlias = Tensor | list[Tensor]
"""Images for a whole net, or an encoder's features for its decoder."""

Draw: TypeAlias = Callable[[np.random.Generator, float], tuple[Inputs, Tensor]]
"""draw(rng, strength of the augmentation) -> inputs and (n, h, w) int64 classes."""


@dataclass(frozen=True, slots=True)
class Rungs:
    """When a net is judged before its training ends, and by whom."""

    steps: frozenset[int]
    """After how many steps."""
    judge: Callable[[SegmentationNet, int], None]
    """judge(net in evaluation mode on the CPU, steps done); what it raises ends the training."""


NO_RUNGS = Rungs(frozenset(), lambda _net, _step: None)


@dataclass(frozen=True, slots=True)
class Precision:
    """Where and in which number format a net is trained."""

    device: str
    bf16: bool


def choose_precision() -> Precision:
    """Return CUDA with bfloat16 where there is a card, else the CPU, with bfloat16 where it has instructions for it.

    By capability and not by a stopwatch, so that a unit run twice takes the same path. On a CPU with AVX512-BF16 one
    step of a U-Net takes 0.75 of its float32 time with a depthwise encoder, which then stays in float32, and 0.5 with
    a ResNet (python -m bench training).
    """
    if torch.cuda.is_available():
        return Precision(device="cuda", bf16=True)
    return Precision(device="cpu", bf16=_cpu_has_bf16())


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def forget(_step: int, _loss: float) -> None:
    """Record nothing."""


def fit(
    net: SegmentationNet,
    cases: Sequence[TrainingCase],
    *,
    classes: int,
    settings: LoopSettings,
    parameters: Mapping[str, ParameterValue],
    seed: int,
    watch: Watch,
    cache: Cache | None = None,
    rungs: Rungs = NO_RUNGS,
    record: Record = forget,
) -> SegmentationNet:
    """Train a net in place and return it, on the CPU and in evaluation mode.

    A net with a frozen encoder is trained on embeddings of a fixed set of views (``intima.training.embeddings``), any
    other on crops drawn anew at every step.

    Args:
        net: as built.
        cases: training cases at the working resolution.
        classes: number of classes.
        settings: steps, batch, crop and schedule.
        parameters: the searched parameters, by the names of ``intima.training.search``.
        seed: of crops, augmentation and dropout.
        watch: told the progress.
        cache: of embeddings; null keeps none.
        rungs: when the net is judged before the end.
        record: told the loss of each step.

    Raises:
        Invalid: no cases, or the loss stops being a finite number.
    """
    if not cases:
        raise Invalid("Got no training cases; need at least one.")
    precision = choose_precision()
    net.to(device=precision.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    draw = _make_draw(net, cases, classes=classes, settings=settings, seed=seed, watch=watch, cache=cache)
    rng = np.random.default_rng([seed, 1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _run_steps(
            net,
            draw,
            settings=settings,
            parameters=parameters,
            rng=rng,
            precision=precision,
            watch=watch,
            rungs=rungs,
            record=record,
        )
        _settle_norms(net, draw, settings=settings, rng=rng, precision=precision)
    return net.to(device="cpu").to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload,no-any-return]


def _make_draw(
    net: SegmentationNet,
    cases: Sequence[TrainingCase],
    *,
    classes: int,
    settings: LoopSettings,
    seed: int,
    watch: Watch,
    cache: Cache | None,
) -> Draw:
    """Return what draws batches for a net: views where its encoder is frozen, else crops."""
    if net.frozen_encoder:
        views = Views(settings.views, settings.crop_px, settings.view_strength, classes)
        stored = embed_views(
            net,
            cases,
            views=views,
            cache=cache,
            start=seed,
            tell=lambda done, total: watch(0.0, f"embedding {done}/{total} views"),
        )
        return lambda rng, _strength: stored.draw(batch=settings.batch, rng=rng)
    source = CropSource.of(cases, classes=classes)
    return lambda rng, strength: draw_batch(
        source, batch=settings.batch, crop_px=settings.crop_px, strength=strength, rng=rng
    )


def _run_steps(
    net: SegmentationNet,
    draw: Draw,
    *,
    settings: LoopSettings,
    parameters: Mapping[str, ParameterValue],
    rng: np.random.Generator,
    precision: Precision,
    watch: Watch,
    rungs: Rungs,
    record: Record,
) -> None:
    net.train()
    optimizer = make_optimizer(net, settings=settings, parameters=parameters)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, settings=settings))
    loss_of, started = LOSSES[settings.loss], time.monotonic()
    for step in range(settings.steps):
        strength = float(parameters.get("augmentation", 1.0))
        inputs, target = _to_device(draw(rng, strength), precision=precision)
        with torch.autocast(precision.device, torch.bfloat16, enabled=precision.bf16):
            logits = _logits(net, inputs)
        loss = loss_of(logits, target, parameters)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        watch((step + 1) / settings.steps, _progress(step + 1, settings.steps, loss, time.monotonic() - started))
        record(step + 1, float(loss.detach()))
        if step + 1 in rungs.steps:
            aside = np.random.default_rng([settings.steps, step])
            _judge(
                net,
                step + 1,
                rungs=rungs,
                settle=partial(_settle_norms, net, draw, settings=settings, rng=aside, precision=precision),
            )
            net.to(device=precision.device).train()


def _judge(net: SegmentationNet, step: int, *, rungs: Rungs, settle: Callable[[], None]) -> None:
    """Judge a net in the midst of its training as it is judged at the end, with batch statistics that have settled.

    Its training goes on as if nothing had been.
    """
    norms = _trained_norms(net)
    kept = [{name: value.clone() for name, value in norm.state_dict().items()} for norm in norms]
    with torch.random.fork_rng(devices=[]):
        settle()
        rungs.judge(net.to(device="cpu").eval(), step)
    for norm, state in zip(norms, kept, strict=True):
        norm.load_state_dict(state)


def _to_device(batch: tuple[Inputs, Tensor], *, precision: Precision) -> tuple[Inputs, Tensor]:
    inputs, target = batch
    if isinstance(inputs, Tensor):
        return _placed(inputs, precision), target.to(precision.device)
    return [_placed(feature, precision) for feature in inputs], target.to(precision.device)


def _placed(data: Tensor, precision: Precision) -> Tensor:
    return (
        data.contiguous(memory_format=torch.channels_last).to(precision.device)
        if data.ndim == 4
        else data.to(precision.device)
    )


def _logits(net: SegmentationNet, inputs: Inputs) -> Tensor:
    """Return logits of images, or of an encoder's features of them."""
    logits: Tensor = net(inputs) if isinstance(inputs, Tensor) else net.decode(inputs)
    return logits


def _progress(step: int, steps: int, loss: Tensor, elapsed_s: float) -> str:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise Invalid(
            f"The loss became {value} at step {step}.",
            code="diverged",
            hint="Lower the learning rate.",
        )
    return f"step {step}/{steps}, loss {value:.3f}, {elapsed_s / step * (steps - step):.0f} s left"


OPTIMISERS: Mapping[str, Callable[[list[dict[str, object]], float], torch.optim.Optimizer]] = {
    "adamw": lambda groups, rate: torch.optim.AdamW(groups, lr=rate),
    "adam": lambda groups, rate: torch.optim.Adam(groups, lr=rate),
    "sgd": lambda groups, rate: torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True),
}
"""Every optimiser by name: (groups of parameters, learning rate)."""


def make_optimizer(
    net: SegmentationNet, *, settings: LoopSettings, parameters: Mapping[str, ParameterValue]
) -> torch.optim.Optimizer:
    """Return the chosen optimiser, AdamW where none is.

    Encoder and slow parts have rates of their own; there is no weight decay on biases and normalisation.
    What is frozen is left out.
    """
    rate = float(parameters.get("learning_rate", 2e-3))
    decay = float(parameters.get("weight_decay", 1e-3))
    share = {id(p): settings.encoder_rate for p in net.encoder.parameters()}
    share |= {id(p): settings.slow_rate for part in net.slow_parts for p in part.parameters()}
    trained = [(p, share.get(id(p), 1.0)) for p in net.parameters() if p.requires_grad]
    groups = []
    for weights in (True, False):
        for factor in dict.fromkeys(f for _, f in trained):
            members = [p for p, f in trained if f == factor and (p.ndim > 1) == weights]
            groups.append({"params": members, "lr": rate * factor, "weight_decay": decay if weights else 0.0})
    return OPTIMISERS[str(parameters.get("optimiser", "adamw"))]([g for g in groups if g["params"]], rate)


def rate_at(step: int, *, settings: LoopSettings) -> float:
    """Return the share of the full learning rate at a step: a linear rise, then half a cosine to zero."""
    warm = max(1, round(settings.warmup * settings.steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, settings.steps - warm)))


def _settle_norms(
    net: SegmentationNet, draw: Draw, *, settings: LoopSettings, rng: np.random.Generator, precision: Precision
) -> None:
    """Replace the running statistics of batch normalisation by plain means under the final weights."""
    norms = _trained_norms(net)
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for _ in range(settings.norm_steps):
            inputs, _ = _to_device(draw(rng, 0.0), precision=precision)
            _logits(net, inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _trained_norms(net: SegmentationNet) -> list[nn.BatchNorm2d]:
    """Return the batch normalisations whose statistics follow the training: those of a frozen encoder do not."""
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and m.training]


def as_predict(net: SegmentationNet) -> Predict:
    """Return a net as a Predict: float32, evaluation mode, no gradients."""
    net.eval()

    def predict(tiles: TileBatch) -> LogitBatch:
        with torch.inference_mode():
            images = torch.from_numpy(tiles).contiguous(memory_format=torch.channels_last)
            logits: LogitBatch = net(images).float().contiguous().numpy()
        return logits

    return predict
