"""Errors of measures on held-out sections, pooled over subjects."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from intima.arrays import FloatVector
from intima.contracts.evidence import MeasuredPair, MeasureScale, Residual
from intima.prediction_intervals import FEWEST_SUBJECTS, fit_spread, on_scale, scale_of, spread_on_scale
from intima.subjects import mean_by_subject


@dataclass(frozen=True, slots=True)
class PairOf:
    """A measure of one vessel of a subject, predicted and true."""

    subject: str
    pair: MeasuredPair


def pool_residuals(pairs: Iterable[PairOf]) -> tuple[Residual, ...]:
    """Return one residual for every measure, in the order of their first appearance."""
    by_name: dict[str, list[PairOf]] = {}
    for item in pairs:
        by_name.setdefault(item.pair.name, []).append(item)
    return tuple(_pooled(name, found) for name, found in by_name.items())


def _pooled(name: str, pairs: Sequence[PairOf]) -> Residual:
    unit = _commonest_unit(pairs)
    alike = [p for p in pairs if p.pair.unit == unit]
    scale = scale_of(name)
    subjects = len({p.subject for p in alike})
    floor = 0.0
    if scale == "log":
        truths = mean_by_subject((p.subject, p.pair.truth) for p in alike)
        floor = math.fsum(truths.values()) / len(truths)
    bare = Residual(
        name=name,
        scale=scale,
        floor=floor,
        unit=unit,
        subjects=subjects,
        sections=len(alike),
        bias=None,
        sd=None,
        base=None,
        factor=None,
        reason="",
    )
    if subjects < FEWEST_SUBJECTS:
        reason = f"it was measured on {subjects} held-out subject(s), and {FEWEST_SUBJECTS} are needed"
        return bare.model_copy(update={"reason": reason})
    if scale == "log" and floor <= 0:
        return bare.model_copy(update={"reason": "it is 0 on all held-out sections"})
    return _fitted(bare, alike)


def _commonest_unit(pairs: Sequence[PairOf]) -> str:
    """Return the unit that most subjects have; µm before px where as many have either."""
    seen = Counter(unit for _, unit in sorted({(p.subject, p.pair.unit) for p in pairs}))
    return max(sorted(seen), key=lambda unit: (seen[unit], unit))


def _fitted(bare: Residual, pairs: Sequence[PairOf]) -> Residual:
    errors = np.array([_error(p.pair, bare.scale, bare.floor) for p in pairs])
    spreads = np.array([_spread(p.pair, bare.scale, bare.floor) for p in pairs])
    sections = Counter(p.subject for p in pairs)
    weights = np.array([1 / sections[p.subject] for p in pairs])
    found = fit_spread(errors, spreads, weights)
    if found is None:
        return bare.model_copy(update={"reason": "no error was seen on the held-out sections"})
    bias, sd = _moments([p.subject for p in pairs], errors)
    return bare.model_copy(update={"bias": bias, "sd": sd, "base": found.base, "factor": found.factor})


def _error(pair: MeasuredPair, scale: MeasureScale, floor: float) -> float:
    return on_scale(pair.predicted, scale=scale, floor=floor) - on_scale(pair.truth, scale=scale, floor=floor)


def _spread(pair: MeasuredPair, scale: MeasureScale, floor: float) -> float:
    return spread_on_scale(pair.pass_sd or 0.0, pair.predicted, scale=scale, floor=floor)


def _moments(subjects: Sequence[str], errors: FloatVector) -> tuple[float, float]:
    """Return the mean over subjects, and the standard deviation of one section of a new subject about it.

    Means of k sections vary by the variance between subjects plus 1/k of that within; a single section has both whole.
    """
    groups: dict[str, list[float]] = {}
    for subject, error in zip(subjects, errors.tolist(), strict=True):
        groups.setdefault(subject, []).append(error)
    means = np.array([np.mean(g) for g in groups.values()])
    free = sum(len(g) - 1 for g in groups.values())
    within = sum(_squares(g) for g in groups.values()) / free if free else 0.0
    shared = float(np.mean([1 / len(g) for g in groups.values()]))
    variance = float(means.var(ddof=1)) + within * (1 - shared)
    return float(means.mean()), math.sqrt(variance)


def _squares(group: Sequence[float]) -> float:
    return float(np.sum((np.asarray(group) - np.mean(group)) ** 2))
