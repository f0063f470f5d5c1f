"""UPerNet: Xiao et al. 2018, arXiv 1807.10221, in the form of segmentation_models_pytorch."""

import torch
from torch import Tensor, nn

from intima.architectures.net import Design
from intima.architectures.pooling import PooledContext
from intima.architectures.smp_parts import drop_norms, encoder_name, smp, trim_encoder, upsampled, with_dropout

_CHANNELS = 128
"""Decoder width. The library's 256 costs four times as much."""


def build_upernet(design: Design) -> nn.Module:
    """Return a UPerNet with any encoder of segmentation_models_pytorch or timm, randomly initialised."""
    net: nn.Module = smp.UPerNet(
        encoder_name(design.encoder),
        encoder_weights=None,
        decoder_channels=_CHANNELS,
        classes=design.classes,
        upsampling=1,
    )
    net.decoder.psp = PyramidPooling(net.decoder.psp)  # type: ignore[union-attr, arg-type]
    trim_encoder(net.encoder)  # type: ignore[arg-type]
    head = upsampled(net.segmentation_head, factor=4)  # type: ignore[arg-type]
    net.segmentation_head = with_dropout(head, dropout=design.dropout)
    return net


class PyramidPooling(nn.Module):
    """The library's pyramid pooling at any size, without normalisation of the one-cell level."""

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        levels = [PooledContext(block[0].output_size, block[1]) for block in source.blocks]  # type: ignore[union-attr]
        drop_norms(levels[0])
        self.levels = nn.ModuleList(levels)
        self.out_conv = source.out_conv

    def forward(self, features: Tensor) -> Tensor:
        """Return (tiles, channels, height, width) features with what is around them."""
        around = [level(features) for level in self.levels]
        result: Tensor = self.out_conv(torch.cat([features, *around], dim=1))  # type: ignore[operator]
        return result
