"""Dense prediction transformer: Ranftl et al. 2021, arXiv 2103.13413, its decoder from segmentation_models_pytorch."""

from collections.abc import Sequence
from typing import Any, cast

import timm
from timm.layers import resample_abs_pos_embed  # type: ignore[attr-defined]
from torch import Tensor, nn

from intima.architectures.net import Design
from intima.architectures.smp_parts import replace_modules, smp
from intima.architectures.weights import copy_named

_TAPS = 4
"""Blocks whose output is read, evenly spaced."""
_WIDTH = 96
"""Decoder width. The library's 256 costs several times as much."""


def build_dpt(design: Design) -> nn.Module:
    """Return a dense prediction transformer with a plain vision transformer of patches of 16 px.

    It works at one size only, since its position embeddings belong to one grid.
    """
    return DensePrediction(design)


class DensePrediction(nn.Module):
    """Encoder, decoder and head of a dense prediction transformer."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.encoder = TappedTransformer(design.encoder, px=design.input_px)
        self.decoder = FusingDecoder(self.encoder.width)
        self.segmentation_head = nn.Sequential(
            nn.Conv2d(_WIDTH, _WIDTH, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(_WIDTH),
            nn.ReLU(),
            nn.Dropout2d(design.dropout),
            nn.Conv2d(_WIDTH, design.classes, kernel_size=1),
            _enlarging(),
        )

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Copy the tensors of a timm file into the encoder, position embeddings resampled to its grid.

        Raises:
            Invalid: a tensor is missing or of another shape.
        """
        self.encoder.load_pretrained(state)


class TappedTransformer(nn.Module):
    """A vision transformer of timm, read after four of its blocks."""

    def __init__(self, name: str, *, px: int) -> None:
        super().__init__()
        model = timm.create_model(name, pretrained=False, img_size=px, num_classes=0, global_pool="")
        self.model = cast("Any", model)
        self.model.norm = nn.Identity()
        self.model.patch_embed.strict_img_size = False
        self.model.patch_embed.img_size = None
        self.width: int = self.model.embed_dim
        self.grid = px // self.model.patch_embed.patch_size[0]
        blocks = len(self.model.blocks)
        self.taps = {blocks * (k + 1) // _TAPS - 1 for k in range(_TAPS)}

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return four features of (tiles, width, grid, grid), then the four class tokens of (tiles, width, 1, 1)."""
        tokens = self.model.norm_pre(self.model._pos_embed(self.model.patch_embed(images)))
        features, classes = [], []
        for index, block in enumerate(self.model.blocks):
            tokens = block(tokens)
            if index in self.taps:
                features.append(tokens[:, 1:].transpose(1, 2).reshape(-1, self.width, self.grid, self.grid))
                classes.append(tokens[:, 0, :, None, None])
        return [*features, *classes]

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Copy the tensors of a timm file, position embeddings resampled to the grid.

        Raises:
            Invalid: a tensor is missing or of another shape.
        """
        fitted = dict(state)
        if "pos_embed" in fitted:
            fitted["pos_embed"] = resample_abs_pos_embed(fitted["pos_embed"], new_size=[self.grid, self.grid])
        copy_named(fitted, self.model)


class FusingDecoder(nn.Module):
    """Bring features to 1/4, 1/8, 1/16 and 1/32 and fuse them from coarse to fine, to 1/2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        library = smp.decoders.dpt.decoder
        self.fusing = library.DPTDecoder(
            encoder_out_channels=[width] * _TAPS,
            encoder_output_strides=[16] * _TAPS,
            intermediate_channels=[_WIDTH // 2, _WIDTH, 2 * _WIDTH, 2 * _WIDTH],
            fusion_channels=_WIDTH,
        )
        replace_modules(self.fusing, library.FusionBlock, Fusion)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return a (tiles, 96, 8 x grid, 8 x grid) map."""
        tokens = [c.flatten(1)[:, None] for c in features[_TAPS:]]
        result: Tensor = self.fusing([f.contiguous() for f in features[:_TAPS]], tokens)
        return result


class Fusion(nn.Module):
    """The library's fusion of two maps, enlarged on half-pixel centres."""

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.first, self.second = source.residual_conv_block1, source.residual_conv_block2
        self.enlarge, self.project = _enlarging(), source.project

    def forward(self, feature: Tensor, coarser: Tensor | None) -> Tensor:
        """Return a map of twice the size."""
        first: Tensor = self.first(feature)  # type: ignore[operator]
        fused = first if coarser is None else first + coarser
        result: Tensor = self.enlarge(self.project(self.second(fused)))  # type: ignore[operator]
        return result


def _enlarging() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
