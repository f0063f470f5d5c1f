"""SegFormer: Xie et al. 2021, arXiv 2105.15203, in the form of transformers."""

import re
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from intima.architectures.net import Design
from intima.architectures.smp_parts import upsampled, with_dropout
from intima.architectures.weights import copy_named

_WIDE = (64, 128, 320, 512)
_SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "mit_b0": ((2, 2, 2, 2), (32, 64, 160, 256), 256),
    "mit_b1": ((2, 2, 2, 2), _WIDE, 256),
    "mit_b2": ((3, 4, 6, 3), _WIDE, 768),
    "mit_b3": ((3, 4, 18, 3), _WIDE, 768),
    "mit_b4": ((3, 8, 27, 3), _WIDE, 768),
    "mit_b5": ((3, 6, 40, 3), _WIDE, 768),
}
"""Blocks and widths of the four stages and width of the decoder, tables 6 and 7 of the paper."""

_PUBLISHED_NAMES = (
    (r"^segformer\.", ""),
    (r"^encoder\.patch_embeddings\.(\d+)\.", r"stages.\1.patch_embeddings."),
    (r"^encoder\.block\.(\d+)\.", r"stages.\1.blocks."),
    (r"^encoder\.layer_norm\.(\d+)", r"stages.\1.layer_norm"),
    (r"attention\.self\.query", "attention.q_proj"),
    (r"attention\.self\.key", "attention.k_proj"),
    (r"attention\.self\.value", "attention.v_proj"),
    (r"attention\.self\.sr\.", "attention.sequence_reduction.sequence_reduction."),
    (r"attention\.self\.layer_norm", "attention.sequence_reduction.layer_norm"),
    (r"attention\.output\.dense", "attention.o_proj"),
    (r"mlp\.dense(\d)", r"mlp.fc\1"),
    (r"layer_norm_1", "layernorm_before"),
    (r"layer_norm_2", "layernorm_after"),
)
"""Names in the published files and names in transformers since it renamed these layers."""


def build_segformer(design: Design) -> nn.Module:
    """Return a SegFormer of one of the sizes b0 to b5, randomly initialised.

    Attention is written out, since the library's way into torch's fused kernel cannot be exported.
    """
    depths, widths, decoder_width = _SIZES[design.encoder]
    config = SegformerConfig(  # type: ignore[call-arg]
        depths=depths,
        hidden_sizes=widths,
        decoder_hidden_size=decoder_width,
        num_labels=design.classes,
        attn_implementation="eager",
    )
    return Segformer(SegformerForSemanticSegmentation(config), dropout=design.dropout)


class Segformer(nn.Module):
    """The library's net in parts, with dropout of whole channels before the head and logits of the images' size."""

    def __init__(self, source: nn.Module, *, dropout: float) -> None:
        super().__init__()
        self.encoder = MixTransformer(source.segformer.stages)  # type: ignore[union-attr, arg-type]
        self.decoder = cast("nn.Module", source.decode_head)
        head = upsampled(self.decoder.classifier, factor=4)  # type: ignore[arg-type]
        self.decoder.dropout, self.decoder.classifier = nn.Identity(), nn.Identity()
        self.segmentation_head = with_dropout(head, dropout=dropout)

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Copy the tensors of a published "mit" or "segformer" file into the encoder.

        Raises:
            Invalid: a tensor is missing or of another shape.
        """
        copy_named({_renamed(name): tensor for name, tensor in state.items()}, self.encoder)


class MixTransformer(nn.Module):
    """The hierarchical encoder: features at 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, stages: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return four features of (tiles, 3, height, width) images."""
        features = [images]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features[1:]


def _renamed(name: str) -> str:
    for published, ours in _PUBLISHED_NAMES:
        name = re.sub(published, ours, name)
    return name
