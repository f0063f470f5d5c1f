"""What every statistic demands of its input."""

import math

import numpy as np
import pytest

from intima.errors import Invalid
from intima.statistics import samples


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.1e9, 1e308])
def test_bad_scores_are_named(bad: float) -> None:
    with pytest.raises(Invalid) as caught:
        samples.as_scores([0.5, bad, 0.6])
    assert caught.value.pointer == "/scores/1"
    assert caught.value.code == "score_not_finite"


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([[1.0, 2.0], [1.0]], "unpaired"),
        ([[1.0, 2.0]], "too_few_subjects"),
        ([], "too_few_subjects"),
        ([[1.0], [2.0]], "too_few_models"),
        ([[], []], "too_few_models"),
        ([[1.0, math.nan], [1.0, 2.0]], "score_not_finite"),
    ],
)
def test_bad_matrices_are_named(rows: list[list[float]], code: str) -> None:
    with pytest.raises(Invalid) as caught:
        samples.as_matrix(rows)
    assert caught.value.code == code


def test_micro_is_exact_for_six_decimals() -> None:
    assert (samples.micro(np.array([0.1 + 0.2, 0.3, 1e9])) == [300_000, 300_000, 10**15]).all()
    assert not samples.has_spread(np.array([0.1 + 0.2, 0.3]))
    assert samples.has_spread(np.array([0.300001, 0.3]))


def test_p_is_floored() -> None:
    assert samples.floor_p(0.0) == 1e-16
    assert samples.floor_p(1.0000001) == 1.0
