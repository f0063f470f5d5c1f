"""The architectures that can be trained, by name. Importing this package loads no framework."""

import re
from dataclasses import dataclass

from intima.contracts.benchmark import ArchitectureSpec, ArchitectureWish, EncoderTraining, WeightsKind
from intima.errors import Invalid

LITE0 = "tf_efficientnet_lite0"

ENCODERS: tuple[str, ...] = (
    LITE0,
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenet_v2",
    "efficientnet-b0",
)
"""Convolutional encoders by name; any other of timm is "tu-" and its timm name, e.g. "tu-convnext_tiny"."""

_LOCAL_ENCODERS = frozenset({LITE0, "resnet18", "resnet34", "resnet50", "mobilenet_v2"})
"""Encoders of convolutions only; efficientnet-b0 averages over the whole tile (squeeze and excitation)."""

MIT_ENCODERS: tuple[str, ...] = ("mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5")
"""Hierarchical transformers of SegFormer."""

VIT_ENCODERS: tuple[str, ...] = ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224")
"""Plain vision transformers of timm."""

VITS = ("vit_b", "vit_l", "vit_h")
"""Image encoders of Segment Anything."""

_TIMM_PREFIX = "tu-"
_TIMM_NAME = re.compile(r"[A-Za-z0-9_.]+")
"""A net of the installed timm. Names with a scheme, as "hf-hub:...", would make workers fetch or run code of others."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What there is to choose in one architecture; of each choice the first is the default."""

    builder: str
    """"module:function" of a ``intima.architectures.net.Builder``."""
    encoders: tuple[str, ...] = ENCODERS
    any_timm: bool = True
    """Whether "tu-<timm name>" is an encoder too."""
    input_px: int = 256
    """Long side to which the typical image is resampled where the spec names none."""
    fixed_input: bool = False
    """Whether the net works at ``input_px`` only: it resizes what it is given, and is trained on crops of that size."""
    encoder_training: tuple[EncoderTraining, ...] = ("full", "frozen")
    has_prompts: bool = False
    """Whether the net has learnable prompt tokens, whose number is searched."""
    fewest_crops: int = 1
    """Least batch in training: 2 where batch normalisation sees one pixel a crop; of one value it has no statistics."""
    weights: WeightsKind | None = None
    """Weights where the spec names none; null takes those known of the encoder, and random where none are known."""
    local: bool = False
    """Whether its decoder is made of convolutions only: no pooling of the whole tile, no attention, no normalisation
    by statistics of the tile (FPN's groups)."""


def _foundation(builder: str, encoders: tuple[str, ...], *, input_px: int, has_prompts: bool) -> Architecture:
    return Architecture(
        f"intima.architectures.{builder}",
        encoders=encoders,
        any_timm=False,
        input_px=input_px,
        fixed_input=True,
        encoder_training=("frozen", "lora", "full"),
        has_prompts=has_prompts,
        weights="pretrained",
    )


ARCHITECTURES: dict[str, Architecture] = {
    "unet": Architecture("intima.architectures.unet:build_unet", local=True),
    "unet_small": Architecture("intima.architectures.unet:build_unet_small", local=True),
    "deeplabv3plus": Architecture("intima.architectures.deeplabv3plus:build_deeplabv3plus", fewest_crops=2),
    "unetplusplus": Architecture("intima.architectures.unetplusplus:build_unetplusplus", local=True),
    "manet": Architecture("intima.architectures.manet:build_manet"),
    "linknet": Architecture("intima.architectures.linknet:build_linknet", local=True),
    "fpn": Architecture("intima.architectures.fpn:build_fpn"),
    "pspnet": Architecture("intima.architectures.pspnet:build_pspnet"),
    "pan": Architecture("intima.architectures.pan:build_pan", fewest_crops=2),
    "upernet": Architecture("intima.architectures.upernet:build_upernet"),
    "dpt": Architecture("intima.architectures.dpt:build_dpt", VIT_ENCODERS, any_timm=False, fixed_input=True),
    "segformer": Architecture("intima.architectures.segformer:build_segformer", MIT_ENCODERS, any_timm=False),
    "sam": _foundation("sam:build_sam", VITS, input_px=1024, has_prompts=True),
    "medsam": _foundation("medsam:build_medsam", ("vit_b",), input_px=1024, has_prompts=True),
    "litemedsam": _foundation("litemedsam:build_litemedsam", ("tinyvit",), input_px=256, has_prompts=True),
    "medsam_unet": _foundation("medsam_unet:build_medsam_unet", ("tinyvit", "vit_b"), input_px=256, has_prompts=False),
}
"""Every architecture: one file and one line each."""


def complete_architecture(wish: ArchitectureWish) -> ArchitectureSpec:
    """Return a wish with the architecture's defaults where it names nothing. Needs no framework.

    Raises:
        Invalid: unknown architecture or encoder, or a way to train the encoder that this architecture does not have.
    """
    known = _known(wish.name)
    spec = ArchitectureSpec(
        name=wish.name,
        encoder=wish.encoder or known.encoders[0],
        weights=wish.weights or known.weights,
        encoder_training=wish.encoder_training or known.encoder_training[0],
        input_px=wish.input_px or known.input_px,
        label=wish.label,
    )
    check_architecture(spec)
    return spec


def check_architecture(spec: ArchitectureSpec) -> None:
    """Refuse a name or a choice that this version does not have. Needs no framework.

    Raises:
        Invalid: unknown architecture or encoder, or a way to train the encoder that this architecture does not have.
    """
    known = _known(spec.name)
    if spec.encoder not in known.encoders and not (known.any_timm and names_timm_encoder(spec.encoder)):
        more = " or tu-<timm name>" if known.any_timm else ""
        raise Invalid(
            f"Got encoder {spec.encoder!r}; {spec.name} needs one of {', '.join(known.encoders)}{more}.",
            code="unknown_encoder",
            pointer="/architectures",
        )
    if spec.encoder_training not in known.encoder_training:
        raise Invalid(
            f"Got encoder_training {spec.encoder_training!r}; {spec.name} has {', '.join(known.encoder_training)}.",
            code="unknown_encoder_training",
            pointer="/architectures",
        )


def is_local(spec: ArchitectureSpec) -> bool:
    """Tell whether what a net says of a pixel depends on a bounded surrounding only, whatever the size of the tile."""
    known = ARCHITECTURES.get(spec.name)
    return known is not None and known.local and spec.encoder in _LOCAL_ENCODERS


def _known(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        raise Invalid(
            f"Got architecture {name!r}; need one of {', '.join(ARCHITECTURES)}.",
            code="unknown_architecture",
            pointer="/architectures",
        )
    return ARCHITECTURES[name]


def plain_encoder(encoder: str) -> str:
    """Return an encoder's name without the prefix that marks it as timm's."""
    return encoder.removeprefix(_TIMM_PREFIX)


def names_timm_encoder(encoder: str) -> bool:
    """Tell whether a name has the form of an encoder of timm; whether timm has it, only timm can say."""
    return encoder.startswith(_TIMM_PREFIX) and _TIMM_NAME.fullmatch(plain_encoder(encoder)) is not None
