"""The single panels of the figures: pictures with scale bars, class overlays, maps, bars. Agg only, no display."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy import ndimage

from intima.arrays import BinaryMask, LabelMask, RgbImage
from intima.borders import Scale, displaced_borders
from intima.contracts.explanation import ErrorLayer, MorphologyLayer, SampledUncertainty
from intima.geometry import Size
from intima.labels import LabelSchema
from intima.resampling import resample_image

DISPLACED, SUBSTANCE = "#0072b2", "#d55e00"
"""Errors of displaced borders and of substance: blue and vermilion of Okabe and Ito."""
FONT_PT = 7
DPI = 200
WIDTH_IN = 7.2
"""183 mm: two columns of a journal."""
LONGEST_PX = 640
_MEASURES = {
    "lumen_area": "lumen area",
    "neointimal_area": "neointimal area",
    "medial_area": "medial area",
    "intima_media_ratio": "I/M ratio",
    "stenosis": "stenosis",
    "intima_thickness_mean": "intima thickness",
    "media_thickness_mean": "media thickness",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A case at the size of display."""

    image: RgbImage
    truth: LabelMask
    predicted: LabelMask
    displaced: BinaryMask
    """Errors of displaced borders; a pixel of the display holds one where any pixel under it is one."""
    substance: BinaryMask
    """All other errors."""
    mpp: float | None
    """Of the display."""
    step: int
    """Native pixels along one pixel of the display."""


def picture_of(
    image: RgbImage,
    truth: LabelMask,
    predicted: LabelMask,
    *,
    scale: Scale,
    mpp: float | None,
) -> Picture:
    """Shrink a case by a whole factor to at most ``LONGEST_PX``.

    Args:
        image: (h, w, 3) at any resolution; resampled to the size of the masks first.
        truth: (height, width) at native resolution.
        predicted: the same.
        scale: how far a border may be displaced.
        mpp: of the native pixels.
    """
    step = math.ceil(max(truth.shape) / LONGEST_PX)
    displaced = displaced_borders(truth, predicted, scale=scale)
    rows, columns = truth[::step, ::step].shape
    return Picture(
        image=resample_image(image, Size(columns, rows)),
        truth=truth[::step, ::step],
        predicted=predicted[::step, ::step],
        displaced=any_under(displaced, step),
        substance=any_under((truth != predicted) & ~displaced, step),
        mpp=None if mpp is None else mpp * step,
        step=step,
    )


