"""PSPNet: Zhao et al. 2017, arXiv 1612.01105, in the form of segmentation_models_pytorch."""

from torch import nn

from intima.architectures.net import Design
from intima.architectures.pooling import PooledContext
from intima.architectures.smp_parts import encoder_name, replace_modules, smp, trim_encoder, upsampled, with_dropout


def build_pspnet(design: Design) -> nn.Module:
    """Return a PSPNet with the first four stages of any encoder that can be dilated, randomly initialised.

    The fourth stage is dilated to 1/8, so that thin layers survive. The library's default stops after three stages;
    the paper's five take five times as long here, with dilated depthwise convolutions.
    """
    net: nn.Module = smp.PSPNet(
        encoder_name(design.encoder),
        encoder_weights=None,
        encoder_depth=4,
        output_stride=8,
        psp_dropout=0.0,
        classes=design.classes,
        upsampling=1,
    )
    replace_modules(net.decoder, smp.decoders.pspnet.decoder.PSPBlock, _any_size)  # type: ignore[arg-type]
    trim_encoder(net.encoder)  # type: ignore[arg-type]
    head = upsampled(net.segmentation_head, factor=8)  # type: ignore[arg-type]
    net.segmentation_head = with_dropout(head, dropout=design.dropout)
    return net


def _any_size(source: nn.Module) -> PooledContext:
    return PooledContext(source.pool_size, source.pool[1])  # type: ignore[arg-type, index]
