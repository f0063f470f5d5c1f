"""report.pdf: what a segmentation found, on a page for the lab book. It bears no date, so its bytes repeat."""

import math
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from intima.contracts.segmentation import Measure, SegmentationResult, VesselMeasures
from intima.formats._result import ResultArrays
from intima.formats.report_pictures import overlay_picture, uncertainty_picture
from intima.formats.tables import is_corrected
from intima.reports.document import (
    Block,
    Column,
    Document,
    Facts,
    Paragraph,
    Picture,
    Pictures,
    Section,
    Table,
)
from intima.reports.pdf import write_pdf

_MOST_VESSELS = 3
"""Columns of the table of measures."""
_MOST_LETTERS, _FEWEST_LETTERS = 85, 6
"""Of a line of that table, and of a column of it."""
_MOST_WARNINGS = 60
_WARNINGS_ON_TOP = 3
_DIGITS = 4
_PUBLISHED = {
    "lumen_area": "Lumen area",
    "neointimal_area": "Neointimal area",
    "medial_area": "Medial area",
    "iel_area": "Area inside the IEL",
    "eel_area": "Area inside the EEL",
    "intima_media_ratio": "Intima-to-media ratio",
    "stenosis": "Stenosis",
    "intima_thickness_mean": "Intima thickness, mean",
    "intima_thickness_max": "Intima thickness, largest",
    "media_thickness_mean": "Media thickness, mean",
    "lumen_perimeter": "Lumen perimeter",
    "iel_perimeter": "IEL perimeter",
}
"""Measures of the page, in its order; all others stand in measures.csv."""
_SYMBOLS = {"": "–", "1": "–", "px^2": "px²"}
_SOURCES = {"given": "given at upload", "file": "from the file", "none": "unknown"}


def write_report(arrays: ResultArrays, result: SegmentationResult, out: BinaryIO) -> None:
    """Write identity, pictures, measures, areas, warnings and provenance as PDF."""
    out.write(write_pdf(_document(arrays, result)))


def _document(arrays: ResultArrays, result: SegmentationResult) -> Document:
    known = result.provenance
    warnings = list(_all_warnings(result))
    return Document(
        title=_text(known.get("slide_name")) or "Segmentation",
        subtitle=_subtitle(result),
        opening=(
            _identity(result),
            *(Paragraph(w, "warning") for w in warnings[:_WARNINGS_ON_TOP]),
            _pictures(arrays, result),
        ),
        sections=tuple(_sections(result, warnings[_WARNINGS_ON_TOP:])),
        footer=f"Intima {_text(known.get('intima'))} · {_text(known.get('model'))}",
    )


def _subtitle(result: SegmentationResult) -> str:
    made = result.provenance.get("correction")
    if not isinstance(made, dict):
        return "Segmentation of an arterial section. Numbers are the model's, not a reader's."
    who = _text(made.get("author_name")) or "a person"
    return f"Segmentation of an arterial section, version {made.get('number')}: corrected by {who}."


def _sections(result: SegmentationResult, warnings: Sequence[str]) -> Iterator[Section]:
    yield Section("Measures", tuple(_measures(result)))
    yield Section("Areas of the classes", (_areas(result),))
    if warnings:
        more = len(warnings) - _MOST_WARNINGS
        shown = [Paragraph(w, "warning") for w in warnings[:_MOST_WARNINGS]]
        rest = [Paragraph(f"{more} more warnings stand in measures.json.")] if more > 0 else []
        yield Section("More warnings", (*shown, *rest))
    yield Section("Provenance", (_provenance(result),))


def _identity(result: SegmentationResult) -> Facts:
    known = result.provenance
    synthetic = known.get("synthetic_training_data")
    training = (
        "not stated" if synthetic is None else ("SYNTHETIC data only" if synthetic else "real annotated sections")
    )
    region = result.region
    part = "the whole slide" if region is None else f"from ({region.x}, {region.y}), in pixels of the slide"
    return Facts(
        (
            ("Subject", _text(known.get("subject")) or "not stated"),
            ("Model", f"{_text(known.get('model'))}, trained on {training}"),
            ("Pixel size", _pixel_size(result)),
            ("Analysed", f"{result.width} x {result.height} px, {part}"),
            ("Uncertainty", _sampling(result)),
        )
    )


def _pixel_size(result: SegmentationResult) -> str:
    if result.mpp is None:
        return "unknown: areas and lengths are in pixels"
    source = _text(result.provenance.get("mpp_source"))
    return f"{result.mpp:.4g} µm, {_SOURCES.get(source, source or 'source not stated')}"


def _sampling(result: SegmentationResult) -> str:
    found = result.uncertainty
    if is_corrected(result):
        return "not sampled: a person has corrected the mask"
    if found is None:
        return "not sampled: one pass"
    dice = "" if found.pairwise_dice is None else f", Dice between passes {found.pairwise_dice:.3f}"
    return (
        f"{found.sampler}, {found.passes} passes; mean entropy {found.mean_entropy:.3f}{dice}; "
        f"calibration: {found.calibration}"
    )


