"""How long and how large to train, as one table."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from intima.architectures import ARCHITECTURES
from intima.contracts.benchmark import ArchitectureSpec, ParameterValue, Preset


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Settings of one training run that are not searched."""

    steps: int
    """Optimiser steps."""
    batch: int
    """Crops per step."""
    crop_px: int
    """Side of a crop in working pixels."""
    warmup: float = 0.15
    """Share of the steps in which the learning rate rises linearly; a cosine to zero follows."""
    encoder_rate: float = 0.5
    """Learning rate of a pretrained encoder as a share of the decoder's."""
    slow_rate: float = 0.05
    """The same for the parts of a foundation model (``SegmentationNet.slow_parts``)."""
    norm_steps: int = 8
    """Forward passes after training that re-estimate the statistics of batch normalisation."""
    loss: str = "focal_dice"
    views: int = 8
    """Augmented views of each case that a net with a frozen encoder is trained on."""
    view_strength: float = 0.7
    """Strength of the augmentation of those views."""
    trial_share: float = 1.0
    """Share of the steps after which a trial of a search is judged; its schedule is as short."""

    def within(self, architecture: ArchitectureSpec) -> "LoopSettings":
        """Return the settings with crops no larger than the typical image, or as large as a net of fixed input wants.

        Beyond the image there is nothing to learn from.
        """
        fixed = ARCHITECTURES[architecture.name].fixed_input
        return replace(self, crop_px=architecture.input_px if fixed else min(self.crop_px, architecture.input_px))

    def chosen(self, parameters: Mapping[str, ParameterValue]) -> "LoopSettings":
        """Return the settings with the batch and the loss of a search, where it decides them."""
        batch, loss = int(parameters.get("batch", self.batch)), str(parameters.get("loss", self.loss))
        return replace(self, batch=batch, loss=loss)

    def for_trial(self) -> "LoopSettings":
        """Return the settings of a trial of a search."""
        return replace(self, steps=max(1, round(self.steps * self.trial_share)))


PRESETS: dict[Preset, LoopSettings] = {
    "quick": LoopSettings(steps=32, batch=4, crop_px=128, norm_steps=4),
    "standard": LoopSettings(steps=300, batch=8, crop_px=192, views=16, trial_share=1 / 3),
    "paper": LoopSettings(steps=2000, batch=16, crop_px=256, views=64, trial_share=1 / 3),
}
"""quick: seconds a fold on one core, to see that everything works. standard: minutes. paper: for a GPU, or a night."""
