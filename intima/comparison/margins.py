"""Derive the largest difference that does not matter: from observers, or from an endpoint."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from intima import __version__
from intima.arrays import FloatMatrix
from intima.comparison.scores import Selection, higher_is_better
from intima.comparison.table import FetchTable, TableRow, read_table, select_scores
from intima.comparison.words import listed
from intima.contracts.margin import EndpointScores, MarginAnswer, MarginRequest, ObserverBias, ObserverScores, Slope
from intima.errors import Invalid
from intima.metrics import METRICS
from intima.statistics.equivalence import paired_t
from intima.statistics.margins import FEWEST_SUBJECTS, EstimateWithInterval, slope_within_subjects, within_subject_sd
from intima.statistics.samples import as_scores, micro, need_subjects
from intima.subjects import mean_by_subject

_SMALLEST, _LARGEST = 1e-6, 1e9
"""Of a margin."""
_ALPHA = 0.05
_MOST_COLUMNS = 100
"""Observers or models."""


@dataclass(frozen=True, slots=True)
class _Gap:
    """A margin with its 95 % interval."""

    value: float | None
    low: float
    high: float | None
    margin: float
    """At most ``low``."""


@dataclass(frozen=True, slots=True)
class _Both:
    """A metric and the error of an endpoint, (subjects, models) each."""

    models: Sequence[str]
    subjects: Sequence[str]
    metric: FloatMatrix
    errors: FloatMatrix
    notes: tuple[str, ...] = ()


def derive_margin(request: MarginRequest, *, fetch_table: FetchTable) -> MarginAnswer:
    """Return a margin that stands on data, in units of the metric.

    From observers: the standard deviation between observers on one subject. From an endpoint: the largest change of
    the endpoint that does not matter over the slope at which its error grows as the metric gets worse. The margin is
    the lower limit of its 95 % interval, as in the fixed-margin method of the FDA's guidance on non-inferiority trials
    (2016): what is uncertain about it must not help to show equivalence.

    Raises:
        Invalid: fewer than five subjects, one observer or model, or a subject that not all of them scored.
        NotFound: no such benchmark.
    """
    if request.observers is not None:
        return _from_observers(request, request.observers)
    assert request.endpoint is not None
    return _from_endpoint(request, request.endpoint, fetch_table)


def _from_observers(request: MarginRequest, given: ObserverScores) -> MarginAnswer:
    scores = as_scores(given.scores, pointer="/observers/scores").tolist()
    names, subjects, table = _table(given.observers, given.subjects, scores, what="observer", pointer="/observers")
    found = within_subject_sd(table)
    biases = _biases(names, table)
    if found is None:
        sentence = f"The {len(names)} observers agree on every one of {len(subjects)} subjects: that gives no margin."
        return _answer(request, subjects, None, sentence=sentence, biases=biases)
    notes = []
    if apart := [f"{b.a} and {b.b} ({b.difference:.3g})" for b in biases if b.systematic]:
        notes.append(f"Observers differ systematically, which is part of the margin: {listed(apart)}.")
    if len(names) == 2:
        notes.append("Two observers say little about others; a third would tell how far these two are typical.")
    sentence = (
        f"On one subject the {request.metric} by {len(names)} observers scatters with a standard deviation of"
        f" {found.value:.3g}; a difference between models below {found.interval.low:.3g}, the lower 95 % limit on"
        f" {len(subjects)} subjects, is less than that."
    )
    gap = _Gap(found.value, found.interval.low, found.interval.high, min(found.interval.low, _LARGEST))
    return _answer(request, subjects, gap, sentence=sentence, warnings=notes, biases=biases, basis="inter_observer")


def _from_endpoint(request: MarginRequest, given: EndpointScores, fetch_table: FetchTable) -> MarginAnswer:
    higher, notes = higher_is_better(request.metric, request.higher_is_better)
    if (known := METRICS.get(given.endpoint)) is not None and known.larger_is_better:
        raise Invalid(
            f"{given.endpoint} is no error: more of it is better.",
            hint="Name the error of an endpoint, e.g. im_error or stenosis_error.",
            pointer="/endpoint/endpoint",
        )
    found = _of_request(given) if given.benchmark is None else _of_benchmark(request, given, fetch_table)
    notes += found.notes
    slope = slope_within_subjects(-found.metric if higher else found.metric, found.errors)
    if slope is None:
        sentence = (
            f"{request.metric} or {given.endpoint} differs between models on fewer than two subjects: that gives no"
            " margin."
        )
        return _answer(request, found.subjects, None, sentence=sentence, warnings=notes)
    shown = Slope(value=slope.value, ci95=(slope.interval.low, slope.interval.high))
    per_unit = (
        f"{given.endpoint} grows by {slope.value:.3g} per unit of {request.metric} lost between models on one subject"
    )
    if shown.ci95[1] <= 0:
        sentence = (
            f"{per_unit} (95 % interval {shown.ci95[0]:.3g} to {shown.ci95[1]:.3g}): it does not get worse with"
            f" {request.metric}, so that no gap can be derived."
        )
        return _answer(request, found.subjects, None, sentence=sentence, warnings=notes, slope=shown)
    gap, widest = _gap(slope, given.largest), float(np.max(np.ptp(found.metric, axis=1)))
    if gap.high is None:
        notes += (f"That {request.metric} moves {given.endpoint} at all is not shown; the margin rests on the limit.",)
    margin = min(gap.low, widest)
    if gap.low > widest:
        notes += (f"Cut to {widest:.3g}, the largest gap between models seen on one subject: nothing is known beyond.",)
    sentence = (
        f"{per_unit}, with 95 % confidence by no more than {shown.ci95[1]:.3g} ({len(found.subjects)} subjects,"
        f" {len(found.models)} models): a gap below {margin:.3g} moves it by less than {given.largest:.3g}."
    )
    gap = replace(gap, margin=margin)
    return _answer(request, found.subjects, gap, sentence=sentence, warnings=notes, slope=shown, basis="endpoint")


def _gap(slope: EstimateWithInterval, largest: float) -> "_Gap":
    """Return the gap in the metric that moves the endpoint by ``largest``; the slope's upper limit is above zero."""

    def gap(at: float) -> float:
        return min(_LARGEST, largest / max(at, largest / _LARGEST))

    value, low, high = slope.value, slope.interval.low, slope.interval.high
    return _Gap(gap(value) if value > 0 else None, gap(high), gap(low) if low > 0 else None, gap(high))


