"""U-Net: Ronneberger et al. 2015, arXiv 1505.04597, in the form of segmentation_models_pytorch."""

from torch import nn

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
    net.segmentation_head = with_dropout(net.segmentation_head, dropout=design.dropout)  # type: ignore[arg-type]
    return net
