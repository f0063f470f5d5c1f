"""What all figures share: size, type, colours that colour-blind readers tell apart, and the three formats."""

import csv
import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FigureFormat = Literal["svg", "pdf", "csv"]
FORMATS: dict[FigureFormat, str] = {"svg": "image/svg+xml", "pdf": "application/pdf", "csv": "text/csv"}
"""Media type by format."""

BLUE, VERMILION, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#7f7f7f"
"""Of Okabe and Ito."""
BAND = "#e3eef5"
"""Background of a margin."""
FONT_PT = 7
WIDTH_IN = 3.5
"""89 mm: one column of a journal."""

_STYLE: dict[Any, Any] = {
    "font.size": FONT_PT,
    "axes.linewidth": 0.6,
    "svg.hashsalt": "intima",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
"""Equal figures are equal bytes; text in a PDF stays text; a dollar in a name is no formula."""
_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_LONGEST_NAME = 28
_LETTERS_PER_IN = 12.5
"""Of the whole width; the names beside the axes take the rest."""

_ONE_AT_A_TIME = Lock()
"""matplotlib's settings belong to the process."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure before it has a format."""

    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    """The numbers behind it."""
    height_in: float
    draw: Callable[[Axes], None]
    width_in: float = WIDTH_IN


def render(drawing: Drawing, form: FigureFormat) -> bytes:
    """Return the figure as SVG or PDF, or its numbers as CSV; the same bytes every time."""
    if form == "csv":
        return _table(drawing)
    out = io.BytesIO()
    with _ONE_AT_A_TIME, rc_context(_STYLE):
        figure = Figure(figsize=(drawing.width_in, drawing.height_in), layout="constrained")
        drawing.draw(figure.add_subplot())
        figure.savefig(out, format=form, metadata=_UNDATED[form])
    return out.getvalue()


def _table(drawing: Drawing) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(drawing.header)
    writer.writerows([("" if cell is None else cell) for cell in row] for row in drawing.rows)
    return out.getvalue().encode()


def bare(axes: Axes, *, keep: Sequence[str] = ("left", "bottom")) -> None:
    """Take the frame away but for the sides to keep."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in keep)
    axes.tick_params(width=0.6, length=2.5)


def lines(text: str, *, width_in: float = WIDTH_IN) -> str:
    """Return a text in lines that fit under the axes of a figure."""
    return textwrap.fill(text, round(_LETTERS_PER_IN * width_in))


def measure(metric: str, class_name: str) -> str:
    """Return what was scored, in a word or two."""
    return f"{short(metric)} ({short(class_name)})"


def short(name: str) -> str:
    """Return a name that fits beside a figure, without line breaks and control characters."""
    plain = "".join(c if c.isprintable() else " " for c in name)
    return plain if len(plain) <= _LONGEST_NAME else f"{plain[: _LONGEST_NAME - 1]}…"
