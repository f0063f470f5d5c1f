"""Losses of a segmentation net, by name. All take logits and class indices and return a scalar."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from intima.contracts.benchmark import ParameterValue

Loss: TypeAlias = Callable[[Tensor, Tensor, Mapping[str, ParameterValue]], Tensor]
"""loss(logits (n, classes, h, w), target (n, h, w) int64, parameters) -> scalar. Parameters a loss does not know are
ignored, those it needs have defaults."""

_SMOOTH = 1e-5


def focal_dice(logits: Tensor, target: Tensor, parameters: Mapping[str, ParameterValue]) -> Tensor:
    """Return (1 - w) focal + w dice, with ``dice_weight`` w (0.5) and ``focal_gamma`` (1.0)."""
    weight = float(parameters.get("dice_weight", 0.5))
    gamma = float(parameters.get("focal_gamma", 1.0))
    log_p = functional.log_softmax(logits.float(), dim=1)
    overlap = soft_overlap(log_p.exp(), target, miss=0.5, invent=0.5)
    return (1 - weight) * focal(log_p, target, gamma=gamma) + weight * (1 - overlap)


def cross_entropy(logits: Tensor, target: Tensor, parameters: Mapping[str, ParameterValue]) -> Tensor:
    """Return the mean cross-entropy over pixels, with ``label_smoothing`` (0.0)."""
    smoothing = float(parameters.get("label_smoothing", 0.0))
    return functional.cross_entropy(logits.float(), target, label_smoothing=smoothing)


def tversky(logits: Tensor, target: Tensor, parameters: Mapping[str, ParameterValue]) -> Tensor:
    """Return 1 - the Tversky index (Salehi et al. 2017).

    ``tversky_miss`` (0.7) weighs missed pixels, one minus it invented ones.
    """
    miss = float(parameters.get("tversky_miss", 0.7))
    return 1 - soft_overlap(functional.softmax(logits.float(), dim=1), target, miss=miss, invent=1 - miss)


LOSSES: dict[str, Loss] = {"focal_dice": focal_dice, "cross_entropy": cross_entropy, "tversky": tversky}
"""Every loss by name."""


def focal(log_p: Tensor, target: Tensor, *, gamma: float) -> Tensor:
    """Return the mean over pixels of -(1 - p)^gamma log p of the true class (Lin et al. 2017)."""
    log_true = log_p.gather(1, target[:, None])[:, 0]
    doubt = (1 - log_true.exp()).clamp(min=_SMOOTH)  # the gradient of x^gamma at 0 is infinite for gamma below 1
    return (-(doubt**gamma) * log_true).mean()


def soft_overlap(p: Tensor, target: Tensor, *, miss: float, invent: float) -> Tensor:
    """Return the mean over classes present in the batch of TP / (TP + miss FN + invent FP), pixels of the batch pooled.

    With both weights at one half this is the soft Dice score.
    """
    truth = functional.one_hot(target, p.shape[1]).movedim(-1, 1).to(p.dtype)
    axes = (0, 2, 3)
    hit, true, predicted = (p * truth).sum(axes), truth.sum(axes), p.sum(axes)
    score = (hit + _SMOOTH) / (hit + miss * (true - hit) + invent * (predicted - hit) + _SMOOTH)
    present = (true > 0).to(p.dtype)
    return torch.sum(score * present) / present.sum()
