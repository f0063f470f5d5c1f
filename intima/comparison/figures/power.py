"""Power curves: what more subjects would show."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from intima.comparison.estimation import design_of_request, plan_power
from intima.comparison.figures.drawing import BLUE, GREY, VERMILION, Drawing, bare
from intima.contracts.statistics import PowerRequest
from intima.statistics import planning

_LARGEST = 5_000
"""Subjects up to which curves are drawn."""
_POINTS = 60


def power_curves(request: PowerRequest) -> Drawing:
    """Draw the power of the equivalence and of the difference test over the number of subjects.

    Raises:
        Invalid: as ``plan_power``.
    """
    answer = plan_power(request)
    wanted = [n for n in (answer.units_for_equivalence, answer.units_for_difference) if n is not None]
    last = min(_LARGEST, max(2 * request.n, *(round(1.3 * n) for n in wanted), 20))
    design_at, overlap = design_of_request(request)
    least = 2 if overlap is None or overlap.splits == request.n else overlap.splits
    numbers = sorted({round(float(n)) for n in np.geomspace(least, max(last, least + 1), _POINTS)})
    detect = request.detect or request.margin
    rows = tuple(
        (
            n,
            planning.tost_power(
                design_at(n), margin=request.margin, difference=request.true_difference, alpha=request.alpha
            ),
            planning.t_power(design_at(n), difference=detect, alpha=request.alpha),
        )
        for n in numbers
    )
    return Drawing(
        header=("subjects", "power_equivalence", "power_difference"),
        rows=rows,
        height_in=2.4,
        draw=partial(_draw_power, request, rows),
    )


def _draw_power(request: PowerRequest, rows: tuple[tuple[int, float, float], ...], axes: Axes) -> None:
    bare(axes)
    numbers, equivalence, difference = zip(*rows, strict=True)
    detect = request.detect or request.margin
    axes.plot(numbers, equivalence, color=BLUE, label=f"equivalence within ±{request.margin:.3g}")
    axes.plot(numbers, difference, color=VERMILION, linestyle="--", label=f"a difference of {detect:.3g}")
    axes.axhline(request.power, color=GREY, linewidth=0.6, linestyle=":")
    axes.axvline(request.n, color=GREY, linewidth=0.6)
    axes.text(request.n, 1.02, f" n = {request.n}", color=GREY, va="bottom")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    ticks = [t for t in (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if numbers[0] <= t <= numbers[-1]]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"subjects (SD of the paired difference {request.sd_difference:.3g})")
    axes.set_ylabel("probability to show it")
    axes.legend(edgecolor="none", framealpha=1.0, loc="upper left", bbox_to_anchor=(0.0, 0.97))
