"""segmentation_models_pytorch, imported after the torchvision shim; its encoders' names; a head with dropout."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from intima.architectures import LITE0, torchvision_shim  # noqa: F401  the shim comes before what imports torchvision

# isort: split
import segmentation_models_pytorch as smp
import timm
from timm.layers import Conv2dSame  # type: ignore[attr-defined]

__all__ = [
    "PaddedConv2d",
    "drop_norms",
    "encoder_name",
    "fix_padding",
    "replace_modules",
    "smp",
    "timm",
    "trim_encoder",
    "upsampled",
    "with_dropout",
]


def encoder_name(encoder: str) -> str:
    """Return the name under which segmentation_models_pytorch knows an encoder."""
    return f"tu-{encoder}" if encoder == LITE0 else encoder


def trim_encoder(encoder: nn.Module) -> None:
    """Drop the layers of an encoder behind its last feature, in place: the libraries keep them unused."""
    kinds = smp.encoders
    if isinstance(encoder, kinds.resnet.ResNetEncoder):
        _trim_resnet(encoder)
    elif isinstance(encoder, kinds.mobilenet.MobileNetV2Encoder):
        encoder.features = encoder.features[: encoder._out_indexes[encoder._depth - 1] + 1]
    elif isinstance(encoder, kinds.efficientnet.EfficientNetEncoder):
        _trim_efficientnet(encoder)
    else:
        _trim_timm(encoder)


def _trim_resnet(encoder: nn.Module) -> None:
    for stage in range(encoder._depth, 5):  # type: ignore[arg-type]
        delattr(encoder, f"layer{stage}")


def _trim_efficientnet(encoder: nn.Module) -> None:
    del encoder._conv_head, encoder._bn1
    last = encoder._out_indexes[encoder._depth - 2]  # type: ignore[index, operator]
    encoder._blocks = encoder._blocks[: last + 1]  # type: ignore[index]


def _trim_timm(encoder: nn.Module) -> None:
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


def upsampled(head: nn.Module, *, factor: int) -> nn.Sequential:
    """Put upsampling on half-pixel centres behind a head.

    The library aligns corners instead, which shifts borders by up to (factor - 1) / 2 pixels.
    """
    return nn.Sequential(head, nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False))


def replace_modules(root: nn.Module, kind: type[nn.Module], replacement: Callable[[nn.Module], nn.Module]) -> None:
    """Replace every module of a kind inside another, in place."""
    for name, child in list(root.named_children()):
        if isinstance(child, kind):
            setattr(root, name, replacement(child))
        else:
            replace_modules(child, kind, replacement)


def drop_norms(module: nn.Module) -> None:
    """Drop batch normalisation inside a module that sees one pixel an image, in place.

    Statistics over a handful of values are noise, and over one value they are an error.
    """
    replace_modules(module, nn.BatchNorm2d, lambda _: nn.Identity())


def fix_padding(module: nn.Module) -> None:
    """Replace size-dependent "same" padding by the constant it is for even sizes, in place.

    Nets here always see multiples of 32, so the result is the same and the exported graph is static.
    """
    replace_modules(module, Conv2dSame, PaddedConv2d)  # type: ignore[arg-type]


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
