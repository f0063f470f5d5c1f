"""Load pretrained encoder weights into a net."""

import pickle
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from intima.architectures import MIT_ENCODERS, plain_encoder
from intima.architectures.sources import EncoderWeights
from intima.errors import Invalid

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SPREAD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of each channel, in 0..1, that most published weights were trained with."""

IMAGENET_NORMALISED = frozenset({"resnet18", "resnet34", "resnet50", "mobilenet_v2", "efficientnet-b0", *MIT_ENCODERS})

_COUNTER = "num_batches_tracked"
"""Of batch normalisation; older files lack it and nothing here reads it."""


@runtime_checkable
class OwnLoading(Protocol):
    """A body that knows how names in its pretrained file map to its own."""

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Copy pretrained tensors into the body. Raises Invalid where they do not fit."""


def load_encoder(body: nn.Module, weights: EncoderWeights) -> None:
    """Copy pretrained weights into the encoder of a body.

    A body without a way of its own takes them by name where the file and the encoder share names, else tensor by
    tensor in the order of both: a file may name layers as the original implementation does and timm as its own does,
    while the order and the shapes agree.

    Raises:
        Invalid: the file does not fit the encoder.
    """
    if weights.file is None:
        return
    try:
        _load(body, read_state(weights))
    except Invalid as error:
        raise Invalid(f"{weights.file.name}: {error}", code="bad_weights") from error


def _load(body: nn.Module, state: dict[str, Tensor]) -> None:
    if isinstance(body, OwnLoading):
        body.load_pretrained(state)
        return
    encoder: nn.Module = body.encoder  # type: ignore[assignment]
    model = getattr(encoder, "model", None)
    inner = model if isinstance(model, nn.Module) else encoder
    shared = inner.state_dict().keys() & state.keys()
    copy_named(state if shared else _in_order(state, inner), inner)


def copy_named(state: Mapping[str, Tensor], target: nn.Module) -> None:
    """Copy tensors into a module by name; what the module has no room for, as a classifier, is left.

    Raises:
        Invalid: a tensor of the module is missing or of another shape.
    """
    wanted = target.state_dict()
    missing = [n for n in wanted if n not in state and not n.endswith(_COUNTER)]
    if missing:
        raise Invalid(
            f"The weights do not fit this encoder: {len(missing)} of its {len(wanted)} tensors are missing, "
            f"{missing[0]} first.",
            code="bad_weights",
        )
    for name, tensor in wanted.items():
        if name in state and state[name].shape != tensor.shape:
            raise Invalid(
                f"The weights do not fit this encoder: {name} is {tuple(state[name].shape)}; "
                f"need {tuple(tensor.shape)}.",
                code="bad_weights",
            )
    target.load_state_dict({n: state.get(n, tensor) for n, tensor in wanted.items()})


def _in_order(state: Mapping[str, Tensor], target: nn.Module) -> dict[str, Tensor]:
    return dict(zip(target.state_dict(), state.values(), strict=False))


def normalise_for(body: nn.Module, encoder: str) -> None:
    """Give a body the normalisation that an encoder's published weights were trained with, in place.

    Encoders that are not named here keep that of ``intima.architectures.net``.
    """
    if plain_encoder(encoder) in IMAGENET_NORMALISED:
        body.register_buffer("centre", per_channel(IMAGENET_MEAN), persistent=False)
        body.register_buffer("spread", per_channel(IMAGENET_SPREAD), persistent=False)


def per_channel(values: tuple[float, float, float]) -> Tensor:
    """Return three values as a (1, 3, 1, 1) tensor."""
    return torch.tensor(values).view(1, 3, 1, 1)


def read_state(weights: EncoderWeights) -> dict[str, Tensor]:
    """Return the tensors of a weights file; nothing of a pickle but tensors is ever loaded.

    Raises:
        Invalid: the file holds anything else than named tensors.
    """
    assert weights.file is not None
    try:
        if weights.file.suffix == ".safetensors":
            return load_file(weights.file)
        state = torch.load(weights.file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, SafetensorError) as error:
        raise Invalid(f"Not a file of named tensors: {error}", code="bad_weights") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise Invalid("Not a file of named tensors: it holds other things.", code="bad_weights")
    return state
