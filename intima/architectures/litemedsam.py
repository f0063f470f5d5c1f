"""LiteMedSAM with learnable prompts and one mask per class: MedSAM (Ma et al. 2024) distilled into a TinyViT."""

from torch import nn

from intima.architectures.foundation import StretchRange
from intima.architectures.medsam import ONES, ZEROS
from intima.architectures.net import Design
from intima.architectures.prompt_decoder import PromptedNet
from intima.architectures.tiny_vit import build_tiny_vit


def build_litemedsam(design: Design) -> nn.Module:
    """Return LiteMedSAM's encoder and decoder, randomly initialised.

    As published, each image is stretched to 0..1 by its own minimum and maximum and is not normalised further. The
    embedding has a quarter of the image's resolution and the decoder upscales fourfold: masks are at full resolution.
    """
    trunk = build_tiny_vit(input_px=design.input_px)
    return PromptedNet(trunk, design, scale=StretchRange(), centre=ZEROS, spread=ONES)
