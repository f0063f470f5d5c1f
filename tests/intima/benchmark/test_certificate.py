"""Number formats against float32, on losses whose answer is known."""

import numpy as np
import pytest

from intima.benchmark.certificate import MARGIN, equivalence_of, in_turn
from tests.builders import stored_case


def by_subject(values: list[float]) -> dict[str, float]:
    return {f"s{n}": value for n, value in enumerate(values)}


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        ([0.0] * 9, "identical"),
        ([0.001, -0.001, 0.0005, 0.0, -0.0005, 0.001, -0.001, 0.0, 0.0005], "equivalent"),
        ([0.002, 0.0021, 0.0019, 0.002, 0.0022, 0.0018, 0.002, 0.0021, 0.0019], "different_but_negligible"),
        ([0.02, 0.03, 0.01, 0.02, 0.03, 0.02, 0.01, 0.02, 0.03], "worse"),
        ([-0.02, -0.03, -0.01, -0.02, -0.03], "better"),
        ([0.02, -0.03, 0.01, -0.02, 0.03], "inconclusive"),
        ([0.0001, 0.0002], "inconclusive"),
        ([0.001], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_the_verdict_is_that_of_two_one_sided_tests(losses: list[float], verdict: str) -> None:
    full = [0.8 + 0.01 * n for n in range(len(losses))]
    found = equivalence_of(by_subject(full), by_subject([a - b for a, b in zip(full, losses, strict=True)]))
    assert found.verdict == verdict
    assert found.subjects == len(losses)
    assert found.loss == pytest.approx(np.mean(losses) if losses else 0.0, abs=1e-6)
    if found.ci90 is not None:
        assert found.ci90[0] <= found.loss <= found.ci90[1]
        inside = found.ci90[0] > -MARGIN and found.ci90[1] < MARGIN
        assert inside == (verdict in {"equivalent", "different_but_negligible"})


def test_subjects_without_a_score_in_one_format_are_left_out() -> None:
    found = equivalence_of({"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}, {"a": 0.9, "b": 0.801, "c": 0.699})
    assert found.subjects == 3


def test_every_subject_comes_before_a_second_section_of_any() -> None:
    cases = [stored_case(f"{subject}{n}", subject) for subject in "abc" for n in range(3)]
    assert in_turn(cases) == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]
