"""LinkNet: Chaurasia and Culurciello 2017, arXiv 1707.03718, in the form of segmentation_models_pytorch."""

from torch import Tensor, nn

from intima.architectures.net import Design
from intima.architectures.smp_parts import encoder_name, smp, trim_encoder, with_dropout


def build_linknet(design: Design) -> nn.Module:
    """Return a LinkNet with any encoder of segmentation_models_pytorch or timm, randomly initialised."""
    net: nn.Module = smp.Linknet(encoder_name(design.encoder), encoder_weights=None, classes=design.classes)
    skips = [*net.encoder.out_channels[-2:0:-1], 0]  # type: ignore[union-attr, index]
    blocks = [_with_skip(block, channels) for block, channels in zip(net.decoder.blocks, skips, strict=True)]  # type: ignore[union-attr, arg-type]
    net.decoder.blocks = nn.ModuleList(blocks)  # type: ignore[union-attr]
    trim_encoder(net.encoder)  # type: ignore[arg-type]
    net.segmentation_head = with_dropout(net.segmentation_head, dropout=design.dropout)  # type: ignore[arg-type]
    return net


def _with_skip(source: nn.Module, channels: int) -> nn.Module:
    """Return a block that knows whether there is something to add; the library asks the tensor, which is not traced."""
    block: nn.Module = source.block  # type: ignore[assignment]
    return AddingBlock(block) if channels else PlainBlock(block)


class AddingBlock(nn.Module):
    """Enlarge a map twofold and add the encoder's feature of that size."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Return a map of the size of ``skip``."""
        result: Tensor = self.block(features) + skip
        return result


class PlainBlock(nn.Module):
    """Enlarge a map twofold, where the encoder has no feature of that size."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, features: Tensor, _: Tensor | None) -> Tensor:
        """Return a map of twice the size."""
        result: Tensor = self.block(features)
        return result
