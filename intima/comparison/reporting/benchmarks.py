"""The report of a benchmark: every protocol ranked, what is missing, and how far the search flatters."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from intima.arrays import FloatVector
from intima.comparison.ranking import rank_models
from intima.comparison.reporting.phrases import (
    NONE,
    interval,
    number,
    protocol_words,
    provenance_section,
    score,
    warnings_section,
)
from intima.comparison.reporting.rankings import ranking_opening, ranking_sections
from intima.comparison.scores import Selection
from intima.comparison.table import BenchmarkTable, FetchTable, TableRow, read_table, scores_from_table
from intima.contracts.benchmark import BenchmarkSpec, IncompletePart
from intima.contracts.dataset import Dataset
from intima.contracts.report import BenchmarkReportQuery
from intima.contracts.search import Gap, HpoNoise
from intima.contracts.statistics import Ranking
from intima.errors import Invalid
from intima.reports import Block, Column, Document, Facts, Paragraph, Section, Table
from intima.schedule import trial_count
from intima.statistics.equivalence import paired_t

_MODEL = Column("Model", numeric=False)
_PROTOCOL = Column("Protocol", numeric=False)
_COSTS = (("flops", "FLOPs"), ("peak_memory_bytes", "Peak memory, bytes"), ("parameter_count", "Parameters"))


def report_benchmark(benchmark: str, query: BenchmarkReportQuery, *, fetch_table: FetchTable) -> Document:
    """Return the report of a benchmark under each of its protocols.

    A protocol that cannot be ranked (one model, too few subjects) says why in its place.

    Raises:
        NotFound: no such benchmark.
        Conflict: it has no scores yet.
        Invalid: no such metric or class.
    """
    table = fetch_table(benchmark)
    rows = [r for r in read_table(table.csv) if (r.metric, r.class_name) == (query.metric, query.class_)]
    protocols = sorted({r.protocol for r in rows})
    if not protocols:
        raise Invalid(f"The benchmark has no {query.metric} of {query.class_!r}.", pointer="/metric")
    ranked = {protocol: _ranked(benchmark, query, protocol, table) for protocol in protocols}
    found = [r for r in ranked.values() if isinstance(r, Ranking)]
    provenance = {"benchmark": benchmark, "dataset_version": table.dataset_version}
    return Document(
        title=f"Benchmark {benchmark}",
        subtitle=f"{query.metric} ({query.class_})",
        opening=_opening(table),
        sections=(
            *(section for protocol, one in ranked.items() for section in _protocol(query, protocol, one, table, rows)),
            *_incomplete(table.incomplete),
            *_hpo_noise(table.hpo_noise),
            *_costs(table.read_costs()),
            *warnings_section([*dict.fromkeys(w for r in found for w in r.warnings)]),
            provenance_section(provenance | (found[0].provenance if found else {})),
        ),
        footer=f"Intima: benchmark {benchmark}",
    )


def _ranked(benchmark: str, query: BenchmarkReportQuery, protocol: str, table: BenchmarkTable) -> Ranking | str:
    """Return the ranking under a protocol, or why there is none."""
    try:
        return rank_models(query.ranking(benchmark, protocol), fetch_table=lambda _: table)
    except Invalid as error:
        return f"Not ranked: {error.message} {error.hint}".strip()


def _opening(table: BenchmarkTable) -> tuple[Block, ...]:
    if table.spec is None or table.dataset is None:
        return ()
    facts = Facts(tuple(_about(table.spec, table.dataset)))
    if table.dataset.synthetic:
        text = "The images are synthetic: these scores say nothing about real tissue."
        return (Paragraph(text, "warning"), facts)
    return (facts,)


def _about(spec: BenchmarkSpec, dataset: Dataset) -> Iterator[tuple[str, str]]:
    trials, search = trial_count(spec), spec.search
    yield "Dataset", f"{dataset.name}: {len(dataset.cases)} cases of {len(dataset.subjects)} subjects"
    yield "Classes", ", ".join(c.name for c in dataset.classes)
    yield "Licence", dataset.licence
    yield "Preset", spec.preset
    nested = "nested" if search.nested else "flat: the search saw the test cases"
    yield "Search", f"{trials} trials by {search.sampler}, {nested}" if trials else "none"
    yield "Seeds", ", ".join(map(str, spec.seeds))
    if spec.publish:
        yield "Members of a published ensemble", str(spec.members)
    if spec.allow_leakage is not None:
        yield "Leakage guard", f"overridden: {spec.allow_leakage}"


def _protocol(
    query: BenchmarkReportQuery,
    protocol: str,
    found: Ranking | str,
    table: BenchmarkTable,
    rows: Sequence[TableRow],
) -> Iterator[Section]:
    name = protocol_words(protocol)
    title = f"{name}: {query.metric} ({query.class_})"
    if isinstance(found, str):
        yield Section(title, (Paragraph(found, "lead"), *_means(query, protocol, table, rows)))
        return
    yield Section(title, ranking_opening(found))
    for section in ranking_sections(found):
        yield Section(f"{name}: {section.title[0].lower()}{section.title[1:]}", section.blocks)


def _means(
    query: BenchmarkReportQuery, protocol: str, table: BenchmarkTable, rows: Sequence[TableRow]
) -> tuple[Table, ...]:
    """Return the mean of each model that is complete, for protocols that cannot be ranked; nothing for mixed units."""
    selection = Selection(query.metric, query.class_, protocol)
    mine = [r for r in rows if r.protocol == protocol]
    if len({r.unit for r in mine if r.value is not None}) > 1:
        return ()
    lines = []
    for label in sorted({r.model for r in mine if not table.missing(r.model, protocol)}):
        values = np.array([*scores_from_table(mine, label, selection).by_subject.values()])
        lines.append((label, score(float(values.mean())) if len(values) else NONE, _interval(values), str(len(values))))
    return (Table((_MODEL, Column("Mean"), Column("95 % interval (t)"), Column("Subjects")), tuple(lines)),)


def _interval(values: FloatVector) -> str:
    test = paired_t(values) if len(values) > 1 else None
    if test is None:
        return NONE
    found = test.interval(0.95)
    return interval((found.low, found.high))


def _incomplete(parts: Sequence[IncompletePart]) -> tuple[Section, ...]:
    if not parts:
        return ()
    rows = tuple((p.model, p.protocol or "published model", str(p.missing), p.reason) for p in parts)
    columns = _MODEL, _PROTOCOL, Column("Missing units"), Column("Reason", numeric=False)
    return (Section("What failed", (Table(columns, rows, "Left out where it is incomplete."),)),)


def _hpo_noise(audits: Sequence[HpoNoise]) -> tuple[Section, ...]:
    if not audits:
        return ()
    rows = tuple(
        (
            a.model,
            a.protocol + (" (flat search)" if a.optimistic else ""),
            number(a.selection.mean) if a.selection else NONE,
            _corrected(a.selection),
            number(a.refitted.mean),
            _corrected(a.refitted),
        )
        for a in audits
    )
    columns = (
        _MODEL,
        _PROTOCOL,
        Column("Winning trial: inner − outer"),
        Column("95 % interval"),
        Column("Refitted net: inner − outer"),
        Column("95 % interval"),
    )
    note = "Macro Dice; intervals corrected for overlapping training sets. Above 0: the inner score flatters."
    return (Section("How far does the search flatter?", (Table(columns, rows, note),)),)


def _corrected(gap: Gap | None) -> str:
    return interval(gap.ci95_corrected) if gap else NONE


def _costs(costs: Mapping[str, Mapping[str, float]]) -> tuple[Section, ...]:
    if not costs:
        return ()
    rows = tuple((m, *(_amount(costs[m].get(rule)) for rule, _ in _COSTS)) for m in sorted(costs))
    columns = _MODEL, *(Column(title) for _, title in _COSTS)
    return (Section("What the published models cost", (Table(columns, rows, "One tile, all members."),)),)


def _amount(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"
