"""Load pretrained encoder weights into a net."""

from typing import Protocol, runtime_checkable

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from intima.architectures.sources import EncoderWeights
from intima.errors import Invalid


@runtime_checkable
class OwnLoading(Protocol):
    """A body that knows how names in its pretrained file map to its own."""

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Copy pretrained tensors into the body. Raises Invalid where they do not fit."""


def load_encoder(body: nn.Module, weights: EncoderWeights) -> None:
    """Copy pretrained weights into the encoder of a body.

    A body without a way of its own takes them tensor by tensor in the order of both files: the file names layers as
    the original implementation does, timm as its own does; the order and the shapes agree.

    Raises:
        Invalid: the file does not fit the encoder.
    """
    if weights.file is None:
        return
    state = read_state(weights)
    if isinstance(body, OwnLoading):
        body.load_pretrained(state)
        return
    encoder: nn.Module = body.encoder  # type: ignore[assignment]
    source, target = list(state.values()), encoder.state_dict()
    if any(a.shape != b.shape for a, b in zip(source, target.values(), strict=False)) or len(target) > len(source):
        raise Invalid(f"The weights in {weights.file.name} do not fit this encoder.", code="bad_weights")
    encoder.load_state_dict(dict(zip(target, source, strict=False)))


def read_state(weights: EncoderWeights) -> dict[str, Tensor]:
    """Return the tensors of a weights file; nothing of a pickle but tensors is ever loaded."""
    assert weights.file is not None
    if weights.file.suffix == ".safetensors":
        return load_file(weights.file)
    state: dict[str, Tensor] = torch.load(weights.file, map_location="cpu", weights_only=True)
    return state
