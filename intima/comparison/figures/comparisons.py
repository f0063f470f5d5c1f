"""Figures of a verdict: the interval against the margin, and both scores of every subject."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from intima.comparison.figures.drawing import BAND, BLUE, GREY, VERMILION, Drawing, bare, lines, measure, short
from intima.contracts.comparison import Difference, Verdict


def forest_of_verdict(verdict: Verdict) -> Drawing:
    """Draw difference per subject and on average, the 90 % (thick) and 95 % (thin) intervals, and the margin band."""
    averages = _averages(verdict)
    rows: list[tuple[object, ...]] = [("subject", s.subject, s.difference, *(None,) * 4) for s in verdict.subjects]
    for name, found in averages:
        limits = (*(found.ci90 or (None, None)), *(found.ci95 or (None, None)))
        rows.append(("mean", name, found.estimate, *limits))
    return Drawing(
        header=("what", "name", "difference", "ci90_low", "ci90_high", "ci95_low", "ci95_high"),
        rows=tuple(rows),
        height_in=1.0 + 0.15 * (len(rows) if len(verdict.subjects) <= _MOST_SUBJECTS else len(averages)),
        draw=partial(_draw_forest, verdict, averages),
    )


_MOST_SLOPES = 100
_MOST_SUBJECTS = 40
"""Subjects with a line of their own; of more only the averages are drawn, and the CSV has all."""


def _averages(verdict: Verdict) -> list[tuple[str, Difference]]:
    if verdict.naive_difference is None:
        return [("mean", verdict.difference)]
    return [("mean, corrected", verdict.difference), ("mean, not corrected", verdict.naive_difference)]


def _draw_forest(verdict: Verdict, averages: list[tuple[str, Difference]], axes: Axes) -> None:
    bare(axes)
    margin = float(str(verdict.margin["value"]))
    subjects = verdict.subjects if len(verdict.subjects) <= _MOST_SUBJECTS else ()
    axes.axvspan(-margin, margin, color=BAND, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.plot([s.difference for s in subjects], range(len(subjects)), "o", color=GREY, markersize=3)
    for row, (_, found) in enumerate(averages, start=len(subjects)):
        for interval, width in ((found.ci95, 1.0), (found.ci90, 2.6)):
            if interval:
                axes.hlines(row, *interval, color=BLUE if row == len(subjects) else GREY, linewidth=width)
        axes.plot(found.estimate, row, "D", color=VERMILION, markersize=4)
    names = [short(s.subject) for s in subjects] + [name for name, _ in averages]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(
        lines(
            f"{measure(verdict.metric, verdict.class_)}: {short(verdict.models[0])} - {short(verdict.models[1])}. "
            f"Band: margin ±{margin:.3g}; thick: 90 %, thin: 95 % interval."
        )
    )
    axes.set_title(verdict.verdict.replace("_", " "), fontsize="medium", loc="left")


def slopes(verdict: Verdict) -> Drawing:
    """Draw a line per subject from its score of a to that of b; the worst case is vermilion."""
    return Drawing(
        header=("subject", "a", "b", "difference"),
        rows=tuple((s.subject, s.a, s.b, s.difference) for s in verdict.subjects),
        height_in=2.8,
        width_in=2.6,
        draw=partial(_draw_slopes, verdict),
    )


def _draw_slopes(verdict: Verdict, axes: Axes) -> None:
    bare(axes)
    worst_case = verdict.worst_case
    others = [s for s in verdict.subjects if s != worst_case]
    drawn = others[:: max(1, -(-len(others) // _MOST_SLOPES))]
    for chosen, color in ((drawn, BLUE), ([worst_case], VERMILION)):
        ends = np.array([(s.a, s.b) for s in chosen]).reshape(-1, 2).T
        axes.plot([0, 1], ends, "o-", color=color, markersize=3, linewidth=0.8)
    if len(drawn) < len(others):
        axes.set_title(f"{len(drawn) + 1} of {len(verdict.subjects)} subjects", fontsize="medium", loc="left")
    axes.annotate(
        short(worst_case.subject), (1, worst_case.b), xytext=(4, 0), textcoords="offset points", color=VERMILION
    )
    axes.set_xticks([0, 1], [short(m) for m in verdict.models])
    axes.set_xlim(-0.2, 1.45)
    axes.set_ylabel(measure(verdict.metric, verdict.class_))
