"""From score rows to one line per contender and protocol."""

import math
from collections import defaultdict
from collections.abc import Sequence

from scipy import stats

from intima.contracts.benchmark import LeaderboardEntry, RankAgreement, ScoreRow
from intima.folds import EXTERNAL
from intima.labels import MACRO
from intima.subjects import mean_by_subject

METRIC = "dice"


def rank_contenders(rows: Sequence[ScoreRow]) -> tuple[LeaderboardEntry, ...]:
    """Return the mean macro Dice of each contender under each protocol, best first within a protocol.

    Sections, repeats and seeds of one subject are averaged first: the subject is the unit. The interval is Student's t
    over subjects, and None with fewer than two.
    """
    values: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for row in rows:
        if row.metric == METRIC and row.class_ == MACRO and row.value is not None:
            values[row.protocol, row.model].append((row.subject, row.value))
    entries = [_entry(protocol, model, scores) for (protocol, model), scores in values.items()]
    return tuple(sorted(entries, key=lambda e: (e.protocol, -e.mean, e.model)))


def compare_rankings(leaderboard: Sequence[LeaderboardEntry]) -> tuple[RankAgreement, ...]:
    """Return how alike each protocol and the external dataset rank the contenders; empty without external scores."""
    means: dict[str, dict[str, float]] = defaultdict(dict)
    for entry in leaderboard:
        means[entry.protocol][entry.model] = entry.mean
    outside = means.pop(EXTERNAL, None)
    return () if outside is None else tuple(_agreement(p, means[p], outside) for p in sorted(means))


def _agreement(protocol: str, inside: dict[str, float], outside: dict[str, float]) -> RankAgreement:
    shared = sorted(inside.keys() & outside.keys())
    pairs = [[side[model] for model in shared] for side in (inside, outside)]
    reason = None
    if len(shared) < 2:
        reason = f"{len(shared)} contender(s) have both scores; an order needs 2."
    elif any(len(set(side)) == 1 for side in pairs):
        reason = "All contenders are tied in one of the two."
    tau = None if reason else float(stats.kendalltau(*pairs).statistic)
    return RankAgreement(protocol=protocol, kendall_tau=tau, reason=reason)


def _entry(protocol: str, model: str, scores: list[tuple[str, float]]) -> LeaderboardEntry:
    means = list(mean_by_subject(scores).values())
    return LeaderboardEntry(
        model=model,
        protocol=protocol,
        metric=f"{METRIC}/{MACRO}",
        mean=math.fsum(means) / len(means),
        ci95=t_interval(means),
        n_subjects=len(means),
    )


def t_interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float] | None:
    """Return Student's t interval of a mean; None for fewer than two values."""
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * spread / math.sqrt(n)
    return (mean - half, mean + half)
