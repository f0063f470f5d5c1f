"""Segment Anything with learnable prompts and one mask per class: Kirillov et al. 2023, arXiv 2304.02643."""

from torch import nn

from intima.architectures.net import Design
from intima.architectures.prompt_decoder import PromptedNet
from intima.architectures.sam_vit import build_vit

CENTRE = (123.675 / 255, 116.28 / 255, 103.53 / 255)
SPREAD = (58.395 / 255, 57.12 / 255, 57.375 / 255)
"""Mean and standard deviation of the published preprocessing, for RGB in 0..1."""


def build_sam(design: Design) -> nn.Module:
    """Return SAM's encoder and decoder, randomly initialised.

    Images are normalised by SAM's own mean and standard deviation. A smaller image is padded by its edge pixels before
    that, where SAM pads by zeros after it.
    """
    trunk = build_vit(design.encoder, input_px=design.input_px)
    return PromptedNet(trunk, design, scale=nn.Identity(), centre=CENTRE, spread=SPREAD)
