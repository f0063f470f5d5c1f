"""The expected Dice against its definition, and who is flagged."""

import numpy as np
import pytest

from intima.review import FIXED, expected_dice, expected_foreground_dice, expected_overlap, judge, review_rule
from tests.builders import evidence


def test_the_expected_dice_of_certain_pixels_is_one() -> None:
    certain = np.zeros((3, 4, 5), np.float32)
    certain[1, :2], certain[0, 2:] = 1, 1
    overlap = expected_overlap(certain)
    assert expected_dice(overlap) == (1.0, None)
    assert expected_foreground_dice(overlap) == 1.0


def test_the_expected_dice_is_that_of_truths_drawn_from_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([2, 1, 1], size=20_000).T.astype(np.float32)
    labels = probabilities.argmax(0)
    drawn = (rng.random(20_000) > np.cumsum(probabilities, axis=0)[:2, :]).sum(0)
    overlap = expected_overlap(probabilities)
    for c in (1, 2):
        dice = 2 * np.sum((labels == c) & (drawn == c)) / (np.sum(labels == c) + np.sum(drawn == c))
        assert expected_dice(overlap)[c - 1] == pytest.approx(dice, abs=0.02)
    both = 2 * np.sum((labels == drawn) & (drawn > 0)) / (np.sum(labels > 0) + np.sum(drawn > 0))
    assert expected_foreground_dice(overlap) == pytest.approx(both, abs=0.02)


def test_strips_add_up() -> None:
    probabilities = np.random.default_rng(1).dirichlet(np.ones(3), size=(8, 6)).transpose(2, 0, 1).astype(np.float32)
    parts = expected_overlap(probabilities[:, :3]) + expected_overlap(probabilities[:, 3:])
    assert parts == pytest.approx(expected_overlap(probabilities))


def test_no_foreground_is_for_a_person() -> None:
    empty = np.zeros((3, 4, 4), np.float32)
    empty[0] = 1
    assert expected_foreground_dice(expected_overlap(empty)) is None
    assert judge(None, None) == (True, "No foreground was found.")


def test_the_threshold_is_that_of_the_lowest_tenth_of_subjects_or_a_convention() -> None:
    rule = review_rule([0.5, *np.linspace(0.9, 0.99, 19)])
    assert rule.threshold == pytest.approx(0.9)
    assert "10% of subjects like the 20" in rule.basis
    few = review_rule([0.99] * 8)
    assert few.threshold == FIXED
    assert "8 held-out subjects are too few" in few.basis
    assert review_rule([0.97] * 9).threshold == 0.97


def test_the_reason_names_the_threshold() -> None:
    known = evidence(threshold=0.93)
    flagged, reason = judge(0.92, known)
    assert flagged
    assert "0.920 is below 0.930" in reason
    assert judge(0.94, known)[0] is False
    flagged, reason = judge(0.79, None)
    assert flagged
    assert "not derived from data" in reason
