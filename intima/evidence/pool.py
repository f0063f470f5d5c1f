"""Pool held-out cases for the card: the subject is the unit, sections of one subject are averaged first."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from intima.arrays import FloatVector
from intima.conformal import COVERED, conformal_quantile, smallest_alpha
from intima.contracts.evidence import (
    CalibrationFigure,
    ConformalMargin,
    EvidenceBasis,
    Figure,
    HeldOutCase,
    OutOfFoldEvidence,
    ReliabilityDiagram,
    ReviewRule,
    Temperature,
)
from intima.errors import Invalid
from intima.evidence.case import BOUNDARY_BAND
from intima.evidence.residuals import PairOf, pool_residuals
from intima.reliability import add_reliability
from intima.review import review_rule
from intima.statistics.intervals import t_interval
from intima.temperature import (
    TEMPERATURES,
    at_temperature,
    fit_temperature,
    fit_without_each,
    nearest_temperature,
)

ALPHA = 0.10
"""Of the conformal margins."""
FEWEST_FOR_TEMPERATURE = 3
Along = Callable[[HeldOutCase], Sequence[float] | None]
"""What a case has at every temperature of the grid, or of its octaves; None where it has no value."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Where held-out cases come from."""

    basis: EvidenceBasis
    protocol: str | None
    selection_biased: bool
    members: int


def pool_evidence(cases: Sequence[HeldOutCase], measured: Measured) -> OutOfFoldEvidence:
    """Return what held-out cases say together.

    Raises:
        Invalid: there is no case.
    """
    if not cases:
        raise Invalid("Got no held-out case; need at least one.")
    fitted = _fit(cases)
    report = tuple(_report(cases, fitted))
    return OutOfFoldEvidence(
        basis=measured.basis,
        protocol=measured.protocol,
        selection_biased=measured.selection_biased,
        members=measured.members,
        passes=min(c.passes for c in cases),
        subjects=len({c.subject for c in cases}),
        cases=len(cases),
        vessels=sum(c.vessels for c in cases),
        vessels_found=sum(c.vessels_found for c in cases),
        boundary_band=BOUNDARY_BAND,
        temperature=_temperature(fitted, next(f for f in report if f.name == "nll")),
        calibration=report,
        reliability=tuple(_diagrams(cases, fitted.value)),
        margins=tuple(_margins(cases)),
        residuals=pool_residuals(PairOf(c.subject, pair) for c in cases for pair in c.pairs),
        review=_review(cases, fitted.value),
    )


@dataclass(frozen=True, slots=True)
class _Fitted:
    """Temperature of all subjects, and of all but each."""

    value: float
    fitted: float | None
    bounded: bool
    reason: str
    left_out: dict[str, float]
    """By subject: what serves it honestly; empty where there are too few."""


def _fit(cases: Sequence[HeldOutCase]) -> _Fitted:
    losses = _by_subject(cases, lambda c: c.nll)
    table = np.array(list(losses.values()))
    if len(table) < FEWEST_FOR_TEMPERATURE:
        reason = f"{len(table)} subject(s) are too few to fit one; {FEWEST_FOR_TEMPERATURE} are needed"
        return _Fitted(1.0, None, bounded=False, reason=reason, left_out={})
    fit = fit_temperature(table)
    left_out = dict(zip(losses, fit_without_each(table).tolist(), strict=True))
    harm = _harm(losses, left_out) or _harm(
        _by_subject(cases, lambda c: c.nll_foreground), left_out, " over foreground"
    )
    if harm:
        reason = f"{fit.temperature:.3f} fits best, but {harm}"
        return _Fitted(1.0, fit.temperature, bounded=fit.bounded, reason=reason, left_out=dict.fromkeys(losses, 1.0))
    reason = "least mean negative log-likelihood over subjects"
    return _Fitted(fit.temperature, fit.temperature, bounded=fit.bounded, reason=reason, left_out=left_out)


def _harm(losses: Mapping[str, FloatVector], left_out: Mapping[str, float], where: str = "") -> str:
    """Say that temperatures do not lower the mean loss of the subjects they were not fitted to; empty where they do.

    Most pixels of many images are background that the net is sure of; what suits them may be wrong for the foreground.
    """
    before = [at_temperature(row, 1.0) for row in losses.values()]
    after = [at_temperature(row, left_out[subject]) for subject, row in losses.items()]
    helps = not before or math.fsum(after) < math.fsum(before)
    return "" if helps else f"does not lower the loss{where} of subjects left out of the fit"


def _temperature(fitted: _Fitted, nll: CalibrationFigure) -> Temperature:
    return Temperature(
        value=fitted.value,
        fitted=fitted.fitted,
        reason=fitted.reason,
        nll=nll.before,
        nll_left_out=nll.after,
        bounded=fitted.bounded,
    )


def _by_subject(cases: Sequence[HeldOutCase], along: Along) -> dict[str, FloatVector]:
    """Return the mean over sections of each subject that has a value."""
    found: dict[str, list[Sequence[float]]] = {}
    for case in cases:
        values = along(case)
        if values is not None:
            found.setdefault(case.subject, []).append(values)
    return {subject: np.mean(np.array(rows, dtype=np.float64), axis=0) for subject, rows in found.items()}


