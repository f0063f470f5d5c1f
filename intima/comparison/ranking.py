"""Rank models over subjects, with the stability of the ranks and what no difference at all would look like."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from intima import __version__
from intima.arrays import FloatMatrix, FloatVector
from intima.comparison.agreement import Ranked, agreements_of, volatility_of
from intima.comparison.choosing import choose_cheapest
from intima.comparison.paradox import paradox_of
from intima.comparison.scores import (
    Selection,
    SubjectScores,
    higher_is_better,
    overlap_of_protocol,
    start_warning,
)
from intima.comparison.table import (
    BenchmarkTable,
    FetchTable,
    TableRow,
    read_table,
    scores_from_table,
    select_scores,
)
from intima.comparison.words import listed
from intima.contracts.statistics import (
    MOST_MODELS,
    Attainability,
    CostRule,
    FriedmanResult,
    NemenyiResult,
    RankedModel,
    RankedPair,
    Ranking,
    RankingChoice,
    RankingRequest,
    Stability,
)
from intima.errors import Invalid
from intima.statistics import ranking as ranks
from intima.statistics.equivalence import TrainingOverlap, paired_t, sign_flip_differences
from intima.statistics.intervals import FEWEST_FOR_BOOTSTRAP
from intima.statistics.samples import as_matrix, need_subjects
from intima.subjects import mean_by_subject

FREQUENCY_OF_A_WINNER = 0.95
"""Bootstrap frequency that is rare among models without any difference (1.4 % at nine subjects and six models)."""


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Scores of several models on the same subjects."""

    models: tuple[str, ...]
    subjects: tuple[str, ...]
    scores: FloatMatrix
    """(subjects, models) in units of the metric."""
    warnings: tuple[str, ...] = ()
    source: str = "request"
    origin: tuple[BenchmarkTable, Sequence[TableRow], str] | None = None
    """The benchmark's table, all of its rows and the protocol; None for raw scores."""

    @property
    def overlap(self) -> TrainingOverlap | None:
        """How the training sets behind the scores overlap; None where they do not or it is not known."""
        return None if self.origin is None else overlap_of_protocol(self.origin[2], len(self.subjects))


def rank_models(request: RankingRequest, *, fetch_table: FetchTable) -> Ranking:
    """Rank models by their mean score.

    A winner is announced only where it wins in 95 % of bootstrap resamples, Friedman's test (Iman-Davenport) passes,
    there are five subjects or more, and its difference from every other model varies over subjects.

    Raises:
        Invalid: fewer than two models or subjects, or a subject without a score of some model.
        NotFound: no such benchmark.
    """
    higher, notes = higher_is_better(request.metric, request.higher_is_better)
    table = _raw_table(request) if request.benchmark is None else _benchmark_table(request, fetch_table)
    oriented = table.scores if higher else -table.scores
    found = ranks.rank_stability(oriented, seed=request.seed, draws=request.resamples)
    test = ranks.friedman(oriented)
    pairs = _pairs(table, oriented, request.seed)
    ranked_rows = _ranked_rows(table, request, higher=higher)
    order = np.lexsort((ranks.within_ranks(oriented).mean(axis=0), ranks.mean_ranks(oriented)))
    ranked = _ranked(table, oriented, found, order)
    winner = _winner(ranked, pairs, test, request.alpha, len(table.subjects))
    tiers = _tiers(table, oriented, pairs, request.alpha)
    attainable = _attainability(len(pairs), len(table.subjects), request.alpha)
    return Ranking(
        **{"class": request.class_},
        metric=request.metric,
        n_units=len(table.subjects),
        alpha=request.alpha,
        models=ranked,
        winner=winner,
        tiers=tiers,
        friedman=_friedman(test, len(table.models), ranks.friedman_permutation_p(oriented, seed=request.seed)),
        nemenyi=_nemenyi(ranked, len(table.subjects), request.alpha),
        pairs=pairs,
        attainability=attainable,
        stability=_stability(found, ranked[0], int(order[0])),
        agreements=agreements_of(ranked_rows) if ranked_rows else (),
        volatility=volatility_of(ranked_rows) if ranked_rows else (),
        paradox=paradox_of(ranked_rows, overlap=table.overlap) if ranked_rows else (),
        choice=_choice(table, oriented, request),
        sentence=_sentence(ranked, winner, found, len(table.subjects)) + _tied(winner, tiers, table.overlap),
        warnings=(*notes, *table.warnings, *_warnings(len(table.subjects), attainable, pairs)),
        provenance={"intima_version": __version__, "source": table.source, "seed": request.seed},
    )