def _pictures(arrays: ResultArrays, result: SegmentationResult) -> Pictures:
    scale = "" if arrays.mpp is not None else " There is no scale bar, since the pixel size is unknown."
    numbers = " Numbers are those of the vessels, 1 is the largest." if result.vessels else ""
    shown = [Picture(f"Classes.{numbers}{scale}", overlay_picture(arrays, result.vessels), "image/jpeg")]
    if result.uncertainty is not None:
        caption = "Predictive entropy, as a share of its largest possible value."
        shown.append(Picture(caption, uncertainty_picture(arrays), "image/png"))
    return Pictures(tuple(shown))


def _measures(result: SegmentationResult) -> Iterator[Block]:
    if not result.vessels:
        yield Paragraph("No vessel was found, so there is nothing to measure but the areas of the classes.")
        return
    shown = _most_that_fit(result.vessels)
    columns = [Column("Measure", numeric=False), Column("Unit", numeric=False)]
    for vessel in shown:
        columns += [Column(f"Vessel {vessel.vessel}"), Column("Interval")]
    rest = len(result.vessels) - len(shown)
    more = f"Smaller vessels: {rest} more in measures.csv. " if rest > 0 else ""
    yield Table(
        tuple(columns),
        tuple(_measure_rows(shown)),
        f"{more}Interval: {result.interval_basis}. All measures: measures.csv. IEL, EEL: internal and external elastic "
        "lamina. – where undefined; the reason is among the warnings.",
    )


def _most_that_fit(vessels: Sequence[VesselMeasures]) -> Sequence[VesselMeasures]:
    """Return the largest vessels, as many as have room beside each other without breaking a number in two."""
    for count in range(min(_MOST_VESSELS, len(vessels)), 1, -1):
        cells = zip(*_measure_rows(vessels[:count]), strict=True)
        if sum(max(_FEWEST_LETTERS, *map(len, column)) for column in cells) <= _MOST_LETTERS:
            return vessels[:count]
    return vessels[:1]


def _measure_rows(vessels: Sequence[VesselMeasures]) -> Iterator[tuple[str, ...]]:
    by_vessel = [{measure.name: measure for measure in vessel.measures} for vessel in vessels]
    for name, title in _PUBLISHED.items():
        found = [measures.get(name) for measures in by_vessel]
        unit = next((m.unit for m in found if m is not None), None)
        if unit is not None:
            cells = (cell for measure in found for cell in _cells(measure))
            yield (title, _SYMBOLS.get(unit, unit), *cells)


def _cells(measure: Measure | None) -> tuple[str, str]:
    if measure is None or measure.value is None:
        return "–", "–"
    interval = measure.interval
    span = "–" if interval is None else f"{number(interval.low)} to {number(interval.high)}"
    return number(measure.value), span


def number(value: float) -> str:
    """Return a value with four significant digits, whole from 1000 up, without exponent."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    decimals = min(6, max(0, _DIGITS - 1 - math.floor(math.log10(abs(value)))))
    return f"{value:,.{decimals}f}"


def _areas(result: SegmentationResult) -> Table:
    in_um = any(area.area_um2 is not None for area in result.areas)
    columns = [Column("Class", numeric=False), Column("Pixels"), Column("Share of the analysed area")]
    if in_um:
        columns.insert(2, Column("Area (µm²)"))
    rows = []
    for area in result.areas:
        row = [area.name, f"{area.pixels:,}", f"{100 * area.fraction:.2f} %"]
        if in_um:
            row.insert(2, "–" if area.area_um2 is None else number(area.area_um2))
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows))


def _all_warnings(result: SegmentationResult) -> Iterator[str]:
    yield from result.warnings
    for vessel in result.vessels:
        yield from (f"Vessel {vessel.vessel}: {warning}" for warning in vessel.warnings)


def _provenance(result: SegmentationResult) -> Facts:
    known = result.provenance
    members = known.get("member_sha256")
    hashes = members if isinstance(members, list | tuple) else ()
    mask = next((a.sha256 for a in result.artefacts if a.name == "mask.ome.tiff"), "")
    rows = [
        ("Slide, SHA-256", _text(known.get("slide_sha256"))),
        *((f"Network {n}, SHA-256", _text(sha256)) for n, sha256 in enumerate(hashes, start=1)),
        ("mask.ome.tiff, SHA-256", mask),
        ("Run as", _run(result)),
        ("Versions", f"Intima {_text(known.get('intima'))}, ONNX Runtime {_text(known.get('onnxruntime'))}"),
    ]
    return Facts(tuple(row for row in rows if row[1]))


def _run(result: SegmentationResult) -> str:
    known = result.provenance
    stated = (
        ("precision", "precision"),
        ("provider", "provider"),
        ("sampler", "sampler"),
        ("passes", "passes"),
        ("seed", "seed"),
        ("background", "background"),
        ("working scale", "working_scale"),
        ("tile", "tile_px"),
        ("halo", "halo_px"),
    )
    return ", ".join(f"{title} {_text(known[key])}" for title, key in stated if key in known)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
