"""Rankings of one benchmark set beside each other: protocols, metrics, seeds, folds."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from intima.comparison.table import BenchmarkTable, TableRow
from intima.contracts.statistics import RankAgreement, RankRange, RankVolatility
from intima.folds import EXTERNAL
from intima.metrics import METRICS
from intima.statistics.agreement import ScoreView, agreement_of_two, rank_volatility
from intima.subjects import mean_by_subject

MOST_SEEDS = 5
"""Seeds of which every pair is compared."""
FEWEST_IN_A_FOLD = 2
"""Subjects: below, the ranks of a fold are those of one image, which Friedman's test sees already."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """What was ranked, out of which table."""

    table: BenchmarkTable
    rows: Sequence[TableRow]
    """All rows of the table."""
    models: tuple[str, ...]
    metric: str
    class_name: str
    protocol: str
    higher_is_better: bool
    seed: int
    """Of the shuffles."""


def agreements_of(ranked: Ranked) -> tuple[RankAgreement, ...]:
    """Return Kendall's tau of this ranking with those of other protocols and metrics, and between seeds."""
    return (*_protocols(ranked), *_metrics(ranked), *_seeds(ranked))


def volatility_of(ranked: Ranked) -> tuple[RankVolatility, ...]:
    """Return how ranks move over folds of several subjects, over repeats and over seeds."""
    rows = _rows(ranked, metric=ranked.metric, protocol=ranked.protocol)
    first = min((r.seed, r.split[1]) for r in rows)
    folds = _views(ranked, [r for r in rows if (r.seed, r.split[1]) == first], key=lambda r: r.split[2])
    if min((len(v.subjects) for v in folds), default=0) < FEWEST_IN_A_FOLD:
        folds = []
    repeats = _views(ranked, [r for r in rows if r.seed == first[0]], key=lambda r: r.split[1])
    seeds = _views(ranked, rows, key=lambda r: r.seed)
    found = {"folds": folds, "repeats": repeats, "seeds": seeds}
    return tuple(_volatility(ranked, over, views) for over, views in found.items() if len(views) > 1)


def view_of(ranked: Ranked, metric: str) -> ScoreView | None:
    """Return the scores of one metric, larger is better, on the subjects where every model has one; None if none is."""
    rows = _rows(ranked, metric=metric, protocol=ranked.protocol)
    return _view(ranked, metric, rows) if rows else None


def _protocols(ranked: Ranked) -> Iterator[RankAgreement]:
    rows = _rows(ranked, metric=ranked.metric)
    names = sorted({r.protocol for r in rows})
    whole = [n for n in names if not any(ranked.table.missing(m, n) for m in ranked.models)]
    views = _views(ranked, [r for r in rows if r.protocol in whole], key=lambda r: r.protocol)
    return (_agreement(ranked, "protocols", a, b) for a, b in combinations(views, 2))


def _metrics(ranked: Ranked) -> Iterator[RankAgreement]:
    rows = _rows(ranked, protocol=ranked.protocol)
    views = {v.name: v for v in _views(ranked, rows, key=lambda r: r.metric)}
    mine = views.pop(ranked.metric, None)
    return (_agreement(ranked, "metrics", mine, other) for other in views.values() if mine is not None)


def _seeds(ranked: Ranked) -> Iterator[RankAgreement]:
    rows = _rows(ranked, metric=ranked.metric, protocol=ranked.protocol)
    views = _views(ranked, rows, key=lambda r: r.seed)[:MOST_SEEDS]
    return (_agreement(ranked, "seeds", a, b) for a, b in combinations(views, 2))


def _rows(ranked: Ranked, *, metric: str | None = None, protocol: str | None = None) -> list[TableRow]:
    return [
        r
        for r in ranked.rows
        if r.class_name == ranked.class_name
        and r.model in ranked.models
        and metric in {None, r.metric}
        and protocol in {None, r.protocol}
    ]


def _views(ranked: Ranked, rows: Iterable[TableRow], *, key: Callable[[TableRow], str]) -> list[ScoreView]:
    """Return one view per key, of the subjects on which every model has a score; larger is better.

    Scores in different units (some cases have no pixel size) make none.
    """
    groups: dict[str, list[TableRow]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    found = (_view(ranked, name, groups[name]) for name in sorted(groups, key=lambda n: (len(n), n)))
    return [view for view in found if view is not None]


def _view(ranked: Ranked, name: str, rows: Sequence[TableRow]) -> ScoreView | None:
    if len({r.unit for r in rows if r.value is not None}) > 1:
        return None
    higher = ranked.higher_is_better
    if rows[0].metric != ranked.metric:
        known = METRICS.get(rows[0].metric)
        if known is None or known.larger_is_better is None:
            return None
        higher = known.larger_is_better
    columns = [
        mean_by_subject((_identity(r), r.value) for r in rows if r.model == model and r.value is not None)
        for model in ranked.models
    ]
    subjects = sorted(set.intersection(*(set(column) for column in columns)))
    if not subjects:
        return None
    scores = np.array([[column[s] for column in columns] for s in subjects], dtype=np.float64)
    return ScoreView(name, tuple(subjects), scores if higher else -scores)


def _identity(row: TableRow) -> str:
    """Return a subject's name; subjects of the external dataset are others, even under the same name."""
    return f"{EXTERNAL}/{row.subject}" if row.protocol == EXTERNAL else row.subject


def _agreement(ranked: Ranked, between: str, a: ScoreView, b: ScoreView) -> RankAgreement:
    found = agreement_of_two(a, b, seed=ranked.seed)
    return RankAgreement(
        between=between, a=a.name, b=b.name, tau=found.tau, null_mean=found.null_mean, null_p=found.null_p
    )


def _volatility(ranked: Ranked, over: str, views: Sequence[ScoreView]) -> RankVolatility:
    found = rank_volatility(views, seed=ranked.seed)
    return RankVolatility(
        over=over,
        views=tuple(v.name for v in views),
        models=tuple(
            RankRange(model=m, lowest=float(r.min()), highest=float(r.max()))
            for m, r in zip(ranked.models, found.ranks.T, strict=True)
        ),
        mean_range=found.mean_range,
        null_mean_range=found.null_mean_range,
        null_p=found.null_p,
    )
