"""U-Net: Ronneberger et al. 2015, arXiv 1505.04597, in the form of segmentation_models_pytorch."""

from torch import nn

from intima.architectures.smp_parts import encoder_name, smp, trim_encoder, with_dropout

_CHANNELS = (128, 64, 48, 32, 16)
"""Decoder widths from deep to shallow. The library's (256, 128, 64, 32, 16) costs a quarter more time a step."""


def build_unet(*, encoder: str, classes: int, dropout: float) -> nn.Module:
    """Return a U-Net with any encoder of segmentation_models_pytorch or timm, randomly initialised."""
    return _build(encoder, depth=5, classes=classes, dropout=dropout)


def build_unet_small(*, encoder: str, classes: int, dropout: float) -> nn.Module:
    """Return a U-Net without the encoder's last stage: coarsest features at 1/16, about a third of the weights."""
    return _build(encoder, depth=4, classes=classes, dropout=dropout)


def _build(encoder: str, *, depth: int, classes: int, dropout: float) -> nn.Module:
    net: nn.Module = smp.Unet(
        encoder_name(encoder),
        encoder_depth=depth,
        encoder_weights=None,
        decoder_channels=_CHANNELS[-depth:],
        classes=classes,
    )
    trim_encoder(net.encoder)  # type: ignore[arg-type]
    net.segmentation_head = with_dropout(net.segmentation_head, dropout=dropout)  # type: ignore[arg-type]
    return net