def _report(cases: Sequence[HeldOutCase], fitted: _Fitted) -> Iterator[CalibrationFigure]:
    for name, along in _figures(cases):
        if values := _by_subject(cases, along):
            yield _reported(name, values, fitted.left_out)


def figures_at(cases: Sequence[HeldOutCase], temperature: float) -> tuple[CalibrationFigure, ...]:
    """Return figures before and after a temperature that was fitted elsewhere."""
    found = [(name, values) for name, along in _figures(cases) if (values := _by_subject(cases, along))]
    return tuple(_reported(name, values, dict.fromkeys(values, temperature)) for name, values in found)


def _reported(name: str, values: Mapping[str, FloatVector], after: Mapping[str, float]) -> CalibrationFigure:
    """Return a figure before and after the temperature of each subject; without after where there are none."""
    return CalibrationFigure(
        name=name,
        before=_figure([at_temperature(row, 1.0) for row in values.values()]),
        after=_figure([at_temperature(row, after[s]) for s, row in values.items()]) if after else None,
    )


def _figures(cases: Sequence[HeldOutCase]) -> Iterator[tuple[str, Along]]:
    groups = list(dict.fromkeys(group for case in cases for group in case.ece))
    yield "nll", lambda c: c.nll
    yield "nll_foreground", lambda c: c.nll_foreground
    yield "brier", lambda c: c.brier
    for group in groups:
        yield "ece" if group == "all" else f"ece_{group}", lambda c, group=group: c.ece.get(group)  # type: ignore[misc]
    yield "auroc", lambda c: _whole([d.auroc for d in c.detection])
    yield "aurc", lambda c: [d.aurc for d in c.detection]
    yield "excess_aurc", lambda c: [d.excess_aurc for d in c.detection]
    yield "removed_12", lambda c: _whole([d.removed_12 for d in c.detection])
    yield "removed_25", lambda c: _whole([d.removed_25 for d in c.detection])


def _whole(values: Sequence[float | None]) -> list[float] | None:
    """Return values that are all there; None otherwise."""
    present = [v for v in values if v is not None]
    return present if len(present) == len(values) else None


def _figure(values: Sequence[float]) -> Figure:
    interval = t_interval(np.array(values)) if len(values) > 1 else None
    limits = None if interval is None else (interval.low, interval.high)
    return Figure(mean=math.fsum(values) / len(values), ci95=limits, subjects=len(values))


def _diagrams(cases: Sequence[HeldOutCase], temperature: float) -> Iterator[ReliabilityDiagram]:
    for group in dict.fromkeys(g for c in cases for g in c.reliability):
        parts = [c.reliability[group] for c in cases if group in c.reliability]
        yield ReliabilityDiagram(group=group, temperature=1.0, bins=add_reliability(parts))
    nearest = nearest_temperature(temperature)
    seen = [c.reliability_foreground[nearest] for c in cases if c.reliability_foreground]
    if seen and temperature != 1.0:
        yield ReliabilityDiagram(group="foreground", temperature=TEMPERATURES[nearest], bins=add_reliability(seen))


def _margins(cases: Sequence[HeldOutCase]) -> Iterator[ConformalMargin]:
    """Yield a margin for each target; in µm where every case has a pixel size."""
    known = all(c.mpp is not None for c in cases)
    for target in dict.fromkeys(t for c in cases for t in c.reach_px):
        worst: dict[str, float] = {}
        for case in cases:
            if target in case.reach_px:
                pixels = case.reach_px[target]
                score = math.inf if pixels is None else pixels * ((case.mpp or 1.0) if known else 1.0)
                worst[case.subject] = max(worst.get(case.subject, 0.0), score)
        yield _margin(target, list(worst.values()), unit="µm" if known else "px")


def _margin(target: str, scores: Sequence[float], *, unit: Literal["µm", "px"]) -> ConformalMargin:
    found, missed = conformal_quantile(scores, alpha=ALPHA), sum(map(math.isinf, scores))
    finite = found is not None and math.isfinite(found)
    least = smallest_alpha(len(scores))
    if found is None:
        reason = f"with {len(scores)} subjects nothing below alpha {least:.3f} is attainable"
    elif not finite:
        reason = f"the prediction has none of it in {missed} of {len(scores)} subjects, so that no margin covers it"
    else:
        reason = f"covers {COVERED:.0%} of the truth with probability at least {1 - ALPHA:.0%}"
    return ConformalMargin(
        target=target,
        alpha=ALPHA,
        margin=found if finite else None,
        unit=unit,
        subjects=len(scores),
        smallest_alpha=least,
        largest=None if missed else max(scores),
        missed=missed,
        reason=reason,
    )


def _review(cases: Sequence[HeldOutCase], temperature: float) -> ReviewRule:
    """Return the rule that the lowest expected Dice of each subject gives; a section without foreground counts as 0."""
    worst: dict[str, float] = {}
    for case in cases:
        present = _whole(case.expected_dice)
        score = 0.0 if present is None else at_temperature(present, temperature)
        worst[case.subject] = min(worst.get(case.subject, 1.0), score)
    return review_rule(list(worst.values()))