def _answer(
    request: MarginRequest,
    subjects: Sequence[str],
    found: "_Gap | None",
    *,
    sentence: str,
    warnings: Sequence[str] = (),
    biases: tuple[ObserverBias, ...] = (),
    slope: Slope | None = None,
    basis: str = "stated",
) -> MarginAnswer:
    enough = found is None or found.margin >= _SMALLEST
    return MarginAnswer.model_validate(
        {
            "metric": request.metric,
            "class": request.class_,
            "n_units": len(subjects),
            "margin": {"value": found.margin, "basis": basis} if found and enough else None,
            "estimate": found.value if found else None,
            "low": found.low if found else None,
            "high": found.high if found else None,
            "observer_biases": biases,
            "slope": slope,
            "sentence": sentence if enough else f"{sentence} That is too small for a margin: scores have six decimals.",
            "warnings": tuple(warnings),
            "provenance": {
                "intima_version": __version__,
                "benchmark": request.endpoint.benchmark if request.endpoint else None,
            },
        }
    )


def _biases(names: Sequence[str], table: FloatMatrix) -> tuple[ObserverBias, ...]:
    found, pairs = [], list(combinations(range(len(names)), 2))
    for i, j in pairs:
        differences = table[:, i] - table[:, j]
        test = paired_t(differences)
        interval = test.interval(0.95) if test else None
        p = test.p_difference() if test else float(not np.any(micro(differences)))
        bias = ObserverBias(
            a=names[i],
            b=names[j],
            difference=float(np.mean(differences)),
            ci95=(interval.low, interval.high) if interval else None,
            systematic=p * len(pairs) < _ALPHA,
        )
        found.append(bias)
    return tuple(found)


def _of_request(given: EndpointScores) -> _Both:
    models, subjects = given.models or (), given.subjects or ()
    columns = [
        as_scores(values or (), pointer=f"/endpoint/{name}").tolist()
        for name, values in (("scores", given.scores), ("endpoint_errors", given.endpoint_errors))
    ]
    names, found, metric = _table(models, subjects, columns[0], what="model", pointer="/endpoint")
    _, _, errors = _table(models, subjects, [abs(v) for v in columns[1]], what="model", pointer="/endpoint")
    return _Both(names, found, metric, errors)