def _raw_table(request: RankingRequest) -> ScoreTable:
    rows, models, subjects = request.scores or (), request.models or (), request.subjects or ()
    matrix = as_matrix(rows)
    if request.rows == "models":
        matrix = np.ascontiguousarray(matrix.T)
    if matrix.shape != (len(subjects), len(models)):
        raise Invalid(
            f"Got a matrix of {len(rows)} rows and {len(rows[0])} columns for {len(subjects)} subjects and"
            f" {len(models)} models, with rows of {request.rows}.",
            code="shape",
            hint='Give one row per subject, or set rows to "models" for one row per model.',
            pointer="/scores",
        )
    if len(set(models)) < len(models):
        raise Invalid("Two models have the same name.", code="duplicate", pointer="/models")
    return _averaged(models, subjects, matrix)


def _averaged(models: Sequence[str], subjects: Sequence[str], matrix: FloatMatrix) -> ScoreTable:
    """Average several rows of one subject."""
    columns = [mean_by_subject(zip(subjects, column.tolist(), strict=True)) for column in matrix.T]
    names = tuple(columns[0])
    need_subjects(len(names), 2, pointer="/subjects", purpose="a ranking")
    note = f"{len(subjects)} rows were averaged within {len(names)} subjects."
    scores = np.array([[column[s] for column in columns] for s in names], dtype=np.float64)
    return ScoreTable(tuple(models), names, scores, (note,) if len(names) < len(subjects) else ())


def _benchmark_table(request: RankingRequest, fetch_table: FetchTable) -> ScoreTable:
    table = fetch_table(request.benchmark or "")
    rows = read_table(table.csv)
    chosen = select_scores(rows, Selection(request.metric, request.class_, request.protocol))
    left_out = {m for m in {r.model for r in chosen} if table.missing(m, chosen[0].protocol)}
    labels = sorted({r.model for r in chosen} - left_out)
    if not 2 <= len(labels) <= MOST_MODELS:
        raise Invalid(
            f"The benchmark has {len(labels)} complete model{'s' if len(labels) != 1 else ''} under this protocol;"
            f" a ranking needs 2 to {MOST_MODELS}.",
            code="too_few_models",
            pointer="/benchmark",
        )
    selection = Selection(request.metric, request.class_, chosen[0].protocol)
    found = [scores_from_table(chosen, label, selection) for label in labels]
    joined = _joined(found, f"benchmark {request.benchmark}")
    notes = tuple(f"{m} is left out: some of its folds failed." for m in sorted(left_out))
    origin = table, rows, chosen[0].protocol
    return replace(joined, warnings=(*joined.warnings, *notes), origin=origin)


def _ranked_rows(table: ScoreTable, request: RankingRequest, *, higher: bool) -> Ranked | None:
    if table.origin is None:
        return None
    source, rows, protocol = table.origin
    return Ranked(
        table=source,
        rows=rows,
        models=table.models,
        metric=request.metric,
        class_name=request.class_,
        protocol=protocol,
        higher_is_better=higher,
        seed=request.seed,
    )


def _joined(scores: Sequence[SubjectScores], source: str) -> ScoreTable:
    """Join contenders on their subjects; refuse where one has a subject that another lacks."""
    subjects = sorted({s for one in scores for s in one.by_subject})
    for one in scores:
        if missing := [s for s in subjects if s not in one.by_subject]:
            raise Invalid(
                f"{one.label} has no score on {listed(missing)}.",
                code="unpaired",
                hint="A ranking needs every model on every subject.",
                pointer="/benchmark",
            )
    need_subjects(len(subjects), 2, pointer="/benchmark", purpose="a ranking")
    warnings = dict.fromkeys([*(w for one in scores for w in one.warnings), *start_warning(scores)])
    if any(one.overlap for one in scores):
        warnings["P-values and intervals of pairs speak about these trained models; training sets overlap."] = None
    matrix = np.array([[one.by_subject[s] for one in scores] for s in subjects], dtype=np.float64)
    return ScoreTable(tuple(s.label for s in scores), tuple(subjects), matrix, tuple(warnings), source)


