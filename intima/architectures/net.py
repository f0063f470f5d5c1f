"""What every architecture shares: RGB in, logits out, any size, dropout before the head."""

from collections.abc import Callable
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

    Sides that are no multiple of 32 are padded by their edge pixels inside and the logits are cropped again.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.bf16_encoder = not has_depthwise(body)

    @property
    def encoder(self) -> nn.Module:
        """The encoder, for a learning rate of its own."""
        encoder: nn.Module = self.body.encoder  # type: ignore[assignment]
        return encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return (tiles, classes, height, width) logits of (tiles, 3, height, width) RGB in 0..1."""
        height, width = images.shape[-2], images.shape[-1]
        padded = _repeat_edges(images)
        features = self._encode((padded - CENTRE) / SPREAD)
        logits: Tensor = self.body.segmentation_head(self.body.decoder(features))  # type: ignore[operator]
        return logits[..., :height, :width]

    def _encode(self, images: Tensor) -> list[Tensor]:
        if self.bf16_encoder or not torch.is_autocast_enabled("cpu"):
            return self.encoder(images)  # type: ignore[no-any-return]
        with torch.autocast("cpu", enabled=False):
            return self.encoder(images)  # type: ignore[no-any-return]


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