def _of_benchmark(request: MarginRequest, given: EndpointScores, fetch_table: FetchTable) -> _Both:
    """Return both metrics of complete contenders on the cases where both have a value."""
    table = fetch_table(given.benchmark or "")
    rows = read_table(table.csv)
    protocol = given.protocol
    chosen = []
    for metric, class_name, pointer in (
        (request.metric, request.class_, ""),
        (given.endpoint, given.endpoint_class, "/endpoint"),
    ):
        try:
            chosen.append(select_scores(rows, Selection(metric, class_name, protocol)))
        except Invalid as error:
            place = {"/metric": "/endpoint/endpoint", "/class": "/endpoint/endpoint_class"} if pointer else {}
            at = "/endpoint/protocol" if error.pointer == "/protocol" else place.get(error.pointer, error.pointer)
            raise Invalid(error.message, code=error.code, hint=error.hint, pointer=at) from error
    values = [{_key(r): r.value for r in part if r.value is not None} for part in chosen]
    shared = sorted(values[0].keys() & values[1].keys())
    complete = [k for k in shared if not table.missing(k[0], chosen[0][0].protocol)]
    if not shared:
        raise Invalid(
            f"No case has both {request.metric} and {given.endpoint}.", code="unpaired", pointer="/endpoint/endpoint"
        )
    left_out = sorted({k[0] for k in shared} - {k[0] for k in complete})
    if not complete:
        raise Invalid(
            f"No contender is complete: some folds of {listed(left_out)} failed.",
            code="incomplete",
            pointer="/endpoint/benchmark",
        )
    models, subjects = [k[0] for k in complete], [k[1] for k in complete]
    columns = [values[0][k] for k in complete], [abs(values[1][k]) for k in complete]
    names, kept, metrics = _table(models, subjects, columns[0], what="model", pointer="/endpoint/benchmark")
    _, _, errors = _table(models, subjects, columns[1], what="model", pointer="/endpoint/benchmark")
    skipped = sorted({r.subject for r in chosen[0]} - set(kept))
    notes: tuple[str, ...]
    notes = (f"Derived from the scores of {given.benchmark}: comparing those under this margin is exploratory.",)
    notes += tuple(f"{m} is left out: some of its folds failed." for m in left_out)
    if skipped:
        notes += (f"Left out, as {request.metric} or {given.endpoint} has no value: {listed(skipped)}.",)
    return _Both(names, kept, metrics, errors, notes)


def _key(row: TableRow) -> tuple[str, str, str, str, str, str]:
    return row.model, row.subject, row.case, row.split[1], row.split[2], row.seed


def _table(
    columns: Sequence[str], subjects: Sequence[str], values: Sequence[float], *, what: str, pointer: str
) -> tuple[list[str], list[str], FloatMatrix]:
    """Return names of columns and subjects, and the (subjects, columns) means.

    Raises:
        Invalid: one column, too few subjects, or a subject that some column lacks.
    """
    names = list(dict.fromkeys(columns))
    if len(names) < 2:
        raise Invalid(f"Got {len(names)} {what}; a margin needs at least 2.", code="too_few", pointer=pointer)
    if len(names) > _MOST_COLUMNS:
        raise Invalid(f"Got {len(names)} {what}s; at most {_MOST_COLUMNS}.", pointer=pointer)
    rows: dict[str, list[tuple[str, float]]] = {name: [] for name in names}
    for name, subject, value in zip(columns, subjects, values, strict=True):
        rows[name].append((subject, value))
    found = {name: mean_by_subject(mine) for name, mine in rows.items()}
    everyone = list(dict.fromkeys(subjects))
    need_subjects(len(everyone), FEWEST_SUBJECTS, pointer=pointer, purpose="a margin")
    for name in names:
        if missing := [s for s in everyone if s not in found[name]]:
            raise Invalid(
                f"{name} has no score on {listed(missing)}.",
                code="unpaired",
                hint=f"Every {what} needs a score on every subject.",
                pointer=pointer,
            )
    return names, everyone, np.array([[found[name][s] for name in names] for s in everyone], dtype=np.float64)