def _ranked(
    table: ScoreTable, oriented: FloatMatrix, found: ranks.RankStability, order: NDArray[np.intp]
) -> tuple[RankedModel, ...]:
    places, average = ranks.mean_ranks(oriented), ranks.within_ranks(oriented).mean(axis=0)
    means = table.scores.mean(axis=0)
    left_out = found.leave_one_out_ranks
    return tuple(
        RankedModel(
            model=table.models[i],
            mean=float(means[i]),
            rank=float(places[i]),
            average_rank=float(average[i]),
            p_best=_share(found.p_best[i]),
            rank_distribution=tuple(_share(p) for p in found.distribution[i]),
            leave_one_out_ranks=(float(left_out[:, i].min()), float(left_out[:, i].max())),
        )
        for i in order
    )


def _share(value: float) -> float:
    return float(min(1.0, max(0.0, value)))


def _winner(
    models: Sequence[RankedModel], pairs: Sequence[RankedPair], test: ranks.Friedman, alpha: float, subjects: int
) -> str | None:
    first = models[0]
    sure = first.p_best >= FREQUENCY_OF_A_WINNER and test.iman_davenport_p < alpha
    judged = all(pair.ci95 for pair in pairs if first.model in {pair.a, pair.b})
    return first.model if sure and judged and first.rank == 1 and subjects >= FEWEST_FOR_BOOTSTRAP else None


def _friedman(test: ranks.Friedman, models: int, permutation_p: float) -> FriedmanResult:
    return FriedmanResult(
        chi2=test.chi2,
        degrees=models - 1,
        p=test.p,
        iman_davenport_f=test.iman_davenport_f,
        iman_davenport_p=test.iman_davenport_p,
        permutation_p=permutation_p,
        kendall_w=test.kendall_w,
    )


def _nemenyi(models: Sequence[RankedModel], subjects: int, alpha: float) -> NemenyiResult:
    critical = ranks.nemenyi_critical_difference(len(models), subjects, alpha=alpha)
    ordered = sorted(models, key=lambda m: m.average_rank)
    reach = [
        max(j for j, other in enumerate(ordered) if other.average_rank - first.average_rank <= critical)
        for first in ordered
    ]
    groups = [
        tuple(m.model for m in ordered[i : last + 1]) for i, last in enumerate(reach) if i == 0 or last > reach[i - 1]
    ]
    return NemenyiResult(critical_difference=critical, groups=tuple(groups))


def _pairs(table: ScoreTable, oriented: FloatMatrix, seed: int) -> tuple[RankedPair, ...]:
    index = list(combinations(range(len(table.models)), 2))
    first, second = np.array(index).T
    p = sign_flip_differences(oriented[:, first] - oriented[:, second], seed=seed)
    adjusted = ranks.holm(p)
    nemenyi = ranks.nemenyi_p(ranks.within_ranks(oriented).mean(axis=0), len(table.subjects))
    return tuple(
        RankedPair(
            a=table.models[i],
            b=table.models[j],
            difference=float(np.mean(table.scores[:, i] - table.scores[:, j])),
            ci95=_interval(table.scores[:, i] - table.scores[:, j]),
            p_difference=float(p[place]),
            p_holm=float(adjusted[place]),
            p_nemenyi=float(nemenyi[i, j]),
        )
        for place, (i, j) in enumerate(index)
    )


def _interval(differences: FloatVector) -> tuple[float, float] | None:
    test = paired_t(differences)
    if test is None:
        return None
    interval = test.interval(0.95)
    return interval.low, interval.high


