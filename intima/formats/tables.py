"""Tables: measures as CSV and JSON with a data dictionary, and scores as CSV.

CSV is UTF-8 with a header line, comma, CRLF (RFC 4180); an undefined value is an empty field. Text that a spreadsheet
would take for a formula gets a leading apostrophe.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from intima.contracts.benchmark import ScoreRow
from intima.contracts.experiment import ExperimentRow
from intima.contracts.segmentation import Measure, SegmentationResult
from intima.formats._result import ResultArrays

Cell = str | int | float | bool | None

SCORE_COLUMNS = (
    "case",
    "subject",
    "protocol",
    "repeat",
    "fold",
    "seed",
    "architecture",
    "model",
    "class",
    "metric",
    "value",
    "unit",
    "selection_biased",
    "split_seed",
    "init_seed",
    "augmentation_seed",
    "leakage_override",
    "encoder_weights",
)
"""Columns of scores.csv: those fixed by the wire contract, then what was added."""

MEASURE_COLUMNS = {
    "scope": "image: over the whole analysed area; vessel: of one cross-section",
    "vessel": "number of the cross-section, 1 is the largest; empty for scope image",
    "name": "name of the measure, the same as in measures.json",
    "value": "the number; empty where it is undefined, the reason stands in measures.json under warnings",
    "unit": "unit of value, low and high; 1 for a ratio, % for a percentage",
    "low": "lower end of the interval; interval_basis in measures.json says what it is; empty where there is none",
    "high": "upper end of the interval",
    "source": "model: of the mask that the model made; person: of a mask that a person has corrected",
}
"""Columns of measures.csv and what they mean."""

PROFILE_COLUMNS = {
    "vessel": "number of the cross-section, as in measures.csv",
    "angle_deg": "direction of the ray: 0 is to the right, 90 down; rays are equally spaced in µm",
    "intima": "thickness of the neointima along the ray; empty where intima_thickness_mean is undefined",
    "media": "thickness of the media along the ray; empty where media_thickness_mean is undefined",
    "unit": "unit of intima and media",
    "center_x_px": "where the rays start, in pixels of the mask from its left edge",
    "center_y_px": "the same from its top edge",
}
"""Columns of thickness_profiles.csv and what they mean."""

_NESTED = ("parameters", "curve", "losses", "artefacts")
"""Fields of an experiment that are no single cell."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_measures_csv(_arrays: ResultArrays, result: SegmentationResult, out: BinaryIO) -> None:
    """Write one line per measure: class areas of the image, then each vessel's morphometry."""
    out.write(csv_table(tuple(MEASURE_COLUMNS), _measure_rows(result)))


def write_dictionary(_arrays: ResultArrays, _result: SegmentationResult, out: BinaryIO) -> None:
    """Write what each column of measures.csv and thickness_profiles.csv means."""
    files = {"measures.csv": MEASURE_COLUMNS, "thickness_profiles.csv": PROFILE_COLUMNS}
    rows = ((column, meaning, name) for name, columns in files.items() for column, meaning in columns.items())
    out.write(csv_table(("column", "meaning", "file"), rows))


def write_measures_json(_arrays: ResultArrays, result: SegmentationResult, out: BinaryIO) -> None:
    """Write areas, vessels, uncertainty, warnings and provenance as JSON."""
    parts = {"mpp", "origin", "region", "areas", "vessels", "interval_basis", "uncertainty", "provenance", "warnings"}
    content = result.model_dump(mode="json", by_alias=True, include=parts)
    out.write((json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode())


def scores_csv(rows: Sequence[ScoreRow]) -> bytes:
    """Write scores with the columns of the wire contract, in the order given."""
    dumped = (row.model_dump(by_alias=True) for row in rows)
    return csv_table(SCORE_COLUMNS, ([row[column] for column in SCORE_COLUMNS] for row in dumped))


def experiments_csv(rows: Sequence[ExperimentRow]) -> bytes:
    """Write an experiment table: a column ``param.<name>`` for every parameter, curves and artefacts as JSON."""
    names = sorted({name for row in rows for name in row.parameters})
    plain = [field for field in ExperimentRow.model_fields if field not in _NESTED]
    header = (*plain, *(f"param.{name}" for name in names), *_NESTED[1:])
    return csv_table(header, (_experiment_cells(row, plain=plain, names=names) for row in rows))


def _experiment_cells(row: ExperimentRow, *, plain: Sequence[str], names: Sequence[str]) -> list[Cell]:
    nested = row.model_dump(mode="json", include=set(_NESTED))
    texts = [json.dumps(nested[field], sort_keys=True, separators=(",", ":")) for field in _NESTED[1:]]
    return [*(getattr(row, field) for field in plain), *(row.parameters.get(name) for name in names), *texts]


def _measure_rows(result: SegmentationResult) -> Iterator[Sequence[Cell]]:
    source = "person" if is_corrected(result) else "model"
    return ((*row, source) for row in _sourceless_rows(result))


def is_corrected(result: SegmentationResult) -> bool:
    """Tell whether a person has corrected the mask of a result."""
    return result.provenance.get("correction") is not None


def _sourceless_rows(result: SegmentationResult) -> Iterator[Sequence[Cell]]:
    for area in result.areas:
        yield ("image", None, f"{area.name}_pixels", area.pixels, "px", None, None)
        if area.area_um2 is not None:
            yield ("image", None, f"{area.name}_area", area.area_um2, "µm²", None, None)
        yield ("image", None, f"{area.name}_fraction", area.fraction, "1", None, None)
    for vessel in result.vessels:
        for measure in vessel.measures:
            yield _vessel_row(vessel.vessel, measure)


def _vessel_row(vessel: int, measure: Measure) -> Sequence[Cell]:
    interval = measure.interval
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return ("vessel", vessel, measure.name, measure.value, measure.unit, low, high)


def csv_table(header: Sequence[str] | None, rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return lines of CSV; without a header they go on with a table that has one."""
    out = io.StringIO()
    writer = csv.writer(out)
    if header is not None:
        writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def _cell(value: Cell) -> str:
    """Write floats so that they read back to the same value, booleans as in JSON, None as an empty field."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
