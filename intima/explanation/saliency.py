"""The saliency layer: integrated gradients per class (Sundararajan et al. 2017, arXiv 1703.01365), by captum.

F_c(x) = mean logit of class c over the pixels where c is predicted for the image itself. Attributions are the
integral of the gradient along the straight line from a white image (empty glass) to the image, times their difference;
by completeness they sum to F(image) - F(white). The integral is a Gauss-Legendre quadrature; how far the sum is from
what it should be is reported.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Attribution:
    """Attributions of one class."""

    pixels: NDArray[np.float32]
    """(height, width), channels summed, signed."""
    attributed: float
    """Their sum."""
    expected: float
    """F(image) - F(white)."""

    @property
    def gap(self) -> float | None:
        """Return |attributed - expected| / |expected|; null where nothing was expected."""
        return abs(self.attributed - self.expected) / abs(self.expected) if self.expected else None


def integrated_gradients(net: nn.Module, images: Tensor, *, classes: int, steps: int) -> dict[int, Attribution]:
    """Return the attributions of every foreground class that is predicted somewhere.

    Args:
        net: images to logits of the same size, in evaluation mode.
        images: (1, 3, height, width) RGB in 0..1.
        classes: number of classes, background included.
        steps: points of the quadrature.
    """
    with torch.no_grad():
        predicted = net(images).argmax(1)
    return {c: _attribute(net, images, predicted == c, c, steps) for c in range(1, classes) if (predicted == c).any()}


def _attribute(net: nn.Module, images: Tensor, where: Tensor, index: int, steps: int) -> Attribution:
    value = _mean_logit(net, where, index)
    baseline = torch.ones_like(images)
    method = IntegratedGradients(value)
    found = method.attribute(images, baselines=baseline, n_steps=steps, internal_batch_size=1)
    with torch.no_grad():
        expected = float(value(images) - value(baseline))
    pixels: NDArray[np.float32] = found[0].sum(0).detach().float().numpy()
    return Attribution(pixels=pixels, attributed=float(found.sum(dtype=torch.float64)), expected=expected)


def _mean_logit(net: nn.Module, where: Tensor, index: int) -> Callable[[Tensor], Tensor]:
    share = where.float() / where.sum()

    def value(images: Tensor) -> Tensor:
        logits: Tensor = net(images)
        return (logits[:, index] * share).sum(dim=(1, 2))

    return value
