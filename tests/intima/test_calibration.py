"""Calibration against a second implementation and what must hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intima.calibration import BINS, expected_calibration_error, measure_calibration
from intima.errors import Invalid


def by_hand(confidence: list[float], right: list[bool]) -> float:
    """The definition, bin by bin."""
    total = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = [i for i, c in enumerate(confidence) if low < c <= high or (number == 0 and c == 0)]
        if inside:
            accuracy = sum(right[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - sum(confidence[i] for i in inside) / len(inside))
    return total


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 149), st.booleans()), min_size=1, max_size=60))
def test_the_calibration_error_is_its_definition(rows: list[tuple[int, bool]]) -> None:
    """Confidences off the edges of the bins, where rounding to 32 bits decides."""
    confidence, right = [(i + 0.5) / 150 for i, _ in rows], [r for _, r in rows]
    found = expected_calibration_error(np.array(confidence, np.float32), np.array(right))
    assert found == pytest.approx(by_hand(confidence, right), abs=1e-6)


def drawn(seed: int, *, overconfident: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels that follow the probabilities; what is returned is sharpened by the factor on logits."""
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.ones(4), (200, 200)).transpose(2, 0, 1)
    truth = (random.random((200, 200)) > p.cumsum(axis=0)[:3]).sum(axis=0).astype(np.uint8)
    sharp = p**overconfident
    return (sharp / sharp.sum(axis=0)).astype(np.float32), truth


def test_labels_drawn_from_the_probabilities_are_calibrated() -> None:
    assert measure_calibration(*drawn(0)).ece < 0.01


def test_too_much_confidence_shows_in_all_three() -> None:
    fair, sure = measure_calibration(*drawn(1)), measure_calibration(*drawn(1, overconfident=4.0))
    assert sure.ece > fair.ece + 0.2
    assert sure.brier > fair.brier
    assert (sure.ece_foreground or 0) > (fair.ece_foreground or 0) + 0.2


def test_brier_by_hand() -> None:
    probabilities = np.array([[[0.7, 0.2]], [[0.3, 0.8]]], np.float32)
    found = measure_calibration(probabilities, np.array([[0, 0]], np.uint8))
    assert found.brier == pytest.approx(((0.3**2 + 0.3**2) + (0.8**2 + 0.8**2)) / 2)
    assert found.ece_foreground == pytest.approx(0.8)


def test_a_broken_net_has_no_perfect_score() -> None:
    broken = np.full((2, 3, 3), np.nan, np.float32)
    with pytest.raises(Invalid, match="diverged") as caught:
        measure_calibration(broken, np.zeros((3, 3), np.uint8))
    assert caught.value.code == "diverged"


def test_without_foreground_there_is_none_to_judge() -> None:
    sure = np.stack([np.ones((3, 3)), np.zeros((3, 3))]).astype(np.float32)
    found = measure_calibration(sure, np.zeros((3, 3), np.uint8))
    assert (found.ece, found.ece_foreground, found.brier) == (0.0, None, 0.0)
