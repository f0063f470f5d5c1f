"""Figures of a ranking: critical-difference diagram, blobs of bootstrap ranks, forest of pairs."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from intima.comparison.figures.drawing import BAND, BLUE, GREY, VERMILION, Drawing, bare, lines, measure, short
from intima.contracts.statistics import RankedModel, RankedPair, Ranking

_WIDE_IN = 4.6
_MOST_PAIRS = 40
_MOST_BLOBS = 30


def critical_difference(ranking: Ranking) -> Drawing:
    """Draw average ranks with Nemenyi's critical difference (Demsar 2006, figure 1).

    A bar joins models that the test cannot tell apart. At few subjects that is nearly all of them, whatever they are.
    """
    ordered = sorted(ranking.models, key=lambda m: m.average_rank)
    groups = ranking.nemenyi.groups
    return Drawing(
        header=("model", "average_rank", "critical_difference", "groups"),
        rows=tuple(
            (
                m.model,
                m.average_rank,
                ranking.nemenyi.critical_difference,
                " ".join(str(i + 1) for i, g in enumerate(groups) if m.model in g),
            )
            for m in ordered
        ),
        height_in=0.75 + 0.16 * ((len(ordered) + 1) // 2) + 0.07 * len(groups),
        width_in=_WIDE_IN,
        draw=partial(_draw_critical_difference, ranking, ordered),
    )


def _draw_critical_difference(ranking: Ranking, ordered: list[RankedModel], axes: Axes) -> None:
    models, critical = len(ordered), ranking.nemenyi.critical_difference
    ranks = {m.model: m.average_rank for m in ordered}
    bars = [g for g in ranking.nemenyi.groups if len(g) > 1]
    label_top = 0.9 + 0.45 * len(bars)
    bare(axes, keep=())
    axes.set_axis_off()
    axes.set_xlim(1 - 0.75 * (models - 1) ** 0.5, models + 0.75 * (models - 1) ** 0.5)
    axes.set_ylim(label_top + (models + 1) // 2 + 0.2, -2.6)
    axes.hlines(0, 1, models, color="black", linewidth=0.8)
    for rank in range(1, models + 1):
        axes.vlines(rank, -0.25, 0, color="black", linewidth=0.8)
        axes.text(rank, -0.35, str(rank), ha="center", va="bottom")
    axes.hlines(-1.6, 1, 1 + critical, color=GREY, linewidth=1.2)
    axes.text(
        1, -1.75, f"CD = {critical:.2f} at {ranking.n_units} subjects; 1 is best", ha="left", va="bottom", color=GREY
    )
    for level, group in enumerate(bars):
        at = [ranks[m] for m in group]
        axes.hlines(0.5 + 0.45 * level, min(at) - 0.04, max(at) + 0.04, color=BLUE, linewidth=2.2)
    half = (models + 1) // 2
    for place, model in enumerate(ordered):
        left = place < half
        y = label_top + (place if left else models - 0.5 - place)
        end = axes.get_xlim()[0] + 0.1 if left else axes.get_xlim()[1] - 0.1
        axes.plot([model.average_rank, model.average_rank, end], [0, y, y], color="black", linewidth=0.6)
        text = f"{short(model.model)} ({model.average_rank:.2f})"
        axes.text(end, y - 0.08, text, ha="left" if left else "right", va="bottom")


def rank_blobs(ranking: Ranking) -> Drawing:
    """Draw how often each model takes each rank when subjects are resampled (challengeR's blob plot).

    Of many models the first are drawn, and shares below a thousandth are not; the CSV has all.
    """
    return Drawing(
        header=("model", "rank", "probability"),
        rows=tuple((m.model, rank + 1, p) for m in ranking.models for rank, p in enumerate(m.rank_distribution)),
        height_in=1.2 + 0.26 * min(len(ranking.models), _MOST_BLOBS),
        draw=partial(_draw_blobs, ranking),
    )


def _draw_blobs(ranking: Ranking, axes: Axes) -> None:
    bare(axes)
    models = ranking.models[:_MOST_BLOBS]
    shares = np.array([m.rank_distribution for m in models])
    rows, columns = np.nonzero(shares > (0 if len(ranking.models) <= _MOST_BLOBS else 1e-3))
    axes.scatter(columns + 1, rows, s=140 * shares[rows, columns], color=BLUE, alpha=0.55, linewidth=0)
    axes.scatter([m.rank for m in models], range(len(models)), marker="+", s=22, color="black", linewidth=0.8)
    axes.set_yticks(range(len(models)), [short(m.model) for m in models])
    if len(ranking.models) <= _MOST_BLOBS:
        axes.set_xticks(range(1, len(models) + 1))
    axes.set_ylim(len(models) - 0.5, -0.6)
    axes.set_xlim(0.4, len(ranking.models) + 0.6)
    stable = ranking.stability
    axes.set_xlabel(
        lines(
            f"Rank of the mean {measure(ranking.metric, ranking.class_)}, {ranking.n_units} subjects. "
            f"Area: share of resamples; +: observed. {short(models[0].model)} is first in "
            f"{stable.winner_frequency:.0%} of resamples, models without any difference in {stable.null_frequency:.0%}."
        )
    )


def forest_of_pairs(ranking: Ranking) -> Drawing:
    """Draw the mean paired difference of every pair with its t interval; of many pairs those with the smallest p."""
    drawn = sorted(ranking.pairs, key=lambda p: p.p_difference)[:_MOST_PAIRS]
    return Drawing(
        header=("a", "b", "difference", "ci95_low", "ci95_high", "p_difference", "p_holm"),
        rows=tuple(
            (p.a, p.b, p.difference, *(p.ci95 if p.ci95 else (None, None)), p.p_difference, p.p_holm)
            for p in ranking.pairs
        ),
        height_in=0.9 + 0.16 * len(drawn),
        width_in=_WIDE_IN,
        draw=partial(_draw_pairs, ranking, drawn),
    )


def _draw_pairs(ranking: Ranking, pairs: list[RankedPair], axes: Axes) -> None:
    bare(axes)
    if ranking.choice:
        margin = ranking.choice.margin.value
        axes.axvspan(-margin, margin, color=BAND, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.6)
    for row, pair in enumerate(pairs):
        if pair.ci95:
            axes.hlines(row, *pair.ci95, color=BLUE, linewidth=1.2)
        axes.plot(
            pair.difference, row, marker="s", markersize=3, color=VERMILION if pair.p_holm < ranking.alpha else BLUE
        )
    axes.set_yticks(range(len(pairs)), [f"{short(p.a)} - {short(p.b)}" for p in pairs])
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    left_out = len(ranking.pairs) - len(pairs)
    axes.set_xlabel(
        lines(
            f"Mean paired difference in {measure(ranking.metric, ranking.class_)}, {ranking.n_units} subjects. 95 % t"
            f" interval, not adjusted for their number. Vermilion: p below {ranking.alpha:.3g} after Holm."
            + (f" Grey: margin of {ranking.choice.margin.value:.3g}." if ranking.choice else "")
            + (f" {left_out} pairs with a larger p are not drawn." if left_out else ""),
            width_in=_WIDE_IN,
        )
    )
