"""Tables over many segmentations: every measure of every section, and means by subject."""

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from intima.formats.tables import Cell, csv_table
from intima.store.findings import Finding

SECTION_COLUMNS = (
    "segmentation",
    "slide",
    "slide_name",
    "slide_sha256",
    "subject",
    "model",
    "synthetic_training_data",
    "region",
    "mpp",
    "vessel",
    "measure",
    "value",
    "unit",
    "low",
    "high",
    "interval_basis",
    "created_at",
    "corrected",
    "corrected_by",
)
SUBJECT_COLUMNS = (
    "subject",
    "model",
    "synthetic_training_data",
    "measure",
    "mean",
    "unit",
    "n_sections",
    "n_undefined",
    "smallest",
    "largest",
    "n_corrected",
)
_DIGITS = 4
"""Of means: sections of one subject differ by more than what is cut off."""


def section_lines(findings: Iterable[Finding], *, header: bool) -> bytes:
    """Return a line for every measure of every vessel of every finding."""
    rows = (row for finding in findings for row in _section_rows(finding))
    return csv_table(SECTION_COLUMNS if header else None, rows)


def _section_rows(finding: Finding) -> Iterator[Sequence[Cell]]:
    asked, found = finding.payload, finding.result
    region = asked.region
    where = None if region is None else f"{region.x},{region.y},{region.width},{region.height}"
    shared: tuple[Cell, ...] = (
        finding.segmentation,
        asked.slide,
        asked.slide_name,
        asked.slide_sha256,
        asked.subject,
        asked.model,
        _synthetic(finding),
        where,
        found.mpp,
    )
    made = asked.correction
    version = (None, None) if made is None else (made.number, made.author_name)
    for vessel in found.vessels:
        for m in vessel.measures:
            low, high = (None, None) if m.interval is None else (m.interval.low, m.interval.high)
            basis = None if m.interval is None else found.interval_basis
            yield (*shared, vessel.vessel, m.name, m.value, m.unit, low, high, basis, finding.created_at, *version)


def _synthetic(finding: Finding) -> bool | None:
    stated = finding.result.provenance.get("synthetic_training_data")
    return stated if isinstance(stated, bool) else None


@dataclass(frozen=True, slots=True)
class _Series:
    """What is averaged over sections."""

    subject: str
    model: str
    synthetic: bool | None
    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class SubjectMeans:
    """Gathers findings, newest first, and means the largest vessel of each section by subject and model.

    Of a section that a model has segmented several times the newest counts, and before all of them the newest that a
    person has corrected; a section is a slide's content, whatever its name. Slides without a subject are left out.
    """

    _sections: dict[tuple[str, str, str], "_Section"] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Take in one finding."""
        asked, corrected = finding.payload, finding.payload.correction is not None
        if asked.subject is None:
            return
        place = (asked.subject, asked.model, asked.slide_sha256)
        held = self._sections.get(place)
        if held is not None and (held.corrected or not corrected):
            return
        largest = finding.result.vessels[0].measures if finding.result.vessels else ()
        of = {_Series(asked.subject, asked.model, _synthetic(finding), m.name, m.unit): m.value for m in largest}
        self._sections[place] = _Section(corrected=corrected, values=of)

    def table(self) -> bytes:
        """Return the means by subject and model, measures in the order of measures.csv."""
        found: dict[_Series, list[tuple[float | None, bool]]] = {}
        for section in self._sections.values():
            for key, value in section.values.items():
                found.setdefault(key, []).append((value, section.corrected))
        ordered = sorted(found.items(), key=lambda item: (item[0].subject, item[0].model))
        return csv_table(SUBJECT_COLUMNS, (_subject_row(key, values) for key, values in ordered))


@dataclass(frozen=True, slots=True)
class _Section:
    """What counts of one section."""

    corrected: bool
    values: dict[_Series, float | None]


def _subject_row(of: _Series, sections: Sequence[tuple[float | None, bool]]) -> Sequence[Cell]:
    values = [value for value, _ in sections]
    corrected = sum(by_person for value, by_person in sections if value is not None)
    known = [v for v in values if v is not None]
    mean = statistics.fmean(known) if known else None
    smallest, largest = (min(known), max(known)) if len(known) > 1 else (None, None)
    numbers = [_rounded(v) for v in (mean, smallest, largest)]
    missing = len(values) - len(known)
    return (
        of.subject,
        of.model,
        of.synthetic,
        of.name,
        numbers[0],
        of.unit,
        len(known),
        missing,
        *numbers[1:],
        corrected,
    )


def _rounded(value: float | None) -> float | None:
    if value is None or value == 0 or not math.isfinite(value):
        return value
    return round(value, _DIGITS - 1 - math.floor(math.log10(abs(value))))
