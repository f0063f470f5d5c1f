"""The loss of a run, thinned evenly."""

from itertools import pairwise

from intima.training.curves import MOST_POINTS, TrainingCurves


def curve(steps: int) -> TrainingCurves:
    made = TrainingCurves(lambda _fraction, _message: None)
    for step in range(1, steps + 1):
        made.add(step, 1 / step)
    return made


def test_a_short_run_is_kept_whole():
    points = curve(7).points()
    assert [p.step for p in points] == [1, 2, 3, 4, 5, 6, 7]
    assert points[2].loss == 0.333333
    assert TrainingCurves(lambda _fraction, _message: None).points() == ()


def test_a_long_run_keeps_its_ends_and_even_steps():
    for steps in (MOST_POINTS, MOST_POINTS + 1, 150, 12_345):
        kept = [p.step for p in curve(steps).points()]
        assert len(kept) == MOST_POINTS
        assert (kept[0], kept[-1]) == (1, steps)
        gaps = {b - a for a, b in pairwise(kept)}
        assert max(gaps) - min(gaps) <= 1
        assert min(gaps) >= 1
