"""The two figures: one case with its layers row by row, and best and worst fold side by side."""

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from intima.contracts.explanation import (
    AttentionLayer,
    CaseExplanation,
    ErrorLayer,
    FoldBoundary,
    Paradox,
    SaliencyLayer,
)
from intima.explanation import panels
from intima.explanation.panels import FONT_PT, Picture
from intima.explanation.uncertainty import Maps
from intima.labels import LabelSchema

_COLUMNS = 4
_NOTE_WIDTH = 34
"""Characters along a line of a note."""
_PICTURES_IN, _PLOTS_IN, _ENDS_IN = 1.95, 1.7, 0.45
"""Heights of a row of pictures, of the plots, and of heading and colours together."""
_READINGS = {
    "grad_cam": "Attention: where the encoder's\nlast feature speaks for the class.\nMethod: Grad-CAM",
    "attention_rollout": "Attention: what the encoder takes\nin, over all its layers.\nMethod: attention rollout",
    "attention_per_layer": "Attention: what the encoder takes\nin, layer by layer.\nMethod: attention per layer",
}

_Row: TypeAlias = tuple[float, Callable[[Sequence[Axes]], None]]
"""Height in inches, and what draws into the four axes of the row."""


@dataclass(frozen=True, slots=True)
class NamedMap:
    """A map with its title, scaled to 0..1; NaN where there is none."""

    title: str
    values: NDArray[np.float32]
    class_index: int | None
    """Class to outline; null: none."""


@dataclass(frozen=True, slots=True)
class CaseMaps:
    """The maps of one case."""

    uncertainty: Maps | None
    attention: tuple[NamedMap, ...]
    """Of the encoder."""
    tokens: tuple[NamedMap, ...]
    """Of the decoder's tokens."""
    saliency: tuple[NamedMap, ...]

    def shrunk(self, step: int) -> "CaseMaps":
        """Return every ``step``-th row and column."""
        sampled = self.uncertainty
        return CaseMaps(
            uncertainty=None if sampled is None else sampled.shrunk(step),
            attention=_thinned(self.attention, step),
            tokens=_thinned(self.tokens, step),
            saliency=_thinned(self.saliency, step),
        )


def _thinned(maps: Sequence[NamedMap], step: int) -> tuple[NamedMap, ...]:
    return tuple(replace(m, values=m.values[::step, ::step]) for m in maps)


def draw_case(
    explanation: CaseExplanation, error: ErrorLayer, picture: Picture, maps: CaseMaps, *, schema: LabelSchema
) -> bytes:
    """Return the figure of one case as PNG; layers that were not asked for have no panel. Maps are at native size.

    Of more than four maps in a row the first four are drawn; the JSON has the numbers of all.
    """
    maps = maps.shrunk(picture.step)
    rows: list[_Row] = [
        (_PICTURES_IN + _ENDS_IN, partial(_draw_pictures, explanation=explanation, picture=picture, schema=schema)),
        *_uncertainty_row(explanation, maps),
        *_map_row(
            picture,
            maps.attention,
            reading=_attention_reading(explanation.attention),
            label="share of peak",
            cmap="magma",
            schema=schema,
        ),
        *_map_row(
            picture,
            maps.tokens,
            reading="Decoder: where the token of a class\nand learned prompts look",
            label="share of peak",
            cmap="magma",
            schema=schema,
        ),
        *_map_row(
            picture,
            maps.saliency,
            reading=_saliency_reading(explanation.saliency),
            label="share of 99th percentile",
            cmap="inferno",
            schema=schema,
        ),
        *_plots_row(explanation),
    ]
    heights = [height for height, _ in rows]
    figure = panels.new_figure(sum(heights))
    parts = np.atleast_1d(np.asarray(figure.subfigures(len(rows), 1, height_ratios=heights)))
    for (_, draw), part in zip(rows, parts, strict=True):
        draw(part.subplots(1, _COLUMNS))
    parts[0].suptitle(_heading(explanation), fontsize=FONT_PT + 1)
    handles = [*panels.class_patches(schema), *panels.error_patches(error)]
    parts[0].legend(handles=handles, loc="outside lower center", ncols=5, fontsize=FONT_PT - 1, frameon=False)
    return to_png(figure)


