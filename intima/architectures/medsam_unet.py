"""A U-Net (Ronneberger et al. 2015, arXiv 1505.04597) that is told what MedSAM or LiteMedSAM sees in the image."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from intima.architectures.foundation import WIDTH, FoundationEncoder, State, StretchRange, Trunk
from intima.architectures.medsam import ONES, ZEROS
from intima.architectures.net import Design
from intima.architectures.sam_vit import build_vit
from intima.architectures.smp_parts import with_dropout
from intima.architectures.tiny_vit import build_tiny_vit

_WIDTHS = (16, 32, 64, 128, 256)
"""Channels of the U-Net from full resolution down to a sixteenth."""

_DEEPEST = 2 ** (len(_WIDTHS) - 1)


def build_medsam_unet(design: Design) -> nn.Module:
    """Return the foundation encoder beside a light U-Net, randomly initialised."""
    if design.encoder == "tinyvit":
        return FusedNet(build_tiny_vit(input_px=design.input_px), design)
    return FusedNet(build_vit(design.encoder, input_px=design.input_px), design)


class ImageAndEmbedding(FoundationEncoder):
    """Images to [image, embedding]: the U-Net needs both, and frozen features stay a pure function of the image."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the stretched image and its embedding."""
        image = self.scale(images)
        return [image, self.trunk(image)]


class FusedNet(nn.Module):
    """``encoder`` is the foundation model alone; the whole U-Net, its way down included, is the ``decoder``."""

    centre: Tensor
    spread: Tensor

    def __init__(self, trunk: Trunk, design: Design) -> None:
        super().__init__()
        self.encoder = ImageAndEmbedding(trunk, scale=StretchRange(), training=design.encoder_training)
        self.decoder = FusionUnet(embedding_stride=trunk.stride)
        head = nn.Conv2d(_WIDTHS[0], design.classes, kernel_size=3, padding=1)
        self.segmentation_head = with_dropout(head, dropout=design.dropout)
        self.register_buffer("centre", torch.tensor(ZEROS).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(ONES).view(1, 3, 1, 1), persistent=False)

    def load_pretrained(self, state: State) -> None:
        """Take the image encoder from a file of the SAM family; the U-Net stays as it is.

        Raises:
            Invalid: the file does not fit.
        """
        self.encoder.load_pretrained(state)


class FusionUnet(nn.Module):
    """[image, embedding] to a map at full resolution.

    The embedding joins the U-Net, projected and concatenated, at the bottleneck (1/16) and, where it is finer than
    that, at the skip of its own resolution too.
    """

    def __init__(self, *, embedding_stride: int) -> None:
        super().__init__()
        self.embedding_stride = embedding_stride
        self.joints = nn.ModuleDict(
            {str(s): conv_block(WIDTH, _WIDTHS[s.bit_length() - 1], kernel=1) for s in {embedding_stride, _DEEPEST}}
        )
        self.down = nn.ModuleList(double_block(a, b) for a, b in zip((3, *_WIDTHS[:-1]), _WIDTHS, strict=True))
        joined = [width * (2 if str(2**i) in self.joints else 1) for i, width in enumerate(_WIDTHS)]
        below = [*_WIDTHS[1:-1], joined[-1]]
        self.up = nn.ModuleList(
            double_block(deep + skip, out) for deep, skip, out in zip(below, joined, _WIDTHS, strict=False)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return (n, 16, px, px)."""
        image, embedding = features
        levels = self._descend(image)
        levels = [self._join(level, embedding, stride=2**i) for i, level in enumerate(levels)]
        decoded = levels[-1]
        for skip, block in zip(levels[-2::-1], reversed(self.up), strict=True):
            raised = functional.interpolate(decoded, scale_factor=2.0, mode="bilinear", align_corners=False)
            decoded = block(torch.cat([raised, skip], dim=1))
        return decoded

    def _descend(self, image: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for block in self.down:
            levels.append(block(functional.max_pool2d(levels[-1], 2) if levels else image))
        return levels

    def _join(self, level: Tensor, embedding: Tensor, *, stride: int) -> Tensor:
        if str(stride) not in self.joints:
            return level
        pooled = functional.avg_pool2d(embedding, stride // self.embedding_stride)
        return torch.cat([level, self.joints[str(stride)](pooled)], dim=1)


def double_block(inward: int, outward: int) -> nn.Sequential:
    """Return two 3 x 3 convolution blocks."""
    return nn.Sequential(conv_block(inward, outward, kernel=3), conv_block(outward, outward, kernel=3))


def conv_block(inward: int, outward: int, *, kernel: int) -> nn.Sequential:
    """Return a convolution with batch normalisation and ReLU."""
    convolution = nn.Conv2d(inward, outward, kernel_size=kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outward), nn.ReLU(inplace=True))
