"""What every architecture shares: RGB in, logits out, any size, dropout before the head."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Self, TypeAlias

import torch
from torch import Tensor, nn

from intima.contracts.benchmark import EncoderTraining
from intima.errors import Invalid

STRIDE = 32
"""Sides are padded to multiples of this inside the net."""


CENTRE, SPREAD = 0.5, 0.5
"""Mean and standard deviation, of every channel in 0..1, that the ImageNet weights at hand were trained with."""


@dataclass(frozen=True, slots=True)
class Design:
    """Everything that decides the shape of a net."""

    encoder: str
    classes: int
    dropout: float
    input_px: int
    """Side of the square at which a net of fixed input works; the others take any size."""
    encoder_training: EncoderTraining
    prompt_tokens: int
    """Number of learnable prompt tokens, where the architecture has them."""


Builder: TypeAlias = Callable[[Design], nn.Module]
"""builder(design) -> body, randomly initialised: a module with the parts ``encoder`` (images to a list of features),
``decoder`` (features to a map) and ``segmentation_head`` (map to logits of the size of the images). It may have
``centre`` and ``spread``, (1, 3, 1, 1) buffers of the normalisation its encoder was trained with, ``slow_parts`` (see
``SegmentationNet``) and ``load_pretrained`` (see ``intima.architectures.weights.OwnLoading``)."""


class SegmentationNet(nn.Module):
    """A net that takes RGB in 0..1 of any size and returns logits of the same size.

    Sides that are no multiple of 32 are padded by their edge pixels inside and the logits are cropped again. Under
    autocast on a CPU, a part with depthwise convolutions stays in float32. A frozen encoder gets no gradient, never
    leaves evaluation mode, and its features of an image never change. A net of fixed input pads smaller images by
    their edge pixels to that size.
    """

    def __init__(self, body: nn.Module, *, frozen_encoder: bool = False, fixed_px: int | None = None) -> None:
        super().__init__()
        self.body = body
        self.fixed_px = fixed_px
        self.frozen_encoder = frozen_encoder
        self.encoder_depthwise = has_depthwise(self.encoder)
        self.decoder_depthwise = has_depthwise(self.decoder)
        if frozen_encoder:
            self.encoder.requires_grad_(False).eval()

    @property
    def encoder(self) -> nn.Module:
        """The encoder, for a learning rate of its own."""
        encoder: nn.Module = self.body.encoder  # type: ignore[assignment]
        return encoder

    @property
    def decoder(self) -> nn.Module:
        """The decoder."""
        decoder: nn.Module = self.body.decoder  # type: ignore[assignment]
        return decoder

    @property
    def slow_parts(self) -> tuple[nn.Module, ...]:
        """Parts with a small share of the learning rate: those of a foundation model, which a full one would undo."""
        parts: tuple[nn.Module, ...] = getattr(self.body, "slow_parts", ())
        return parts

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen_encoder:
            self.encoder.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return (tiles, classes, height, width) logits of (tiles, 3, height, width) RGB in 0..1."""
        height, width = images.shape[-2], images.shape[-1]
        logits = self.decode(self.embed(images))
        return logits[..., :height, :width]

    def embed(self, images: Tensor) -> list[Tensor]:
        """Return the encoder's features of images, padded to multiples of 32 or to the fixed input.

        Raises:
            Invalid: an image is larger than the fixed input.
        """
        self._check_size(images)
        centre, spread = getattr(self.body, "centre", CENTRE), getattr(self.body, "spread", SPREAD)
        padded = _repeat_edges(images, self.fixed_px)
        with _full_precision(self.encoder_depthwise):
            features: Sequence[Tensor] = self.encoder((padded - centre) / spread)
        return list(features)

    def encoder_state(self) -> dict[str, Tensor]:
        """Return every tensor that decides the encoder's features: its own, and the normalisation before it."""
        state = dict(self.encoder.state_dict())
        for name, value in (("centre", CENTRE), ("spread", SPREAD)):
            state[f"normalisation.{name}"] = torch.as_tensor(getattr(self.body, name, value))
        return state

    def _check_size(self, images: Tensor) -> None:
        if self.fixed_px is None or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return
        if max(images.shape[-2:]) > self.fixed_px:
            raise Invalid(f"Got images of {tuple(images.shape[-2:])} px; this net takes at most {self.fixed_px} px.")

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits of the padded size from an encoder's features."""
        with _full_precision(self.decoder_depthwise):
            decoded = self.decoder(_as_float(features) if self.decoder_depthwise else list(features))
        logits: Tensor = self.body.segmentation_head(decoded)  # type: ignore[operator]
        return logits


def _full_precision(wanted: bool) -> AbstractContextManager[object]:
    """Return a context without autocast on the CPU where wanted; one that changes nothing elsewhere."""
    return torch.autocast("cpu", enabled=False) if wanted else nullcontext()


def _as_float(features: Sequence[Tensor]) -> list[Tensor]:
    return [feature.float() for feature in features]


def _repeat_edges(images: Tensor, fixed_px: int | None) -> Tensor:
    """Repeat the last row and column up to a size; by index, which exports to plain operators."""
    for axis in (2, 3):
        length = images.shape[axis]
        padded = torch.arange(fixed_px or length + -length % STRIDE, device=images.device)
        images = images.index_select(axis, torch.clamp(padded, max=length - 1))
    return images


def has_depthwise(module: nn.Module) -> bool:
    """Tell whether a module holds depthwise convolutions: their bfloat16 backward pass is slow on a CPU."""
    return any(isinstance(m, nn.Conv2d) and m.groups > 1 and m.groups == m.in_channels for m in module.modules())
