"""DeepLabV3+: Chen et al. 2018, arXiv 1802.02611, in the form of segmentation_models_pytorch."""

from torch import nn

from intima.architectures.net import Design
from intima.architectures.smp_parts import encoder_name, smp, trim_encoder, upsampled, with_dropout


def build_deeplabv3plus(design: Design) -> nn.Module:
    """Return a DeepLabV3+ with any encoder that can be dilated, randomly initialised."""
    net: nn.Module = smp.DeepLabV3Plus(
        encoder_name(design.encoder),
        encoder_weights=None,
        decoder_aspp_dropout=design.dropout,
        classes=design.classes,
        upsampling=1,
    )
    trim_encoder(net.encoder)  # type: ignore[arg-type]
    head = upsampled(net.segmentation_head, factor=4)  # type: ignore[arg-type]
    net.segmentation_head = with_dropout(head, dropout=design.dropout)
    return net
