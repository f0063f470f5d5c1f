"""segmentation_models_pytorch, imported after the torchvision shim; its encoders' names; a head with dropout."""

from torch import Tensor, nn
from torch.nn import functional

from intima.architectures import LITE0, torchvision_shim  # noqa: F401  the shim comes before what imports torchvision

# isort: split
import segmentation_models_pytorch as smp
from timm.layers import Conv2dSame  # type: ignore[attr-defined]

__all__ = ["PaddedConv2d", "encoder_name", "fix_padding", "smp", "trim_encoder", "with_dropout"]


def encoder_name(encoder: str) -> str:
    """Return the name under which segmentation_models_pytorch knows an encoder."""
    return f"tu-{encoder}" if encoder == LITE0 else encoder


def trim_encoder(encoder: nn.Module) -> None:
    """Drop the blocks of a timm encoder behind its last feature, in place: timm keeps and computes them unused."""
    model = getattr(encoder, "model", None)
    blocks = getattr(model, "blocks", None)
    if model is None or not isinstance(blocks, nn.Sequential):
        return
    last = str(model.feature_info.module_name()[-1])
    if last.startswith("blocks."):
        model.blocks = blocks[: int(last.split(".")[1]) + 1]


def with_dropout(head: nn.Module, *, dropout: float) -> nn.Sequential:
    """Put channel dropout before a head: stock decoders have none, and Monte Carlo passes would all be equal."""
    return nn.Sequential(nn.Dropout2d(dropout), head)


def fix_padding(module: nn.Module) -> None:
    """Replace size-dependent "same" padding by the constant it is for even sizes, in place.

    Nets here always see multiples of 32, so the result is the same and the exported graph is static.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, Conv2dSame):
            setattr(module, name, PaddedConv2d(child))
        else:
            fix_padding(child)


class PaddedConv2d(nn.Conv2d):
    """A strided convolution with TensorFlow's padding for inputs of even size."""

    def __init__(self, source: nn.Conv2d) -> None:
        super().__init__(
            source.in_channels,
            source.out_channels,
            source.kernel_size,  # type: ignore[arg-type]
            stride=source.stride,  # type: ignore[arg-type]
            groups=source.groups,
            bias=source.bias is not None,
        )
        self.weight = source.weight
        self.bias = source.bias
        total = source.kernel_size[0] - source.stride[0]
        self.margins = (total // 2, total - total // 2) * 2

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch names it so
        """Pad by a constant zero margin and convolve."""
        return super().forward(functional.pad(input, self.margins))