def draw_paradox(
    paradox: Paradox, pictures: tuple[Picture, Picture], errors: tuple[ErrorLayer, ErrorLayer], *, schema: LabelSchema
) -> bytes:
    """Return the figure of the paradox check as PNG: best fold above, worst below, the numbers beside them."""
    figure = panels.new_figure(2 * _PICTURES_IN + 1.1)
    grid = figure.subplots(2, _COLUMNS)
    for axes, word, fold, picture, error in zip(
        grid, ("Best", "Worst"), (paradox.best, paradox.worst), pictures, errors, strict=True
    ):
        _draw_fold(axes, f"{word}: fold {fold.fold}", fold, picture, error, schema=schema)
    _draw_dice(grid[0, 3], paradox)
    _draw_shares(grid[1, 3], paradox)
    figure.suptitle(_wrapped(paradox.explanation), fontsize=FONT_PT + 1)
    handles = [
        *panels.class_patches(schema),
        *(Patch(color=c, label=name) for c, name in panels.error_kinds(paradox.band, paradox.unit)),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=FONT_PT - 1, frameon=False)
    return to_png(figure)


def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG without a trace of time or software: equal figures give equal bytes."""
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return out.getvalue()


def _draw_pictures(
    axes: Sequence[Axes], *, explanation: CaseExplanation, picture: Picture, schema: LabelSchema
) -> None:
    dice = "" if explanation.dice is None else f", Dice {explanation.dice:.3f}"
    panels.show_image(axes[0], picture, title="Image")
    panels.show_classes(axes[1], picture, picture.truth, schema=schema, title="Truth")
    panels.show_classes(axes[2], picture, picture.predicted, schema=schema, title=f"Prediction{dice}")
    panels.show_errors(axes[3], picture, title="Errors (widened by 1 px)")


def _uncertainty_row(explanation: CaseExplanation, maps: CaseMaps) -> list[_Row]:
    if explanation.uncertainty is None or maps.uncertainty is None:
        return []
    layer, shown = explanation.uncertainty, maps.uncertainty

    def draw(axes: Sequence[Axes]) -> None:
        top, most = (max(0.05, float(m.max())) for m in (shown.entropy, shown.disagreement))
        panels.show_map(axes[0], shown.entropy, title="Uncertainty (entropy, PE)", top=top, cmap="viridis")
        drawn = panels.show_map(axes[1], shown.ambiguity, title="Ambiguity (AE)", top=top, cmap="viridis")
        panels.color_bar(drawn, axes[1], label="share of the most possible")
        drawn = panels.show_map(axes[2], shown.disagreement, title="Disagreement (PE − AE)", top=most, cmap="viridis")
        panels.color_bar(drawn, axes[2], label="share of the most possible")
        panels.plot_sampled(axes[3], layer.samplers)

    return [(_PICTURES_IN, draw)]


def _map_row(
    picture: Picture, maps: Sequence[NamedMap], *, reading: str, label: str, cmap: str, schema: LabelSchema
) -> list[_Row]:
    if not maps:
        return []

    def draw(axes: Sequence[Axes]) -> None:
        for at in axes[len(maps) :]:
            at.axis("off")
        for at, shown in zip(axes, maps, strict=False):
            drawn = panels.show_map(at, shown.values, title=shown.title, top=1.0, cmap=cmap)
            if shown.class_index is not None:
                color = schema.classes[shown.class_index].color
                panels.outline_class(at, picture.truth, shown.class_index, color=color)
        panels.color_bar(drawn, axes[min(len(maps), _COLUMNS) - 1], label=label)
        if len(maps) < _COLUMNS:
            panels.note(axes[-1], reading)

    return [(_PICTURES_IN, draw)]


def _plots_row(explanation: CaseExplanation) -> list[_Row]:
    plots: list[Callable[[Axes], None]] = []
    if explanation.error is not None:
        plots += [
            partial(panels.plot_distances, error=explanation.error),
            partial(panels.plot_pairs, error=explanation.error),
        ]
    if explanation.morphology is not None:
        plots += [
            partial(panels.plot_measures, layer=explanation.morphology),
            partial(panels.list_checks, layer=explanation.morphology),
        ]
    if not plots:
        return []

    def draw(axes: Sequence[Axes]) -> None:
        for at in axes[len(plots) :]:
            at.axis("off")
        for at, plot in zip(axes, plots, strict=False):
            plot(at)

    return [(_PLOTS_IN, draw)]


def _attention_reading(layer: AttentionLayer | None) -> str:
    if layer is None:
        return ""
    if layer.method == "grad_cam":
        return f"{_READINGS[layer.method]}\n\nLine: true outline of the class"
    return "\n\n".join([_READINGS[layer.method], *(textwrap.fill(n, _NOTE_WIDTH) for n in layer.notes)])


def _saliency_reading(layer: SaliencyLayer | None) -> str:
    if layer is None:
        return ""
    gaps = [c.completeness_gap for c in layer.classes if c.completeness_gap is not None]
    worst = f"{100 * max(gaps):.0f} %" if gaps else "n/a"
    return (
        "Saliency: pixels that carry the\nscore of the class, either sign.\n"
        f"Method: integrated gradients\nfrom white, {layer.steps} steps\n\n"
        f"Sum differs from the score's\nchange by at most {worst}"
    )


def _heading(explanation: CaseExplanation) -> str:
    where = f"{explanation.protocol}, fold {explanation.fold}, seed {explanation.seed}"
    return f"{explanation.case}  ·  subject {explanation.subject}  ·  {explanation.model}  ·  {where}"


def _draw_fold(
    axes: Sequence[Axes], name: str, fold: FoldBoundary, picture: Picture, error: ErrorLayer, *, schema: LabelSchema
) -> None:
    panels.show_image(axes[0], picture, title=f"{name}, {_short(fold.shown)}")
    panels.show_classes(
        axes[1], picture, picture.predicted, schema=schema, title=f"Prediction (line: truth), Dice {fold.dice:.3f}"
    )
    for c in schema.foreground:
        panels.outline_class(axes[1], picture.truth, c.index, color="black")
    near = "none" if not error.pixels else f"{100 * error.band_errors / error.pixels:.0f} % near a true boundary"
    panels.show_errors(axes[2], picture, title=f"Errors: {near}")


def _draw_dice(axes: Axes, paradox: Paradox) -> None:
    for offset, color, values in (
        (-0.2, "#333333", (paradox.best.dice, paradox.worst.dice)),
        (0.2, "#aaaaaa", (paradox.best.dice_forgiven, paradox.worst.dice_forgiven)),
    ):
        bars = axes.bar([offset, 1 + offset], values, width=0.38, color=color)
        axes.bar_label(bars, fmt="%.2f", fontsize=FONT_PT - 1)
    axes.set_ylim(0, 1.35)
    axes.set_yticks([0, 0.5, 1])
    patches = [
        Patch(color="#333333", label="as it is"),
        Patch(color="#aaaaaa", label="borders forgiven"),
    ]
    axes.legend(handles=patches, fontsize=FONT_PT - 1, frameon=False, loc="upper center", ncols=2, columnspacing=0.8)
    _finish_bars(axes, "Macro Dice")


def _draw_shares(axes: Axes, paradox: Paradox) -> None:
    values = [100 * (f.substance_share or 0.0) for f in (paradox.best, paradox.worst)]
    bars = axes.bar([0, 1], values, width=0.5, color=panels.SUBSTANCE)
    axes.bar_label(bars, fmt="%.1f", fontsize=FONT_PT - 1)
    axes.set_ylim(0, max(1.0, 1.25 * max(values)))
    axes.set_ylabel("% of foreground", fontsize=FONT_PT - 1)
    _finish_bars(axes, "Errors of substance")


def _finish_bars(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=FONT_PT, pad=2)
    axes.set_xticks([0, 1], labels=["best fold", "worst fold"])
    axes.tick_params(labelsize=FONT_PT - 1, length=2, pad=1)
    axes.spines[["top", "right"]].set_visible(False)


def _short(case: str) -> str:
    """Return a case's name without its folder, cut to what a title holds."""
    name = case.rpartition("/")[2]
    return name if len(name) <= 20 else f"{name[:19]}…"


def _wrapped(text: str) -> str:
    """Break at the colon: one line for the numbers, one for their reading."""
    head, colon, tail = text.partition(": ")
    return f"{head}{colon}\n{tail}" if tail else text