def _choice(table: ScoreTable, oriented: FloatMatrix, request: RankingRequest) -> RankingChoice | None:
    if request.margin is None:
        return None
    rule: CostRule = "cost" if table.origin is None else request.cheapest_by
    if table.origin is None:
        costs = dict(zip(request.models or (), request.costs or (), strict=False))
    else:
        costs = {model: found[rule] for model, found in table.origin[0].read_costs().items() if rule in found}
    return choose_cheapest(
        table.models,
        oriented,
        margin=request.margin,
        alpha=request.alpha,
        overlap=table.overlap,
        costs=costs,
        rule=rule,
    )


def _tiers(
    table: ScoreTable, oriented: FloatMatrix, pairs: Sequence[RankedPair], alpha: float
) -> tuple[tuple[str, ...], ...]:
    """Return tiers by sign flips, or by corrected t tests where training sets overlap, as in a verdict; Holm."""
    index, overlap = list(combinations(range(len(table.models)), 2)), table.overlap
    adjusted = np.array([pair.p_holm if pair.ci95 else 1.0 for pair in pairs])
    if overlap is not None:
        tests = [paired_t(oriented[:, i] - oriented[:, j], overlap=overlap) for i, j in index]
        adjusted = ranks.holm(np.array([1.0 if test is None else test.p_difference() for test in tests]))
    p = np.ones((len(table.models), len(table.models)))
    for (i, j), value in zip(index, adjusted, strict=True):
        p[i, j] = p[j, i] = value
    found = ranks.tiers(oriented.mean(axis=0), p, alpha=alpha)
    return tuple(tuple(table.models[i] for i in tier) for tier in found)


def _attainability(pairs: int, subjects: int, alpha: float) -> Attainability:
    needed, smallest = ranks.subjects_for_attainable(pairs, alpha=alpha), ranks.smallest_exact_p(subjects)
    attainable = subjects >= needed
    pronoun = "can" if attainable else "cannot"
    return Attainability(
        comparisons=pairs,
        smallest_p=smallest,
        attainable=attainable,
        subjects_needed=needed,
        sentence=(
            f"With {subjects} subjects the smallest exact p is {smallest:.2g}; with {pairs} pairs Holm's first step"
            f" needs {alpha / pairs:.2g}, so data of this size {pronoun} be significant"
            + ("." if attainable else f", whatever they are; {needed} subjects would do.")
        ),
    )


def _stability(found: ranks.RankStability, first: RankedModel, column: int) -> Stability:
    return Stability(
        winner_frequency=first.p_best,
        null_frequency=found.null_frequency,
        null_p=found.null_p,
        leave_one_out_winner_changes=int(np.sum(found.leave_one_out_ranks[:, column] != first.rank)),
        exact=found.exact,
        resamples=found.resamples,
    )


def _sentence(models: Sequence[RankedModel], winner: str | None, found: ranks.RankStability, subjects: int) -> str:
    first = models[0]
    seen = (
        f"it wins {first.p_best:.0%} of resamples, where models without any difference show {found.null_frequency:.0%}"
    )
    if winner is not None:
        return f"{winner} has the best mean on {subjects} subjects and keeps it: {seen}."
    return f"{first.model} has the best mean on these {subjects} subjects, but no winner can be named: {seen}."


def _tied(winner: str | None, tiers: Sequence[Sequence[str]], overlap: TrainingOverlap | None) -> str:
    """Return what the tier of a winner says against it."""
    others = [m for tier in tiers if winner in tier for m in tier if m != winner]
    if not others:
        return ""
    why = "once the overlap of training sets is allowed for" if overlap else "after Holm's correction"
    return f" {listed(others, most=5)} {'is' if len(others) == 1 else 'are'} not shown to be worse {why}."


def _warnings(subjects: int, attainable: Attainability, pairs: Sequence[RankedPair]) -> tuple[str, ...]:
    found = [] if attainable.attainable else [attainable.sentence]
    flat = [f"{p.a} and {p.b}" for p in pairs if p.ci95 is None]
    if flat:
        found.append(f"Without spread to judge by, the same difference on every subject: {listed(flat, most=3)}.")
    if subjects < FEWEST_FOR_BOOTSTRAP:
        found.append("Below 5 subjects no winner is named.")
    return tuple(found)
