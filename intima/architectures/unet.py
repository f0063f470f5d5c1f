"""U-Net: Ronneberger et al. 2015, arXiv 1505.04597, in the form of segmentation_models_pytorch."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from intima.architectures.net import Design
from intima.architectures.smp_parts import encoder_name, smp, trim_encoder, with_dropout

_CHANNELS = (128, 64, 48, 32, 16)
"""Decoder widths from deep to shallow. The library's (256, 128, 64, 32, 16) costs a quarter more time a step."""


def build_unet(design: Design) -> nn.Module:
    """Return a U-Net with any encoder of segmentation_models_pytorch or timm, randomly initialised."""
    return _build(design, depth=5)


def build_unet_small(design: Design) -> nn.Module:
    """Return a U-Net without the encoder's last stage: coarsest features at 1/16, about a third of the weights."""
    return _build(design, depth=4)


def _build(design: Design, *, depth: int) -> nn.Module:
    net: nn.Module = smp.Unet(
        encoder_name(design.encoder),
        encoder_depth=depth,
        encoder_weights=None,
        decoder_channels=_CHANNELS[-depth:],
        classes=design.classes,
    )
    trim_encoder(net.encoder)  # type: ignore[arg-type]
    net.decoder.blocks = nn.ModuleList(_Doubling(block) for block in net.decoder.blocks)  # type: ignore[union-attr]
    net.segmentation_head = with_dropout(net.segmentation_head, dropout=design.dropout)  # type: ignore[arg-type]
    return net


class _Doubling(nn.Module):
    """A block of the library's decoder that doubles its map by a constant, not by asking for the size of the skip.

    The same map, as sides are multiples of 32; ONNX Runtime keeps its own layout across it, which saves reordering.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.conv1, self.attention1 = block.get_submodule("conv1"), block.get_submodule("attention1")
        self.conv2, self.attention2 = block.get_submodule("conv2"), block.get_submodule("attention2")

    def forward(
        self, feature_map: Tensor, target_height: int, target_width: int, skip_connection: Tensor | None = None
    ) -> Tensor:
        """Return the map at twice the size, joined with the skip where there is one."""
        del target_height, target_width
        found = functional.interpolate(feature_map, scale_factor=2.0, mode="nearest")
        if skip_connection is not None:
            found = self.attention1(torch.cat([found, skip_connection], dim=1))
        mixed: Tensor = self.attention2(self.conv2(self.conv1(found)))
        return mixed
