"""The subject is the unit of every statistic: what is measured on one several times is averaged first."""

import math
from collections.abc import Iterable


def mean_by_subject(rows: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the mean score of every subject, in order of first appearance.

    >>> mean_by_subject([("a", 1.0), ("b", 0.5), ("a", 0.5)])
    {'a': 0.75, 'b': 0.5}
    """
    values: dict[str, list[float]] = {}
    for subject, value in rows:
        values.setdefault(subject, []).append(value)
    return {subject: math.fsum(v) / len(v) for subject, v in values.items()}


def mean_over_subjects(rows: Iterable[tuple[str, float | None]]) -> float | None:
    """Return the mean over subjects of their mean scores; rows without a value are left out, None where none has one.

    >>> mean_over_subjects([("a", 1.0), ("b", 0.5), ("a", 0.5), ("c", None)])
    0.625
    """
    means = mean_by_subject((subject, value) for subject, value in rows if value is not None)
    return math.fsum(means.values()) / len(means) if means else None
