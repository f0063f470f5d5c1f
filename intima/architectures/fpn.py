"""Feature pyramid: Kirillov et al. 2019, arXiv 1901.02446, in the form of segmentation_models_pytorch."""

from torch import nn

from intima.architectures.net import Design
from intima.architectures.smp_parts import encoder_name, replace_modules, smp, trim_encoder, upsampled, with_dropout


def build_fpn(design: Design) -> nn.Module:
    """Return a feature pyramid net with any encoder of segmentation_models_pytorch or timm, randomly initialised."""
    net: nn.Module = smp.FPN(
        encoder_name(design.encoder), encoder_weights=None, decoder_dropout=0.0, classes=design.classes, upsampling=1
    )
    replace_modules(net.decoder, smp.decoders.fpn.decoder.Conv3x3GNReLU, _on_half_pixels)  # type: ignore[arg-type]
    trim_encoder(net.encoder)  # type: ignore[arg-type]
    head = upsampled(net.segmentation_head, factor=4)  # type: ignore[arg-type]
    net.segmentation_head = with_dropout(head, dropout=design.dropout)
    return net


def _on_half_pixels(source: nn.Module) -> nn.Module:
    block: nn.Module = source.block  # type: ignore[assignment]
    return upsampled(block, factor=2) if source.upsample else block
