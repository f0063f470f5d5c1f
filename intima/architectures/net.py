"""What every architecture shares: RGB in, logits out, any size, dropout before the head."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

import torch
from torch import Tensor, nn

STRIDE = 32
"""Sides are padded to multiples of this inside the net."""


CENTRE, SPREAD = 0.5, 0.5
"""Mean and standard deviation, of every channel in 0..1, that the ImageNet weights at hand were trained with."""

Builder: TypeAlias = Callable[..., nn.Module]
"""builder(*, encoder, classes, dropout) -> nn.Module with the parts ``encoder``, ``decoder`` and ``segmentation_head``
of segmentation_models_pytorch, randomly initialised."""


class SegmentationNet(nn.Module):
    """A net that takes RGB in 0..1 of any size and returns logits of the same size.

    Sides that are no multiple of 32 are padded by their edge pixels inside and the logits are cropped again. Under
    autocast on a CPU, a part with depthwise convolutions stays in float32.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.encoder_depthwise = has_depthwise(self.encoder)
        self.decoder_depthwise = has_depthwise(self.decoder)

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

    def forward(self, images: Tensor) -> Tensor:
        """Return (tiles, classes, height, width) logits of (tiles, 3, height, width) RGB in 0..1."""
        height, width = images.shape[-2], images.shape[-1]
        padded = _repeat_edges(images)
        with _full_precision(self.encoder_depthwise):
            features = self.encoder((padded - CENTRE) / SPREAD)
        with _full_precision(self.decoder_depthwise):
            decoded = self.decoder(_as_float(features) if self.decoder_depthwise else features)
        logits: Tensor = self.body.segmentation_head(decoded)  # type: ignore[operator]
        return logits[..., :height, :width]


def _full_precision(wanted: bool) -> AbstractContextManager[object]:
    """Return a context without autocast on the CPU where wanted; one that changes nothing elsewhere."""
    return torch.autocast("cpu", enabled=False) if wanted else nullcontext()


def _as_float(features: Sequence[Tensor]) -> list[Tensor]:
    return [feature.float() for feature in features]


def _repeat_edges(images: Tensor) -> Tensor:
    """Repeat the last row and column up to the next multiple of 32; by index, which exports to plain operators."""
    for axis in (2, 3):
        length = images.shape[axis]
        padded = torch.arange(length + -length % STRIDE, device=images.device)
        images = images.index_select(axis, torch.clamp(padded, max=length - 1))
    return images


def has_depthwise(module: nn.Module) -> bool:
    """Tell whether a module holds depthwise convolutions: their bfloat16 backward pass is slow on a CPU."""
    return any(isinstance(m, nn.Conv2d) and m.groups > 1 and m.groups == m.in_channels for m in module.modules())
