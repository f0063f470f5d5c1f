"""Figures of rankings, comparisons and plans, fit for a paper: SVG and PDF, and the numbers behind each as CSV."""

from collections.abc import Callable

from intima.comparison.figures.comparisons import forest_of_verdict, slopes
from intima.comparison.figures.drawing import FORMATS, Drawing, FigureFormat, render
from intima.comparison.figures.power import power_curves
from intima.comparison.figures.rankings import critical_difference, forest_of_pairs, rank_blobs
from intima.comparison.figures.stability import stability_curves
from intima.contracts.comparison import Verdict
from intima.contracts.statistics import PowerRequest, Ranking, StabilityAnswer

RANKING_FIGURES: dict[str, Callable[[Ranking], Drawing]] = {
    "cd_diagram": critical_difference,
    "rank_blobs": rank_blobs,
    "forest": forest_of_pairs,
}
COMPARISON_FIGURES: dict[str, Callable[[Verdict], Drawing]] = {"forest": forest_of_verdict, "slopes": slopes}
POWER_FIGURES: dict[str, Callable[[PowerRequest], Drawing]] = {"power_curves": power_curves}
STABILITY_FIGURES: dict[str, Callable[[StabilityAnswer], Drawing]] = {"stability_curves": stability_curves}

__all__ = [
    "COMPARISON_FIGURES",
    "FORMATS",
    "POWER_FIGURES",
    "RANKING_FIGURES",
    "STABILITY_FIGURES",
    "Drawing",
    "FigureFormat",
    "render",
]