def any_under(mask: BinaryMask, step: int) -> BinaryMask:
    """Shrink a mask by a whole factor; true where any pixel under a pixel is."""
    padded = np.pad(mask, [(0, -n % step) for n in mask.shape])
    rows, columns = (n // step for n in padded.shape)
    shrunk: BinaryMask = np.logical_or.reduce(padded.reshape(rows, step, columns, step), axis=(1, 3))
    return shrunk


def new_figure(height_in: float) -> Figure:
    """Return a figure two columns wide."""
    return Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained")


def show_image(axes: Axes, picture: Picture, *, title: str) -> None:
    """Draw the image, with a scale bar where the pixel size is known."""
    axes.imshow(picture.image)
    bare(axes, title)
    draw_scale_bar(axes, picture)


def show_classes(axes: Axes, picture: Picture, mask: LabelMask, *, schema: LabelSchema, title: str) -> None:
    """Draw the foreground classes of a mask over the paled image."""
    colors = np.array([to_rgb(c.color) for c in schema.classes])
    pale = _pale(picture.image)
    foreground = (mask > 0)[..., None]
    axes.imshow(np.where(foreground, 0.3 * pale + 0.7 * colors[mask], pale))
    bare(axes, title)


def show_errors(axes: Axes, picture: Picture, *, title: str) -> None:
    """Draw displaced borders in blue and errors of substance in vermilion, widened by a pixel, over the grey image."""
    canvas = np.repeat(_pale(picture.image).mean(axis=2, keepdims=True), 3, axis=2)
    canvas[ndimage.binary_dilation(picture.displaced)] = to_rgb(DISPLACED)
    canvas[ndimage.binary_dilation(picture.substance)] = to_rgb(SUBSTANCE)
    axes.imshow(canvas)
    bare(axes, title)


def show_map(axes: Axes, values: NDArray[np.float32], *, title: str, top: float, cmap: str) -> AxesImage:
    """Draw a map from 0 to ``top``; pixels without a value stay grey."""
    axes.set_facecolor("#bbbbbb")
    drawn = axes.imshow(np.ma.masked_invalid(values), cmap=cmap, vmin=0.0, vmax=top)
    bare(axes, title)
    return drawn


def outline_class(axes: Axes, mask: LabelMask, index: int, *, color: str) -> None:
    """Outline a class; nothing where it is absent or everywhere."""
    region = mask == index
    if region.any() and not region.all():
        axes.contour(region.astype(np.float32), levels=[0.5], colors=[color], linewidths=0.6)


def color_bar(drawn: AxesImage, axes: Axes, *, label: str) -> None:
    """Add a colour bar with its unit."""
    bar = axes.figure.colorbar(drawn, ax=axes, fraction=0.045, pad=0.02)
    bar.set_label(label, fontsize=FONT_PT - 1)
    bar.ax.tick_params(labelsize=FONT_PT - 2, length=2, pad=1)


def plot_distances(axes: Axes, error: ErrorLayer) -> None:
    """Draw the share of error pixels within a distance of a true boundary, beside that of all pixels."""
    known = [b for b in error.by_distance if b.errors is not None and b.image is not None]
    if not known:
        note(axes, "no errors" if not error.pixels else "one class only: no boundary")
        return
    at = [b.within for b in known]
    axes.plot(at, [100 * (b.errors or 0.0) for b in known], color="black", marker="o", ms=2.5, lw=1, label="errors")
    axes.plot(at, [100 * (b.image or 0.0) for b in known], color="#888888", ls="--", lw=1, label="all pixels")
    axes.axvline(error.band, color=DISPLACED, lw=0.8, ls=":")
    axes.text(error.band, 2, " band", color=DISPLACED, fontsize=FONT_PT - 1)
    axes.set_xscale("log")
    axes.set_xticks([1, 3, 10, 30], labels=["1", "3", "10", "30"])
    axes.minorticks_off()
    axes.set_ylim(0, 125)
    axes.set_yticks([0, 50, 100])
    _label(axes, "Share near a true boundary", x=f"within ({error.unit})", y="share of pixels (%)")
    axes.legend(fontsize=FONT_PT - 1, frameon=False, loc="upper left", ncols=2, columnspacing=0.8, borderpad=0)


def plot_pairs(axes: Axes, error: ErrorLayer) -> None:
    """Draw the most frequent class pairs as bars."""
    pairs = error.pairs[:6][::-1]
    if not pairs:
        note(axes, "no errors")
        return
    names = [f"{p.truth} → {p.predicted}" for p in pairs]
    axes.barh(names, [100 * p.share for p in pairs], color="#555555", height=0.7)
    _label(axes, "Confusions (truth → pred.)", x="share of errors (%)", y="")


def plot_sampled(axes: Axes, samplers: Sequence[SampledUncertainty]) -> None:
    """Draw the mean entropy on right and on wrong pixels, by sampler, with the AUROC of finding errors."""
    names = {"tta": "8 views (TTA)", "mc_dropout": "dropout"}
    for position, s in enumerate(samplers):
        for offset, value, color in ((-0.2, s.entropy_right, "#aaaaaa"), (0.2, s.entropy_wrong, "#333333")):
            axes.bar(position + offset, value or 0.0, width=0.36, color=color)
    labels = [
        f"{names[s.sampler]}\nAUROC {'n/a' if s.auroc_entropy is None else format(s.auroc_entropy, '.2f')}"
        for s in samplers
    ]
    axes.set_xticks(range(len(samplers)), labels=labels)
    axes.set_ylim(0, max(0.05, axes.get_ylim()[1] * 1.35))
    _label(axes, "Less sure where wrong?", x="AUROC of finding errors", y="mean uncertainty")
    patches = [Patch(color="#aaaaaa", label="right pixels"), Patch(color="#333333", label="wrong pixels")]
    axes.legend(handles=patches, fontsize=FONT_PT - 1, frameon=False, loc="upper left", ncols=1)


def plot_measures(axes: Axes, layer: MorphologyLayer) -> None:
    """Draw how far measures of the largest vessel are off, in percent of the truth; areas of classes otherwise."""
    bars = _vessel_bars(layer) if layer.arterial else _class_bars(layer)
    known = [(name, value) for name, value in bars if value is not None][::-1]
    if not known:
        note(axes, "no measure is defined in both")
        return
    axes.barh([n for n, _ in known], [v for _, v in known], color="#555555", height=0.7)
    axes.axvline(0, color="black", lw=0.6)
    reach = max(5.0, *(abs(v) for _, v in known)) * 1.4
    axes.set_xlim(-reach, reach)
    for row, (_, value) in enumerate(known):
        at = (max(value, 0.0), row)
        text = f"{value:+.1f}".replace("-", "−")
        axes.annotate(text, at, xytext=(2, 0), textcoords="offset points", va="center", fontsize=FONT_PT - 1)
    _label(axes, "Measures vs truth", x="difference (% of truth)", y="")


def list_checks(axes: Axes, layer: MorphologyLayer) -> None:
    """Write down what layer order and closure say of truth and prediction."""
    axes.set_title("Layer order and closure", fontsize=FONT_PT, pad=2)
    axes.axis("off")
    axes.text(
        0.0,
        0.97,
        "\n".join(_check_lines(layer)),
        va="top",
        fontsize=FONT_PT - 1,
        linespacing=1.3,
        transform=axes.transAxes,
    )


def _check_lines(layer: MorphologyLayer) -> list[str]:
    if not layer.arterial:
        return textwrap.wrap(layer.note, 34)
    missed = sum(v.predicted_vessel is None for v in layer.vessels)
    lines = [f"{len(layer.vessels)} vessel(s): {missed} missed, {layer.invented_vessels} invented"]
    for vessel in layer.vessels[:1]:
        for word, checks in (("truth", vessel.truth_checks), ("prediction", vessel.predicted_checks)):
            lines.append(f"Largest, {word}: " + ("in order" if not checks else f"{len(checks)} warning(s)"))
            lines += [
                line for check in checks[:1] for line in textwrap.wrap(f"- {check}", 34, max_lines=6, placeholder=" …")
            ]
    return lines


def note(axes: Axes, text: str) -> None:
    """Leave a panel empty but for a note."""
    axes.axis("off")
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=FONT_PT, color="#555555", transform=axes.transAxes)


