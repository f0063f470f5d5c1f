"""U-Net++: Zhou et al. 2018, arXiv 1807.10165, in the form of segmentation_models_pytorch."""

from torch import nn

from intima.architectures.net import Design
from intima.architectures.smp_parts import encoder_name, smp, trim_encoder, with_dropout

_CHANNELS = (128, 64, 48, 32, 16)
"""Decoder widths from deep to shallow, those of the U-Net here."""


def build_unetplusplus(design: Design) -> nn.Module:
    """Return a U-Net++ with any encoder of segmentation_models_pytorch or timm, randomly initialised."""
    net: nn.Module = smp.UnetPlusPlus(
        encoder_name(design.encoder), encoder_weights=None, decoder_channels=_CHANNELS, classes=design.classes
    )
    trim_encoder(net.encoder)  # type: ignore[arg-type]
    net.segmentation_head = with_dropout(net.segmentation_head, dropout=design.dropout)  # type: ignore[arg-type]
    return net
