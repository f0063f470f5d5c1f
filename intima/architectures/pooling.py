"""Adaptive pooling and resizing as products with small matrices: equal to torch's own, and exported at any size.

The exporter freezes adaptive pooling at the size it saw, and ONNX's bilinear resize differs from torch's where one
row is left; matrices whose size follows the input have neither trouble.
"""

import torch
from torch import Tensor, nn


class PooledContext(nn.Module):
    """Average an image into ``bins`` x ``bins`` cells, transform these, and spread them over the image again.

    The pyramid pooling of Zhao et al. 2017, arXiv 1612.01105, resized on half-pixel centres.
    """

    def __init__(self, bins: int, transform: nn.Module) -> None:
        super().__init__()
        self.bins = bins
        self.transform = transform

    def forward(self, features: Tensor) -> Tensor:
        """Return a map as large as (tiles, channels, height, width) features."""
        height, width = features.shape[-2], features.shape[-1]
        cells: Tensor = self.transform(average_cells(features, self.bins))
        rows = resizing_weights(self.bins, height, like=cells)
        columns = resizing_weights(self.bins, width, like=cells)
        return rows @ cells @ columns.transpose(0, 1)


class AdaptivePool(nn.Module):
    """Average an image into ``bins`` x ``bins`` cells, as ``nn.AdaptiveAvgPool2d`` does."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, features: Tensor) -> Tensor:
        """Return (tiles, channels, bins, bins) means of (tiles, channels, height, width) features."""
        return average_cells(features, self.bins)


def average_cells(features: Tensor, bins: int) -> Tensor:
    """Return (tiles, channels, bins, bins) means of (tiles, channels, height, width) features."""
    rows = pooling_weights(features.shape[-2], bins, like=features)
    columns = pooling_weights(features.shape[-1], bins, like=features)
    return rows @ features @ columns.transpose(0, 1)


def pooling_weights(length: int, bins: int, *, like: Tensor) -> Tensor:
    """Return the (bins, length) matrix of adaptive average pooling along one axis.

    >>> pooling_weights(4, 2, like=torch.zeros(1)).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    bin_ = torch.arange(bins, device=like.device)[:, None]
    start = torch.div(bin_ * length, bins, rounding_mode="floor")
    stop = torch.div((bin_ + 1) * length + bins - 1, bins, rounding_mode="floor")
    place = torch.arange(length, device=like.device)
    inside = ((place >= start) & (place < stop)).to(like.dtype)
    return inside / (stop - start).to(like.dtype)


def resizing_weights(bins: int, length: int, *, like: Tensor) -> Tensor:
    """Return the (length, bins) matrix of linear interpolation on half-pixel centres along one axis.

    >>> resizing_weights(2, 4, like=torch.zeros(1))[1].tolist()
    [0.75, 0.25]
    """
    place = torch.arange(length, device=like.device).to(torch.float32)
    source = torch.clamp((place + 0.5) * bins / length - 0.5, min=0, max=bins - 1)
    distance = torch.abs(source[:, None] - torch.arange(bins, device=like.device).to(torch.float32))
    return torch.clamp(1 - distance, min=0).to(like.dtype)
