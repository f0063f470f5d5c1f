"""MedSAM with learnable prompts and one mask per class: Ma et al. 2024, Nature Communications 15:654."""

from torch import nn

from intima.architectures.foundation import StretchRange
from intima.architectures.net import Design
from intima.architectures.prompt_decoder import PromptedNet
from intima.architectures.sam_vit import build_vit

ZEROS, ONES = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def build_medsam(design: Design) -> nn.Module:
    """Return SAM's encoder and decoder for MedSAM's weights, randomly initialised.

    As published, each image is stretched to 0..1 by its own minimum and maximum and is not normalised further.
    """
    trunk = build_vit(design.encoder, input_px=design.input_px)
    return PromptedNet(trunk, design, scale=StretchRange(), centre=ZEROS, spread=ONES)
