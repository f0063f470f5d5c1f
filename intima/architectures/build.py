"""Build a net from its spec."""

import importlib
from collections.abc import Mapping

import torch

from intima.architectures import ARCHITECTURES, check_architecture
from intima.architectures.net import Builder, SegmentationNet
from intima.architectures.smp_parts import fix_padding
from intima.architectures.weights import find_weights, load_encoder
from intima.contracts.benchmark import ArchitectureSpec, ParameterValue
from intima.errors import Invalid

DEFAULT_DROPOUT = 0.1


def build_net(
    spec: ArchitectureSpec, *, classes: int, parameters: Mapping[str, ParameterValue], seed: int
) -> SegmentationNet:
    """Return a net with encoder weights as the spec says and everything else drawn from ``seed``.

    Args:
        spec: architecture, encoder and encoder weights.
        classes: number of output channels, background included.
        parameters: hyper-parameters; ``dropout`` is read here.
        seed: of the random initialisation; the global generator of torch is left as it was.

    Raises:
        Invalid: unknown architecture or encoder, or weights that are not installed.
    """
    net = build_bare(spec, classes=classes, parameters=parameters, seed=seed)
    load_encoder(net.encoder, find_weights(spec))
    return net


def build_bare(
    spec: ArchitectureSpec, *, classes: int, parameters: Mapping[str, ParameterValue], seed: int = 0
) -> SegmentationNet:
    """Return a net without encoder weights, to load trained weights into."""
    check_architecture(spec)
    dropout = float(parameters.get("dropout", DEFAULT_DROPOUT))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = _build_body(spec, classes=classes, dropout=dropout)
        fix_padding(body)
    return SegmentationNet(body)


def _build_body(spec: ArchitectureSpec, *, classes: int, dropout: float) -> torch.nn.Module:
    try:
        return load_builder(spec.name)(encoder=spec.encoder, classes=classes, dropout=dropout)
    except (KeyError, ValueError, RuntimeError) as error:
        raise Invalid(
            f"{spec.name} cannot be built with encoder {spec.encoder!r}: {error}",
            code="unknown_encoder",
            pointer="/architectures",
        ) from error


def load_builder(name: str) -> Builder:
    """Import the builder of an architecture."""
    module, function = ARCHITECTURES[name].split(":")
    builder: Builder = getattr(importlib.import_module(module), function)
    return builder