def bare(axes: Axes, title: str) -> None:
    """Take the ticks away and set the title."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=FONT_PT, pad=2)


def class_patches(schema: LabelSchema) -> list[Patch]:
    """Return legend entries of the foreground classes."""
    return [Patch(color=c.color, label=c.name) for c in schema.foreground]


def error_patches(error: ErrorLayer) -> list[Patch]:
    """Return legend entries of both kinds of error with their shares."""
    share = 100 * error.displaced_errors / max(1, error.pixels)
    shares = (share, 100 - share) if error.pixels else (0.0, 0.0)
    return [
        Patch(color=color, label=f"{name}: {percent:.0f} % of errors")
        for (color, name), percent in zip(error_kinds(error.band, error.unit), shares, strict=True)
    ]


def error_kinds(band: float, unit: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return colour and name of both kinds of error."""
    return (DISPLACED, f"border displaced by ≤ {band:g} {unit}"), (SUBSTANCE, "wrong in substance")


def draw_scale_bar(axes: Axes, picture: Picture) -> None:
    """Draw a bar of a round length about a quarter of the width; a note where the pixel size is not known."""
    rows, columns = picture.truth.shape
    if picture.mpp is None:
        axes.set_xlabel("pixel size not known", fontsize=FONT_PT - 1)
        return
    length_um = _round_length(0.3 * columns * picture.mpp)
    pixels = length_um / picture.mpp
    left, y = 0.05 * columns, 0.94 * rows
    axes.plot([left, left + pixels], [y, y], color="white", lw=3.2, solid_capstyle="butt")
    axes.plot([left, left + pixels], [y, y], color="black", lw=1.8, solid_capstyle="butt")
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
    axes.text(left, y - 0.03 * rows, f"{length_um:g} µm", fontsize=FONT_PT - 1, va="bottom", bbox=box)


def _round_length(most: float) -> float:
    """Return the largest of 1, 2, 5, 10, ... that is at most this.

    >>> _round_length(230.0)
    200.0
    """
    power = 10.0 ** math.floor(math.log10(most))
    return next(m * power for m in (5.0, 2.0, 1.0) if m * power <= most)


def _pale(image: RgbImage) -> NDArray[np.float64]:
    pale: NDArray[np.float64] = 0.5 + image.astype(np.float64) / 510.0
    return pale


def _vessel_bars(layer: MorphologyLayer) -> list[tuple[str, float | None]]:
    if not layer.vessels:
        return []
    measures = {m.name: m for m in layer.vessels[0].measures}
    return [(label, _percent(measures[n].truth, measures[n].predicted)) for n, label in _MEASURES.items()]


def _class_bars(layer: MorphologyLayer) -> list[tuple[str, float | None]]:
    return [(f"{s.region} area", _percent(s.area.truth, s.area.predicted)) for s in layer.shapes[:8]]


def _percent(truth: float | None, predicted: float | None) -> float | None:
    return None if not truth or predicted is None else 100 * (predicted - truth) / truth


def _label(axes: Axes, title: str, *, x: str, y: str) -> None:
    axes.set_title(title, fontsize=FONT_PT, pad=2)
    axes.set_xlabel(x, fontsize=FONT_PT - 1, labelpad=1)
    axes.set_ylabel(y, fontsize=FONT_PT - 1, labelpad=1)
    axes.tick_params(labelsize=FONT_PT - 1, length=2, pad=1)
    axes.spines[["top", "right"]].set_visible(False)
