"""Scores out of the scores.csv of a benchmark."""

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from intima.comparison.scores import (
    CONTENDER,
    FIRST_SCORES_AT,
    FetchScores,
    Selection,
    SubjectScores,
    overlap_of_protocol,
)
from intima.contracts.benchmark import BenchmarkSpec, IncompletePart
from intima.contracts.comparison import Contender
from intima.contracts.dataset import Dataset
from intima.contracts.search import HpoNoise
from intima.errors import Invalid, NotFound
from intima.folds import EXTERNAL
from intima.subjects import mean_by_subject

COLUMNS = (
    "case",
    "subject",
    "protocol",
    "repeat",
    "fold",
    "model",
    "class",
    "metric",
    "value",
    "unit",
    "selection_biased",
)
"""Columns of scores.csv that are read here."""


@dataclass(frozen=True, slots=True)
class BenchmarkTable:
    """A finished benchmark's scores.csv and the dataset it was made on."""

    csv: bytes
    dataset_version: str | None = None
    incomplete: tuple[IncompletePart, ...] = ()
    """Contenders of which only some folds have scores: what is averaged over those is nobody's score."""
    first_scores_at: str | None = None
    """When the first of its folds was scored, RFC 3339 in UTC: from then on somebody may have read scores."""
    hpo_noise: tuple[HpoNoise, ...] = ()
    """By how much the search flatters."""
    spec: BenchmarkSpec | None = None
    dataset: Dataset | None = None
    read_costs: Callable[[], Mapping[str, Mapping[str, float]]] = dict
    """Read what published contenders cost, by label and then by rule; only a choice among equivalents asks."""

    def missing(self, label: str, protocol: str | None) -> IncompletePart | None:
        """Return what a contender lacks under a protocol; None where it is complete."""
        return next((p for p in self.incomplete if (p.model, p.protocol) == (label, protocol)), None)


FetchTable = Callable[[str], BenchmarkTable]
"""Scores of a benchmark id; raises NotFound, or Conflict where it is not finished."""
ResolveModel = Callable[[str], tuple[str, str]]
"""name[@version|alias] -> (benchmark id, label of the contender inside it)."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of scores.csv, as far as a comparison needs it."""

    case: str
    subject: str
    split: tuple[str, str, str]
    """protocol, repeat, fold"""
    model: str
    class_name: str
    metric: str
    value: float | None
    unit: str
    selection_biased: bool
    leakage_override: bool = False
    seed: str = ""
    encoder_weights: str = ""
    """What the encoder started from; empty in tables of versions that did not say."""

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return self.split[0]


def benchmark_fetcher(fetch_table: FetchTable, resolve_model: ResolveModel) -> FetchScores:
    """Return a FetchScores over finished benchmarks."""

    def fetch(contender: Contender, selection: Selection) -> SubjectScores:
        if contender.model is None:
            return _from_benchmark(fetch_table, contender.benchmark or "", contender.architecture or "", selection)
        benchmark, label = resolve_model(contender.model)
        found = _from_benchmark(fetch_table, benchmark, label, selection)
        note = f"The scores are the cross-validation of the recipe behind {contender.model}, not of its final nets."
        return replace(found, label=contender.model, warnings=(*found.warnings, note))

    return fetch


def _from_benchmark(fetch_table: FetchTable, benchmark: str, label: str, selection: Selection) -> SubjectScores:
    table = fetch_table(benchmark)
    found = scores_from_table(read_table(table.csv), label, selection)
    missing = table.missing(label, found.protocol)
    if missing is not None:
        raise Invalid(
            f"{label} lacks the scores of {missing.missing} folds of {missing.protocol}: {missing.reason}",
            code="incomplete",
            hint="Retry the job of the benchmark once the cause is mended, or compare contenders that are complete.",
            pointer="/architecture",
        )
    source = {
        "source": "benchmark",
        "benchmark": benchmark,
        "dataset_version": table.dataset_version,
        CONTENDER: f"{benchmark}/{label}",
        FIRST_SCORES_AT: table.first_scores_at,
    }
    return replace(found, provenance={**source, **found.provenance})


def read_table(data: bytes) -> list[TableRow]:
    """Read scores.csv.

    Raises:
        Invalid: a column is missing, or a value is not a finite number.
    """
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
    if missing:
        raise Invalid(f"The scores table has no column {', '.join(missing)}.", code="bad_scores_table")
    return [_row(row, number) for number, row in enumerate(reader, start=2)]


