"""Error detection against definitions written out, a second implementation, and closed forms."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intima.errors import Invalid
from intima.selective import DEFERRED, detect_errors, detection_auroc

images = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 8), min_size=n, max_size=n).map(lambda v: np.array(v, np.float32) / 8),
        st.lists(st.booleans(), min_size=n, max_size=n).map(np.array),
    )
)


def aurc_of_order(wrong: np.ndarray) -> float:
    return float(np.mean([wrong[: k + 1].mean() for k in range(len(wrong))]))


def test_auroc_is_the_share_of_ordered_pairs():
    wrong = np.array([[True, False, True, False]])
    assert detection_auroc(np.array([[0.9, 0.1, 0.8, 0.2]], np.float32), wrong) == 1.0
    assert detection_auroc(np.full((1, 4), 0.5, np.float32), wrong) == 0.5
    assert detection_auroc(np.array([[0.9, 0.1, 0.15, 0.2]], np.float32), wrong) == 0.75
    assert detection_auroc(np.zeros((1, 4), np.float32), np.zeros((1, 4), bool)) is None


@given(images)
def test_auroc_is_the_mean_over_pairs(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    uncertainty, wrong = drawn
    found = detection_auroc(uncertainty, wrong)
    assert (found is None) == (wrong.all() or not wrong.any())
    if found is not None:
        gaps = uncertainty[wrong][:, None] - uncertainty[~wrong][None]
        assert found == pytest.approx(np.mean((gaps > 0) + (gaps == 0) / 2))


@given(images)
def test_bounds(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    uncertainty, wrong = drawn
    found = detect_errors(uncertainty.reshape(1, -1), wrong.reshape(1, -1))
    assert found.error_rate == wrong.mean()
    assert 0 <= found.excess_aurc <= found.aurc <= 1
    assert (found.removed is None) == (not wrong.any())
    if found.removed is not None:
        assert 0 <= found.removed[0] <= found.removed[1] + 1e-12 <= 1 + 1e-9
    perfect = detect_errors(wrong.astype(np.float32), wrong)
    assert perfect.excess_aurc == pytest.approx(0, abs=1e-12)


def test_ties_stand_for_the_mean_over_their_orders() -> None:
    uncertainty = np.float32([0.1, 0.4, 0.4, 0.4, 0.9])
    wrong = np.array([False, True, False, True, True])
    tied = [np.concatenate([wrong[:1], wrong[1:4][list(order)], wrong[4:]]) for order in permutations(range(3))]
    assert detect_errors(uncertainty, wrong).aurc == pytest.approx(np.mean([aurc_of_order(w) for w in tied]))


def test_an_uncertainty_that_says_nothing_removes_what_chance_does() -> None:
    wrong = np.random.default_rng(0).random(1000) < 0.1
    found = detect_errors(np.zeros(1000, np.float32), wrong)
    assert found.auroc == 0.5
    assert found.removed == pytest.approx(DEFERRED)
    assert found.aurc == pytest.approx(wrong.mean())


def test_a_perfect_uncertainty_removes_all_that_a_person_can_look_at() -> None:
    wrong = np.arange(100) >= 80
    found = detect_errors(np.arange(100, dtype=np.float32), wrong)
    assert found.removed == pytest.approx((12 / 20, 1.0))
    assert found.excess_aurc == pytest.approx(0, abs=1e-12)


def test_no_number_is_no_uncertainty() -> None:
    with pytest.raises(Invalid):
        detect_errors(np.float32([0.1, np.nan]), np.array([True, False]))
