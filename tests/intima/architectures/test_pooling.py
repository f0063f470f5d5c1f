"""Pooling and resizing by matrices equal torch's own, whatever the size."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from intima.architectures.pooling import PooledContext, average_cells, resizing_weights

SIZES = [(8, 8), (4, 12), (1, 3), (7, 5), (2, 2), (13, 1)]


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", SIZES)
def test_cells_are_those_of_adaptive_pooling(bins, size):
    features = torch.rand(2, 3, *size)
    torch.testing.assert_close(average_cells(features, bins), functional.adaptive_avg_pool2d(features, bins))


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("length", [1, 2, 3, 6, 7, 16])
def test_resizing_is_bilinear_on_half_pixel_centres(bins, length):
    cells = torch.rand(1, 2, bins, bins)
    weights = resizing_weights(bins, length, like=cells)
    expected = functional.interpolate(cells, size=(length, length), mode="bilinear", align_corners=False)
    torch.testing.assert_close(weights @ cells @ weights.T, expected)


def test_the_context_of_a_constant_is_that_constant():
    features = torch.full((1, 2, 5, 9), 3.0)
    torch.testing.assert_close(PooledContext(3, nn.Identity())(features), features)
