"""A foundation model's image encoder as the encoder of a segmentation net: frozen, with LoRA, or trained in full."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeAlias

from torch import Tensor, nn

from intima.architectures.lora import add_lora
from intima.contracts.benchmark import EncoderTraining
from intima.errors import Invalid

State: TypeAlias = dict[str, Tensor]

WIDTH = 256
"""Channels of the embedding of every member of the family."""

_PREFIX = "image_encoder."
_LEAST_RANGE = 0.25


@dataclass(frozen=True, slots=True)
class Trunk:
    """An image encoder for squares of one size."""

    module: nn.Module
    """(n, 3, px, px) to (n, WIDTH, px / stride, px / stride)."""
    stride: int
    """Pixels per side of a cell of the embedding."""
    adapt: Callable[[State], State]
    """Fits pretrained tensors to this input size; names are the trunk's own."""


class StretchRange(nn.Module):
    """Stretch each image's values to 0..1, as MedSAM and LiteMedSAM do before their encoder (min and max over all
    channels of the image).

    One departure: the range is taken to be at least a quarter of the full one, so that the noise of a tile of bare
    glass is not blown up to full contrast.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return (value - min) / (max - min) per image."""
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        return (images - low) / (high - low).clamp(min=_LEAST_RANGE)


class FoundationEncoder(nn.Module):
    """Images to a list with one embedding.

    With LoRA, normalisation layers that are not trained keep their statistics too.
    """

    def __init__(self, trunk: Trunk, *, scale: nn.Module, training: EncoderTraining) -> None:
        super().__init__()
        self.scale = scale
        self.trunk = trunk.module
        self._adapt = trunk.adapt
        if training == "lora":
            add_lora(self.trunk)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return [(n, WIDTH, px / stride, px / stride)]."""
        return [self.trunk(self.scale(images))]

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except of frozen batch normalisation."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d) and not part.weight.requires_grad:
                part.eval()
        return self

    def load_pretrained(self, state: State) -> None:
        """Take the ``image_encoder`` of a file of the SAM family, positions fitted to this input size.

        Raises:
            Invalid: the file does not fit.
        """
        own = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items() if name.startswith(_PREFIX)}
        load_exactly(self.trunk, self._adapt(own))


def load_exactly(module: nn.Module, state: State) -> None:
    """Copy tensors by name; all but LoRA's must be there, of the same shape.

    Raises:
        Invalid: a tensor is missing, left over, or of another shape.
    """
    wanted = {n: tuple(t.shape) for n, t in module.state_dict().items() if ".lora_" not in n}
    found = {n: tuple(t.shape) for n, t in state.items()}
    wrong = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
    if wrong:
        first = wrong[0]
        raise Invalid(
            f"The weights do not fit this encoder in {len(wrong)} of {len(wanted)} tensors. "
            f"Got {first} of shape {found.get(first)}; need {wanted.get(first)}.",
            code="bad_weights",
        )
    module.load_state_dict(state, strict=False)
