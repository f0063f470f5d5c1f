"""Pyramid attention network: Li et al. 2018, arXiv 1805.10180, in the form of segmentation_models_pytorch."""

from torch import Tensor, nn
from torch.nn import functional

from intima.architectures.net import Design
from intima.architectures.smp_parts import (
    drop_norms,
    encoder_name,
    replace_modules,
    smp,
    trim_encoder,
    upsampled,
    with_dropout,
)


def build_pan(design: Design) -> nn.Module:
    """Return a pyramid attention network with any encoder that can be dilated to 1/16, randomly initialised."""
    net: nn.Module = smp.PAN(encoder_name(design.encoder), encoder_weights=None, classes=design.classes, upsampling=1)
    parts = smp.decoders.pan.decoder
    replace_modules(net.decoder, parts.FPABlock, PyramidAttention)  # type: ignore[arg-type]
    replace_modules(net.decoder, parts.GAUBlock, GuidedUpsampling)  # type: ignore[arg-type]
    trim_encoder(net.encoder)  # type: ignore[arg-type]
    head = upsampled(net.segmentation_head, factor=4)  # type: ignore[arg-type]
    net.segmentation_head = with_dropout(head, dropout=design.dropout)
    return net


class PyramidAttention(nn.Module):
    """Weight features by a pyramid of three coarser maps and add their global mean.

    The library's block halves three times and needs 128 px for it; this one rounds halves up and takes any size.
    """

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.mean, self.mid = source.branch1, source.mid
        self.down1, self.down2, self.down3 = source.down1, source.down2, source.down3
        self.conv1, self.conv2 = source.conv1, source.conv2
        drop_norms(self.mean)  # type: ignore[arg-type]
        replace_modules(self, nn.MaxPool2d, lambda _: nn.MaxPool2d(kernel_size=2, stride=2, ceil_mode=True))

    def forward(self, features: Tensor) -> Tensor:
        """Return (tiles, decoder channels, height, width) of (tiles, channels, height, width) features."""
        half = self.down1(features)  # type: ignore[operator]
        quarter = self.down2(half)  # type: ignore[operator]
        eighth = self.down3(quarter)  # type: ignore[operator]
        weights = self.conv2(quarter) + _enlarge(eighth, quarter)  # type: ignore[operator]
        weights = self.conv1(half) + _enlarge(weights, half)  # type: ignore[operator]
        result: Tensor = self.mid(features) * _enlarge(weights, features) + self.mean(features)  # type: ignore[operator]
        return result


class GuidedUpsampling(nn.Module):
    """Enlarge a coarse map and add a finer one, its channels weighted by the coarse one's means."""

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.gate, self.fine = source.conv1, source.conv2
        drop_norms(self.gate)  # type: ignore[arg-type]

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return a map of the size of ``fine``."""
        result: Tensor = _enlarge(coarse, fine) + self.fine(fine) * self.gate(coarse)  # type: ignore[operator]
        return result


def _enlarge(coarse: Tensor, fine: Tensor) -> Tensor:
    return functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
