"""Stability curves: how sure a ranking is at each number of subjects."""

from functools import partial

from matplotlib.axes import Axes

from intima.comparison.figures.drawing import BLUE, GREEN, GREY, VERMILION, Drawing, bare, lines
from intima.contracts.statistics import StabilityAnswer, StabilityPoint

_FIGURES = tuple(name for name in StabilityPoint.model_fields if name != "n")
_DRAWN = (
    ("best_first", "the best comes first", BLUE, "-"),
    ("same_winner", "two sets, one winner", VERMILION, "--"),
    ("tau_truth", "tau with the truth", GREEN, "-."),
    ("winner_frequent", "wins 95 % of resamples", GREY, ":"),
)


def stability_curves(answer: StabilityAnswer) -> Drawing:
    """Draw probabilities over the number of subjects with their Monte Carlo bands."""
    return Drawing(
        header=("n", *(f"{name}{end}" for name in _FIGURES for end in ("", "_low", "_high"))),
        rows=tuple((p.n, *_cells(p)) for p in answer.points),
        height_in=3.1,
        draw=partial(_draw, answer),
    )


def _cells(point: StabilityPoint) -> list[float | None]:
    cells: list[float | None] = []
    for name in _FIGURES:
        found = getattr(point, name)
        cells += (None, None, None) if found is None else (found.value, found.low, found.high)
    return cells


def _draw(answer: StabilityAnswer, axes: Axes) -> None:
    bare(axes)
    for name, label, color, style in _DRAWN:
        found = [(p.n, getattr(p, name)) for p in answer.points if getattr(p, name) is not None]
        if not found:
            continue
        numbers = [n for n, _ in found]
        axes.plot(numbers, [f.value for _, f in found], style, color=color, marker="o", markersize=2, label=label)
        axes.fill_between(
            numbers, [f.low for _, f in found], [f.high for _, f in found], color=color, alpha=0.2, linewidth=0
        )
    axes.axhline(0.95, color=GREY, linewidth=0.5, linestyle=":")
    axes.set_xscale("log")
    numbers = [p.n for p in answer.points]
    axes.set_xticks(numbers, [str(n) for n in numbers])
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)
    gaps = ", ".join(f"{g:.3g}" for g in answer.gaps[:8]) + (", ..." if len(answer.gaps) > 8 else "")
    axes.set_xlabel(
        lines(
            f"Subjects. {answer.models} models, gaps {gaps}; SD of differences {answer.sd_difference:.3g}"
            f"{f'; {answer.failure_rate:.0%} failures' if answer.failure_rate else ''}. Simulated."
        )
    )
    axes.legend(edgecolor="none", framealpha=1.0, loc="lower right", fontsize="small")
