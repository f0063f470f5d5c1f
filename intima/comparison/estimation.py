"""Intervals of a mean, and plans: what n subjects can show."""

import numpy as np

from intima.comparison.scores import overlap_of_protocol
from intima.comparison.verdict import design_of
from intima.contracts.statistics import (
    MOST_RESAMPLED,
    IntervalAnswer,
    IntervalRequest,
    PowerAnswer,
    PowerRequest,
    SimulatedPower,
)
from intima.errors import Invalid
from intima.statistics import planning
from intima.statistics.equivalence import TrainingOverlap
from intima.statistics.intervals import (
    ENUMERATED_UP_TO,
    FEWEST_FOR_BOOTSTRAP,
    INTERVALS,
    ConfidenceInterval,
    Method,
    coverage_at_n,
)
from intima.statistics.samples import as_scores, need_subjects
from intima.statistics.simulated_power import power_of_tests
from intima.subjects import mean_by_subject

FEWEST_FOR_NORMAL_POWER = 9
"""Subjects from which simulated power of Dice-like scores is within 2 points of that of normal differences."""


def estimate_interval(request: IntervalRequest) -> IntervalAnswer:
    """Return an interval of a mean over subjects.

    Raises:
        Invalid: fewer than two subjects (five for a bootstrap), or more than a bootstrap takes.
    """
    values = as_scores(request.scores)
    if request.subjects is not None:
        if len(request.subjects) != len(values):
            raise Invalid(
                f"Got {len(values)} scores and {len(request.subjects)} subjects; need one subject per score.",
                code="unpaired",
                pointer="/subjects",
            )
        values = np.array(list(mean_by_subject(zip(request.subjects, values.tolist(), strict=True)).values()))
    n = len(values)
    need_subjects(n, 2, purpose="an interval")
    method = request.method or _default(request.target, n)
    if method != "t" and n > MOST_RESAMPLED:
        raise Invalid(
            f"Got {n} subjects; a bootstrap interval takes at most {MOST_RESAMPLED}.",
            hint='Use the method "t": at this size they agree.',
            pointer="/method",
        )
    interval = INTERVALS[method](values, confidence=request.confidence, seed=request.seed)
    exact = method == "t" or n <= ENUMERATED_UP_TO
    return IntervalAnswer(
        estimate=float(np.mean(values)),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        confidence=request.confidence,
        method=method,
        n_units=n,
        coverage_at_n=coverage_at_n(method, n, target=request.target)
        if abs(request.confidence - 0.95) < 1e-9
        else None,
        exact=exact,
        seed=None if exact else request.seed,
        warnings=_warnings(request, method, interval, n),
    )


def plan_power(request: PowerRequest) -> PowerAnswer:
    """Return what n subjects can show, and how many are needed.

    Raises:
        Invalid: an unknown protocol, or one that needs more subjects.
    """
    design_at, overlap = design_of_request(request)
    design, detect = design_at(request.n), request.detect or request.margin
    for_equivalence = planning.units_for_equivalence(
        design_at, margin=request.margin, difference=request.true_difference, power=request.power, alpha=request.alpha
    )
    power = planning.tost_power(design, margin=request.margin, difference=request.true_difference, alpha=request.alpha)
    simulated = _simulated(request)
    return PowerAnswer(
        n=request.n,
        power_equivalence=power,
        power_difference=planning.t_power(design, difference=detect, alpha=request.alpha),
        units_for_equivalence=for_equivalence,
        units_for_difference=planning.units_for_difference(
            design_at, difference=detect, power=request.power, alpha=request.alpha
        ),
        smallest_margin=planning.smallest_margin(design, power=request.power, alpha=request.alpha),
        smallest_difference=planning.smallest_difference(design, power=request.power, alpha=request.alpha),
        sd_range=_sd_range(request),
        failure_rate_upper_bound=planning.failure_rate_upper_bound(request.n),
        standard_error_factor=overlap.standard_error_factor if overlap else 1.0,
        method="exact TOST and paired t power for normal differences"
        + (", Nadeau-Bengio corrected" if overlap else ""),
        sentence=_sentence(request, power, for_equivalence),
        simulated=simulated,
        warnings=_power_warnings(request, simulated, power),
    )


def design_of_request(request: PowerRequest) -> tuple[planning.DesignOf, TrainingOverlap | None]:
    """Return how standard error and degrees of freedom grow with subjects, and the overlap of training sets.

    Raises:
        Invalid: an unknown protocol, or one that needs more subjects.
    """
    overlap = None
    if request.protocol is not None:
        overlap = overlap_of_protocol(request.protocol, request.n)
        if overlap is None or overlap.splits > request.n:
            raise Invalid(
                f"Got the protocol {request.protocol!r} for {request.n} subjects.",
                hint='Use "loocv" or "kfoldK" with K from 2 to the number of subjects, e.g. "kfold3", or null.',
                pointer="/protocol",
            )
    return design_of(request.sd_difference, request.n, overlap), overlap


def _default(target: str, n: int) -> Method:
    return "bootstrap_t" if target == "mean" and FEWEST_FOR_BOOTSTRAP <= n <= MOST_RESAMPLED else "t"


def _warnings(request: IntervalRequest, method: Method, interval: ConfidenceInterval | None, n: int) -> tuple[str, ...]:
    found = []
    if interval is None:
        found.append("No interval: all scores are equal, or too many of them for a studentised limit.")
    if method in {"percentile", "bca"} and n < 30:
        found.append(f"{method} intervals cover too little at {n} subjects; prefer t or bootstrap_t.")
    if request.subjects is not None and n < len(request.subjects):
        found.append(f"{len(request.subjects)} scores were averaged within {n} subjects.")
    return tuple(found)


def _sd_range(request: PowerRequest) -> tuple[float, float] | None:
    if request.sd_measured_on is None:
        return None
    return planning.sd_range(request.sd_difference, request.sd_measured_on)


def _simulated(request: PowerRequest) -> SimulatedPower | None:
    if request.n >= FEWEST_FOR_NORMAL_POWER or request.protocol is not None:
        return None
    try:
        equivalence, difference = power_of_tests(
            request.n,
            sd_difference=request.sd_difference,
            margin=request.margin,
            true_difference=request.true_difference,
            detect=request.detect or request.margin,
            alpha=request.alpha,
        )
    except Invalid:
        return None
    return SimulatedPower(equivalence=equivalence, difference=difference)


def _power_warnings(request: PowerRequest, simulated: SimulatedPower | None, power: float) -> tuple[str, ...]:
    if request.n >= FEWEST_FOR_NORMAL_POWER:
        return ()
    few = f"Below {FEWEST_FOR_NORMAL_POWER} subjects power depends on more than the spread; the formula is for normal"
    if simulated is None:
        return (f"{few} differences.",)
    share = simulated.equivalence.value
    return (f"{few} differences: scores distributed like Dice have {share:.0%} instead of {power:.0%} (simulated).",)


def _sentence(request: PowerRequest, power: float, needed: int | None) -> str:
    enough = "no number of subjects up to a million is enough" if needed is None else f"{needed} subjects are needed"
    return (
        f"With {request.n} subjects and a standard deviation of {request.sd_difference:.3g} between them, equivalence"
        f" within ±{request.margin:.3g} is confirmed with a probability of {power:.0%}; for {request.power:.0%}"
        f" {enough}."
    )
