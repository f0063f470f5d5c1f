"""Grad-CAM of a convolutional net, for segmentation: Selvaraju et al. 2017, Vinogradova et al. 2020.

The target of class c is y = sum of its logit over the pixels where c is predicted. With A the last feature of the
encoder, alpha_k = mean over positions of dy/dA_k and the map is relu(sum_k alpha_k A_k).
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intima.architectures.net import SegmentationNet

SOURCE = "last feature of the encoder"


def grad_cam(net: SegmentationNet, images: Tensor, *, classes: int) -> Mapping[int, NDArray[np.float32]]:
    """Return the map of every foreground class that is predicted somewhere.

    Args:
        net: in evaluation mode.
        images: (1, 3, height, width) RGB in 0..1.
        classes: number of classes, background included.

    Returns:
        By class index, (rows, columns) of the encoder's last feature, 0 or more; not scaled.
    """
    with torch.no_grad():
        features = [feature.detach() for feature in net.embed(images)]
    features[-1].requires_grad_(True)
    with torch.enable_grad():
        logits = net.decode(features)[..., : images.shape[-2], : images.shape[-1]]
        predicted = logits.argmax(1)
        return {
            c: _map(features[-1], logits[:, c], predicted == c) for c in range(1, classes) if (predicted == c).any()
        }


def _map(feature: Tensor, logit: Tensor, where: Tensor) -> NDArray[np.float32]:
    (gradient,) = torch.autograd.grad(logit[where].sum(), feature, retain_graph=True, allow_unused=True)
    if gradient is None:
        return np.zeros(feature.shape[-2:], np.float32)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    cam: NDArray[np.float32] = torch.relu((weights * feature).sum(1))[0].detach().numpy()
    return cam
