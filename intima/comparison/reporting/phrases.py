"""How numbers are written in reports, and what all reports end with."""

import re
from collections.abc import Mapping, Sequence
from functools import partial

from intima.comparison.figures import Drawing, render
from intima.folds import EXTERNAL
from intima.reports import Facts, Figure, Paragraph, Section

NONE = "–"
_FOLDS = re.compile(r"kfold(\d+)(?:x(\d+))?")


def number(value: float | None) -> str:
    """Return three significant digits, or a dash."""
    return NONE if value is None else f"{value:.3g}".replace("-", "−")


def score(value: float | None) -> str:
    """Return three decimals, as columns of scores are read downwards."""
    return NONE if value is None else f"{value:.3f}".replace("-", "−")


def interval(limits: tuple[float, float] | None) -> str:
    """Return "low to high", or a dash."""
    return NONE if limits is None else f"{number(limits[0])} to {number(limits[1])}"


def p_value(p: float | None) -> str:
    """Return a p-value to three decimals."""
    if p is None:
        return NONE
    return "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"


def p_is(p: float | None) -> str:
    """Return "p = .012" or "p < .001"."""
    return f"p {'' if p is not None and p < 0.001 else '= '}{p_value(p)}"


def protocol_words(protocol: str) -> str:
    """Return the name of a protocol in words."""
    if protocol == EXTERNAL:
        return "External dataset"
    if protocol == "loocv":
        return "Leave one subject out"
    if match := _FOLDS.fullmatch(protocol):
        return f"{match[1]}-fold cross-validation" + (f", {match[2]} repeats" if match[2] else "")
    return f"Protocol {protocol}"


def share(value: float | None) -> str:
    """Return a percentage that is 0 or 100 only where the share is 0 or 1."""
    if value is None:
        return NONE
    if 0 < value < 0.01:
        return "< 0.01 %" if value < 1e-4 else f"{100 * value:.2g} %"
    return "> 99 %" if 0.995 <= value < 1 else f"{100 * value:.0f} %"


def words(name: str) -> str:
    """Return the name of a method or verdict in words."""
    return name.replace("_", " ")


def figure_of(drawing: Drawing, caption: str) -> Figure:
    """Return a drawing as a figure of a report."""
    return Figure(caption, drawing.width_in, drawing.height_in, partial(render, drawing))


def warnings_section(warnings: Sequence[str]) -> tuple[Section, ...]:
    """Return what a reader must mind, or nothing."""
    if not warnings:
        return ()
    return (Section("What to mind", tuple(Paragraph(w, "warning") for w in warnings)),)


def provenance_section(provenance: Mapping[str, object]) -> Section:
    """Return where the numbers come from."""
    return Section("Provenance", (Facts(tuple(_lines("", provenance))),))


def _lines(prefix: str, found: Mapping[str, object]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, value in found.items():
        label = f"{prefix}{words(name)}"
        if isinstance(value, Mapping):
            lines += _lines(f"{label}: ", value)
        elif value not in (None, ""):
            lines.append((label, _text(value)))
    return lines


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
