"""Served masks are the scored ones."""

import numpy as np
import pytest

from intima.geometry import Region, Size
from intima.segmentation import Frame, collect_strips
from intima.tiling import upsample_logits


def collected(stacked: np.ndarray, *, native: Size, rows: int = 5) -> np.ndarray:
    """The mask of stacked logits (passes * 4 classes, height, width) that come in strips."""
    height, width = stacked.shape[1:]
    frame = Frame(region=Region(0, 0, native.width, native.height), working=Size(width, height), scale=0.4, mpp=None)
    strips = ((top, stacked[:, top : top + rows]) for top in range(0, height, rows))
    return collect_strips(strips, frame=frame, classes=4, report=lambda _fraction, _message: None).mask


@pytest.mark.parametrize("native", [Size(50, 30), Size(20, 12), Size(9, 7)])
def test_one_pass_gives_the_mask_that_scoring_gives(native: Size) -> None:
    """Scoring brings logits to the native size (training.scoring.predict_mask)."""
    logits = np.random.default_rng(0).normal(scale=4, size=(4, 12, 20)).astype(np.float32)
    np.testing.assert_array_equal(collected(logits, native=native), upsample_logits(logits, native).argmax(0))


def test_several_passes_give_the_mask_of_their_mean_probability() -> None:
    """As a scored ensemble, whose logits are the logarithm of the mean of its members' softmax."""
    logits = np.random.default_rng(1).normal(scale=4, size=(3, 4, 12, 20)).astype(np.float32)
    each = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = upsample_logits(np.log(each.mean(0)), Size(50, 30)).argmax(0)
    np.testing.assert_array_equal(collected(logits.reshape(12, 12, 20), native=Size(50, 30)), expected)


def test_certain_pixels_stay_finite() -> None:
    """A probability of 0 in float32 is no logarithm of minus infinity, which would spread."""
    logits = np.zeros((4, 8, 8), np.float32)
    logits[0, :, :4], logits[1, :, 4:] = 500, 500
    mask = collected(logits, native=Size(16, 16))
    assert (mask[:, :8] == 0).all()
    assert (mask[:, 8:] == 1).all()
