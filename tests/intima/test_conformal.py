"""Dilations that are known, and the coverage that is promised."""

import math

import numpy as np
import pytest
from scipy import ndimage

from intima.conformal import conformal_quantile, reach, smallest_alpha
from intima.errors import Invalid


def disc(radius: float, *, size: int = 160) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.hypot(x - size / 2, y - size / 2) <= radius


def test_the_reach_of_concentric_discs_is_the_gap_but_for_the_last_percent() -> None:
    """Of the disc of radius 50, 99 % of the area lies within radius 50 sqrt(.99) = 49.75."""
    assert reach(disc(50), disc(40)) == pytest.approx(9.75, abs=0.6)
    assert reach(disc(50), disc(40), covered=1.0) == pytest.approx(10, abs=0.6)
    assert reach(disc(40), disc(50)) == 0.0


def test_the_reach_covers_what_it_says() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = (ndimage.gaussian_filter(rng.normal(size=(80, 80)), 4) > 0.02 for _ in range(2))
    found = reach(truth, predicted)
    distance = ndimage.distance_transform_edt(~predicted)
    assert np.mean(distance[truth] <= found) >= 0.99
    assert np.mean(distance[truth] < found) < 0.99


def test_nothing_predicted_reaches_nowhere_and_nothing_true_is_refused() -> None:
    assert reach(disc(5), disc(-1)) == math.inf
    with pytest.raises(Invalid, match="not empty"):
        reach(disc(-1), disc(5))
    with pytest.raises(Invalid, match="equal"):
        reach(disc(5), disc(5, size=150))


@pytest.mark.parametrize("n", [9, 10, 19, 40])
def test_a_new_subject_is_covered_as_promised(n: int) -> None:
    """Exactly ceil((n + 1) .9) / (n + 1) for scores without ties."""
    rng = np.random.default_rng(n)
    scores = rng.lognormal(size=(20_000, n + 1))
    limits = np.array([conformal_quantile(row[:n].tolist(), alpha=0.1) for row in scores])
    expected = math.ceil(round((n + 1) * 0.9, 9)) / (n + 1)
    assert np.mean(scores[:, n] <= limits) == pytest.approx(expected, abs=0.008)
    assert expected >= 0.9


def test_too_few_subjects_have_no_answer() -> None:
    assert conformal_quantile([1.0] * 8, alpha=0.1) is None
    assert conformal_quantile([1.0] * 9, alpha=0.1) == 1.0
    assert conformal_quantile([], alpha=0.1) is None
    assert smallest_alpha(9) == pytest.approx(0.1)


def test_a_missed_subject_is_infinite_and_nan_is_refused() -> None:
    assert conformal_quantile([1.0] * 8 + [math.inf], alpha=0.1) == math.inf
    assert conformal_quantile([1.0] * 18 + [math.inf], alpha=0.1) == 1.0
    for scores, alpha in (([math.nan], 0.1), ([1.0], 0.0), ([1.0], 1.0)):
        with pytest.raises(Invalid, match="alpha"):
            conformal_quantile(scores, alpha=alpha)
