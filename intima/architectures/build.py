"""Build a net from its spec."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import torch

from intima.architectures import ARCHITECTURES, check_architecture, names_timm_encoder, plain_encoder
from intima.architectures.net import Builder, Design, SegmentationNet
from intima.architectures.smp_parts import fix_padding, timm
from intima.architectures.sources import EncoderWeights, find_weights
from intima.architectures.weights import load_encoder, normalise_for
from intima.contracts.benchmark import ArchitectureSpec, ParameterValue
from intima.errors import Invalid

DEFAULT_DROPOUT = 0.1
DEFAULT_PROMPT_TOKENS = 8


def build_net(
    spec: ArchitectureSpec,
    *,
    classes: int,
    parameters: Mapping[str, ParameterValue],
    seed: int,
    weights_folder: Path | None = None,
    weights: EncoderWeights | None = None,
    encoder_seed: int | None = None,
) -> SegmentationNet:
    """Return a net with encoder weights as the spec says and everything else drawn from ``seed``.

    Args:
        spec: architecture, encoder and encoder weights.
        classes: number of output channels, background included.
        parameters: hyper-parameters; ``dropout`` and ``prompt_tokens`` are read here.
        seed: of the random initialisation; the global generator of torch is left as it was.
        weights_folder: where this deployment keeps pretrained weights.
        weights: what was found there before; null: whatever the spec asks for.
        encoder_seed: draws the encoder apart from the rest; null: ``seed`` draws both.

    Raises:
        Invalid: unknown architecture or encoder, or weights that are not there.
    """
    net = build_bare(spec, classes=classes, parameters=parameters, seed=seed)
    if encoder_seed is not None:
        drawn = build_bare(spec, classes=classes, parameters={}, seed=encoder_seed)
        net.encoder.load_state_dict(drawn.encoder.state_dict())
    load_encoder(net.body, weights or find_weights(spec, folder=weights_folder))
    return net


def build_bare(
    spec: ArchitectureSpec, *, classes: int, parameters: Mapping[str, ParameterValue], seed: int = 0
) -> SegmentationNet:
    """Return a net without encoder weights, to load trained weights into.

    Raises:
        Invalid: unknown architecture or encoder.
    """
    check_architecture(spec)
    _refuse_unknown_to_timm(spec)
    design = Design(
        encoder=spec.encoder,
        classes=classes,
        dropout=float(parameters.get("dropout", DEFAULT_DROPOUT)),
        input_px=spec.input_px,
        encoder_training=spec.encoder_training,
        prompt_tokens=int(parameters.get("prompt_tokens", DEFAULT_PROMPT_TOKENS)),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = _build_body(spec, design)
        fix_padding(body)
    normalise_for(body, spec.encoder)
    fixed_px = spec.input_px if ARCHITECTURES[spec.name].fixed_input else None
    return SegmentationNet(body, frozen_encoder=spec.encoder_training == "frozen", fixed_px=fixed_px)


def _refuse_unknown_to_timm(spec: ArchitectureSpec) -> None:
    name = plain_encoder(spec.encoder)
    if names_timm_encoder(spec.encoder) and not timm.is_model(name):
        raise Invalid(
            f"Got encoder {spec.encoder!r}; timm knows no net {name!r}.",
            code="unknown_encoder",
            hint=f"Take one that timm {timm.__version__} lists, or another encoder.",
            pointer="/architectures",
        )


def _build_body(spec: ArchitectureSpec, design: Design) -> torch.nn.Module:
    try:
        return load_builder(spec.name)(design)
    except (KeyError, ValueError, RuntimeError, TypeError, AssertionError) as error:
        raise Invalid(
            f"{spec.name} cannot be built with encoder {spec.encoder!r}: {error}",
            code="unknown_encoder",
            pointer="/architectures",
        ) from error


def load_builder(name: str) -> Builder:
    """Import the builder of an architecture."""
    module, function = ARCHITECTURES[name].builder.split(":")
    builder: Builder = getattr(importlib.import_module(module), function)
    return builder