def _row(row: Mapping[str, str | None], number: int) -> TableRow:
    cells = {name: (row[name] or "").strip() for name in COLUMNS}
    return TableRow(
        case=cells["case"],
        subject=cells["subject"],
        split=(cells["protocol"], cells["repeat"], cells["fold"]),
        model=cells["model"],
        class_name=cells["class"],
        metric=cells["metric"],
        value=_number(cells["value"], number) if cells["value"] else None,
        unit=cells["unit"],
        selection_biased=cells["selection_biased"].lower() in {"true", "1"},
        leakage_override=(row.get("leakage_override") or "").strip().lower() in {"true", "1"},
        seed=(row.get("seed") or "").strip(),
        encoder_weights=(row.get("encoder_weights") or "").strip(),
    )


def _number(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Invalid(f"Line {line} of the scores table has the value {text!r}.", code="score_not_finite")
    return value


def scores_from_table(rows: Sequence[TableRow], label: str, selection: Selection) -> SubjectScores:
    """Return one contender's scores of a benchmark, with the overlap of training sets its protocol implies.

    Raises:
        NotFound: no such contender in the table.
        Invalid: no such metric, class or protocol, or several protocols and none named.
    """
    mine = [r for r in rows if r.model == label]
    if not mine:
        known = ", ".join(sorted({r.model for r in rows})) or "nothing"
        raise NotFound(f"The benchmark has no contender {label!r}.", hint=f"It has: {known}.", pointer="/architecture")
    mine = select_scores(mine, selection)
    subjects, protocol = {r.subject for r in mine}, mine[0].protocol
    means = mean_by_subject((r.subject, r.value) for r in mine if r.value is not None)
    return SubjectScores(
        label,
        means,
        protocol=protocol,
        overlap=overlap_of_protocol(protocol, len(subjects)),
        provenance={
            "rows": len(mine),
            "split_sha256": _split_sha256(mine),
            "leakage_override": any(r.leakage_override for r in mine),
            "encoder_weights": "/".join(sorted({r.encoder_weights for r in mine})),
        },
        warnings=tuple(_warnings(mine, label, subjects - set(means))),
    )


def select_scores(rows: Sequence[TableRow], selection: Selection) -> list[TableRow]:
    """Return the rows of one metric, class and protocol.

    Raises:
        Invalid: nothing is left, units differ, or there are several protocols and none is named.
    """
    rows = _only(rows, "metric", selection.metric, lambda r: r.metric)
    rows = _only(rows, "class", selection.class_name, lambda r: r.class_name)
    protocols = sorted({r.protocol for r in rows})
    if selection.protocol is None and len(protocols) > 1:
        raise Invalid(
            f"The benchmark has several protocols: {', '.join(protocols)}.",
            code="protocol_needed",
            hint="Name one of them as protocol.",
            pointer="/protocol",
        )
    found = _only(rows, "protocol", selection.protocol or protocols[0], lambda r: r.protocol)
    _refuse_mixed_units(found, selection.metric)
    return found


def _only(rows: Sequence[TableRow], what: str, wanted: str, key: Callable[[TableRow], str]) -> list[TableRow]:
    found = [r for r in rows if key(r) == wanted]
    if not found:
        known = ", ".join(sorted({key(r) for r in rows})) or "nothing"
        raise Invalid(f"The benchmark has no {what} {wanted!r}.", hint=f"It has: {known}.", pointer=f"/{what}")
    return found


def _refuse_mixed_units(rows: Sequence[TableRow], metric: str) -> None:
    units = sorted({r.unit for r in rows if r.value is not None})
    if len(units) > 1:
        raise Invalid(
            f"{metric} is in {' and '.join(units)}: some cases have no pixel size.",
            code="mixed_units",
            hint="Compare a metric without a length, or give every case its pixel size.",
            pointer="/metric",
        )


def _split_sha256(rows: Sequence[TableRow]) -> str:
    splits = sorted({(*r.split, r.case) for r in rows})
    return hashlib.sha256(json.dumps(splits).encode()).hexdigest()


def _warnings(rows: Sequence[TableRow], label: str, skipped: set[str]) -> Iterable[str]:
    if any(r.selection_biased for r in rows):
        yield f"The scores of {label} are optimistic: the search saw the test cases (flat search)."
    if any(r.leakage_override for r in rows):
        yield f"The leakage guard was overridden for the scores of {label}; see allow_leakage of the benchmark."
    if skipped:
        yield f"{label} has no score on {', '.join(sorted(skipped))}: the rule of the metric skips these cases."
    if rows[0].protocol == EXTERNAL:
        yield f"One final ensemble of {label} was scored on the external dataset: the interval speaks of these nets."
    elif overlap_of_protocol(rows[0].protocol, 2) is None:
        yield f"How training sets overlap under {rows[0].protocol!r} is not known; nothing was corrected."
