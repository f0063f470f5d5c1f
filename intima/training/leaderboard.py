"""From score rows to one line per contender and protocol."""

import math
from collections import defaultdict
from collections.abc import Sequence

from scipy import stats

from intima.contracts.benchmark import LeaderboardEntry, ScoreRow
from intima.labels import MACRO

METRIC = "dice"


def rank_contenders(rows: Sequence[ScoreRow]) -> tuple[LeaderboardEntry, ...]:
    """Return the mean macro Dice of each contender under each protocol, best first within a protocol.

    Sections, repeats and seeds of one subject are averaged first: the subject is the unit. The interval is Student's t
    over subjects, and None with fewer than two.
    """
    values: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.metric == METRIC and row.class_ == MACRO and row.value is not None:
            values[row.protocol, row.model][row.subject].append(row.value)
    entries = [_entry(protocol, model, subjects) for (protocol, model), subjects in values.items()]
    return tuple(sorted(entries, key=lambda e: (e.protocol, -e.mean, e.model)))


def _entry(protocol: str, model: str, subjects: dict[str, list[float]]) -> LeaderboardEntry:
    means = [math.fsum(v) / len(v) for v in subjects.values()]
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
