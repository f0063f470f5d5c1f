"""MA-Net: Fan et al. 2020, doi 10.1109/ACCESS.2020.3025372, in the form of segmentation_models_pytorch."""

import torch
from torch import Tensor, nn

from intima.architectures.net import Design
from intima.architectures.smp_parts import encoder_name, smp, trim_encoder, with_dropout

_CHANNELS = (128, 64, 48, 32, 16)
"""Decoder widths from deep to shallow, those of the U-Net here."""


def build_manet(design: Design) -> nn.Module:
    """Return a MA-Net with any encoder of segmentation_models_pytorch or timm, randomly initialised."""
    net: nn.Module = smp.MAnet(
        encoder_name(design.encoder), encoder_weights=None, decoder_channels=_CHANNELS, classes=design.classes
    )
    net.decoder.center = PositionAttention(net.decoder.center)  # type: ignore[union-attr, arg-type]
    trim_encoder(net.encoder)  # type: ignore[arg-type]
    net.segmentation_head = with_dropout(net.segmentation_head, dropout=design.dropout)  # type: ignore[arg-type]
    return net


class PositionAttention(nn.Module):
    """Add to every position the mean of all positions, weighted by their likeness to it.

    The library's block has these layers too, but shares one softmax among all pairs of positions and lays the result
    out as if positions were channels, which scatters it over the image.
    """

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.query, self.key, self.value = source.center_conv, source.top_conv, source.bottom_conv
        self.out_conv = source.out_conv

    def forward(self, features: Tensor) -> Tensor:
        """Return a map of the shape of (tiles, channels, height, width) features."""
        query = self.query(features).flatten(2).transpose(1, 2)  # type: ignore[operator]
        key, value = self.key(features).flatten(2), self.value(features)  # type: ignore[operator]
        likeness = torch.softmax(query @ key, dim=-1)
        mixed = likeness @ value.flatten(2).transpose(1, 2)
        result: Tensor = self.out_conv(features + mixed.transpose(1, 2).reshape(value.shape))  # type: ignore[operator]
        return result
