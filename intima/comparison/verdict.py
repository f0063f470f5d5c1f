"""Decide whether two contenders are equivalent, different, or cannot be told apart."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from intima import __version__
from intima.arrays import FloatVector
from intima.comparison import words
from intima.comparison.pairing import Paired, pair
from intima.comparison.plans import PlanBook, check_sides, request_under, stand, without_excluded
from intima.comparison.scores import FetchScores, Selection, higher_is_better, scores_of, start_warning, stated_overlap
from intima.contracts.comparison import (
    Choice,
    ComparisonRequest,
    DependenceNote,
    Difference,
    EffectSize,
    NonInferiority,
    RopeProbabilities,
    SensitivityVerdict,
    SubjectScore,
    Verdict,
    VerdictName,
)
from intima.contracts.plan import Plan
from intima.errors import Invalid, NotFound
from intima.statistics import bayes, effects, equivalence, planning
from intima.statistics.equivalence import FEWEST_FOR_VERDICT, PairedT, TrainingOverlap
from intima.statistics.intervals import FEWEST_FOR_BOOTSTRAP, ConfidenceInterval, coverage_at_n

MOST_FOR_BOOTSTRAP = 1_000


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that was computed for one comparison."""

    request: ComparisonRequest
    paired: Paired
    overlap: TrainingOverlap | None
    naive: PairedT | None
    """None where the differences have no spread; so is ``deciding``."""
    deciding: PairedT | None
    direction: float
    """1 where higher scores are better, else -1."""
    notes: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of subjects."""
        return len(self.paired.subjects)


def decide_equivalence(request: ComparisonRequest, *, fetch: FetchScores, plans: PlanBook) -> Verdict:
    """Return the verdict on two contenders.

    The paired t test decides, with its standard error corrected (Nadeau & Bengio 2003) where training sets overlap:
    the 1 - 2 alpha interval inside the margin shows equivalence, the 1 - alpha interval off zero a difference.
    Where all differences are equal there is no spread to judge by and the verdict is inconclusive, even for identical
    scores: TOST would claim p = 0. Under a locked plan the verdict is entered into the plan's trail.

    Raises:
        Invalid: the two cannot be paired, the request cannot be used, or differs from its plan.
        NotFound: a model, benchmark or plan does not exist.
    """
    if request.plan is None and request.margin is None:
        raise Invalid(
            "Got no margin.", hint="State the largest difference that does not matter, or a plan.", pointer="/margin"
        )
    if request.plan is None:
        return _verdict(_analysis(request, fetch, None))
    plan = _find(plans, request.plan)
    found = _analysis(request_under(plan, request), fetch, plan)
    verdict = _verdict(found)
    standing = stand(plan, found.paired, verdict, book=plans)
    margin = verdict.margin | {"plan_sha256": plan.sha256}
    return verdict.model_copy(update={"margin": margin, "plan": standing, "exploratory": not standing.confirmatory})


def _find(plans: PlanBook, ref: str) -> Plan:
    try:
        return plans.find(ref)
    except NotFound as error:
        raise NotFound(error.message, code=error.code, hint=error.hint, pointer="/plan") from error


def _analysis(request: ComparisonRequest, fetch: FetchScores, plan: Plan | None) -> Analysis:
    higher, notes = higher_is_better(request.metric, request.higher_is_better)
    selection = Selection(request.metric, request.class_, request.protocol)
    sides = [scores_of(c, side, selection, fetch=fetch) for c, side in ((request.a, "a"), (request.b, "b"))]
    if plan is not None:
        sides = [without_excluded(plan, side) for side in sides]
    paired = pair(*sides)
    if plan is not None:
        check_sides(plan, paired)
    derived = paired.a.overlap or paired.b.overlap
    overlap = stated_overlap(request.dependence) if request.dependence else derived
    naive = equivalence.paired_t(paired.differences)
    deciding = equivalence.paired_t(paired.differences, overlap=overlap)
    return Analysis(request, paired, overlap, naive, deciding, 1.0 if higher else -1.0, notes)


def _verdict(found: Analysis) -> Verdict:
    request, paired, margin = found.request, found.paired, found.request.agreed_margin
    subjects, rows, needed = _subjects(paired), _sensitivity(found), _units_needed(found)
    verdict: VerdictName = "inconclusive" if found.n < FEWEST_FOR_VERDICT else rows[0].verdict
    labels = paired.a.label, paired.b.label
    return Verdict.model_validate(
        {
            "models": labels,
            "metric": request.metric,
            "class": request.class_,
            "n_units": found.n,
            "margin": {"value": margin.value, "basis": margin.basis, "plan_sha256": None},
            "alpha": request.alpha,
            "difference": _difference(found, found.deciding, corrected=found.overlap is not None),
            "naive_difference": _difference(found, found.naive, corrected=False) if found.overlap else None,
            "effect_sizes": tuple(_effect_sizes(paired.a_values, paired.b_values)),
            "non_inferiority": _non_inferiority(found),
            "verdict": verdict,
            "no_winner": verdict not in {"better_a", "better_b"},
            "exploratory": True,
            "units_needed_for_80_percent_power": needed,
            "dependence": _dependence(found),
            "sensitivity": rows,
            "worst_case": max(subjects, key=lambda s: abs(s.difference)),
            "failure_rate_upper_bound": planning.failure_rate_upper_bound(found.n),
            "choose": _choice(verdict, labels),
            "sentence": words.verdict_sentence(
                request, labels, paired.differences, found.deciding, verdict, needed=needed
            ),
            "subjects": subjects,
            "warnings": (*found.notes, *_warnings(found)),
            "provenance": _provenance(found),
        }
    )


def _sensitivity(found: Analysis) -> tuple[SensitivityVerdict, ...]:
    """Return what every method says, the deciding one first; without spread only the sign flip says anything."""
    d, margin, seed = found.paired.differences, found.request.agreed_margin.value, found.request.seed
    flip = equivalence.sign_flip_equivalence(d, margin, seed=seed), equivalence.sign_flip_difference(d, seed=seed)
    if found.naive is None or found.deciding is None:
        return (_row("sign_flip", flip, "inconclusive"),)
    p = {"paired_t_corrected": (found.deciding.p_equivalence(margin), found.deciding.p_difference())}
    if found.overlap is None:
        p.clear()
    p["paired_t"] = found.naive.p_equivalence(margin), found.naive.p_difference()
    p["sign_flip"] = flip
    p["wilcoxon"] = equivalence.wilcoxon_equivalence(d, margin), equivalence.wilcoxon_difference(d)
    if FEWEST_FOR_BOOTSTRAP <= len(d) <= MOST_FOR_BOOTSTRAP:
        p["bootstrap_t"] = (
            equivalence.bootstrap_t_equivalence(d, margin, seed=seed),
            equivalence.bootstrap_t_difference(d, seed=seed),
        )
    mean, alpha = found.direction * found.naive.mean, found.request.alpha
    rows = [_row(name, pair, equivalence.decide(*pair, mean, alpha=alpha)) for name, pair in p.items()]
    return (*rows, *_posterior_rows(found, found.deciding))


def _posterior_rows(found: Analysis, test: PairedT) -> Iterator[SensitivityVerdict]:
    """Yield the verdicts of Bayesian methods, for as many subjects as the bootstrap takes."""
    if not FEWEST_FOR_BOOTSTRAP <= found.n <= MOST_FOR_BOOTSTRAP:
        return
    margin, alpha, higher = found.request.agreed_margin.value, found.request.alpha, found.direction > 0
    signed_rank = bayes.signed_rank_posterior(found.paired.differences, margin, seed=found.request.seed)
    posteriors = {
        "bayes_correlated_t": bayes.correlated_t_posterior(test, margin),
        "bayes_signed_rank": signed_rank,
    }
    for name, posterior in posteriors.items():
        sides = (posterior.below, posterior.above) if higher else (posterior.above, posterior.below)
        yield SensitivityVerdict(
            method=name,
            p_equivalence=None,
            p_difference=None,
            probabilities=RopeProbabilities(better_b=sides[0], negligible=posterior.within, better_a=sides[1]),
            verdict=bayes.decide_by_posterior(posterior, higher_is_better=higher, alpha=alpha),
        )


def _non_inferiority(found: Analysis) -> NonInferiority | None:
    if found.deciding is None:
        return None
    a, b = found.deciding, found.deciding.mirrored()
    if found.direction < 0:
        a, b = b, a
    margin = found.request.agreed_margin.value
    p_a, p_b = a.p_not_below(margin), b.p_not_below(margin)
    enough = found.n >= FEWEST_FOR_VERDICT
    return NonInferiority(
        p_a=p_a, p_b=p_b, a=enough and p_a < found.request.alpha, b=enough and p_b < found.request.alpha
    )


def _row(method: str, p: tuple[float, float], verdict: VerdictName) -> SensitivityVerdict:
    return SensitivityVerdict(method=method, p_equivalence=p[0], p_difference=p[1], verdict=verdict)


def _subjects(paired: Paired) -> tuple[SubjectScore, ...]:
    columns = zip(paired.subjects, paired.a_values.tolist(), paired.b_values.tolist(), strict=True)
    return tuple(SubjectScore(subject=s, a=a, b=b, difference=a - b) for s, a, b in columns)


def _difference(found: Analysis, test: PairedT | None, *, corrected: bool) -> Difference:
    return Difference(
        estimate=float(np.mean(found.paired.differences)),
        ci90=_limits(test.interval(0.90)) if test else None,
        ci95=_limits(test.interval(0.95)) if test else None,
        method="paired t, standard error corrected for overlapping training sets" if corrected else "paired t",
        coverage_at_n=None if corrected or test is None else coverage_at_n("t", found.n),
    )


def _limits(interval: ConfidenceInterval) -> tuple[float, float]:
    return interval.low, interval.high


def _effect_sizes(a: FloatVector, b: FloatVector) -> Iterator[EffectSize]:
    d_z, g_z = effects.d_z(a, b), effects.hedges_g_z(a, b)
    limits = None if d_z is None else effects.d_z_interval(d_z, len(a))
    yield _effect("d_z", d_z, limits, "noncentral t")
    if g_z is None or limits is None:
        corrected = None
    else:
        factor = effects.hedges_correction(len(a) - 1)
        corrected = ConfidenceInterval(factor * limits.low, factor * limits.high)
    yield _effect("hedges_g_z", g_z, corrected, "noncentral t")
    yield _effect("d_av", effects.d_av(a, b), effects.d_av_interval(a, b), "noncentral t, Algina-Keselman")
    effective = "Clopper-Pearson, effective number of subjects"
    yield _effect("cliffs_delta", effects.cliffs_delta(a, b), effects.cliffs_delta_interval(a, b), effective)
    ranks = effects.matched_rank_biserial(a, b), effects.matched_rank_biserial_interval(a, b)
    yield _effect("matched_rank_biserial", *ranks, effective)
    above = effects.probability_of_superiority(a, b), effects.probability_of_superiority_interval(a, b)
    yield _effect("p_a_above_b", *above, "Clopper-Pearson")


def _effect(name: str, value: float | None, interval: ConfidenceInterval | None, method: str) -> EffectSize:
    if interval is None:
        return EffectSize(name=name, value=value, ci95=None, method=None)
    return EffectSize(name=name, value=value, ci95=_limits(interval), method=method)


def _units_needed(found: Analysis) -> int | None:
    if found.naive is None:
        return None
    sd = float(np.std(found.paired.differences, ddof=1))
    design = design_of(sd, found.n, found.overlap)
    return planning.units_for_equivalence(design, margin=found.request.agreed_margin.value, alpha=found.request.alpha)


def design_of(sd: float, n: int, overlap: TrainingOverlap | None) -> planning.DesignOf:
    """Return how standard error and degrees of freedom grow with subjects; leave-one-out keeps adding splits."""
    if overlap is None:
        return planning.independent_design(sd)
    if overlap.splits == n and abs(overlap.test_to_train * (n - 1) - 1) < 1e-9:
        return planning.leave_one_out_design(sd)
    return planning.fixed_splits_design(sd, splits=overlap.splits, test_to_train=overlap.test_to_train)


def _dependence(found: Analysis) -> DependenceNote:
    stated, overlap = found.request.dependence, found.overlap
    protocol = stated.protocol if stated else found.paired.a.protocol or found.paired.b.protocol
    if overlap is None:
        reason = "none: the scores were taken as independent between subjects"
        return DependenceNote(protocol=protocol, correction=reason, standard_error_factor=1.0)
    correction = f"Nadeau-Bengio, {overlap.splits} splits, n_test/n_train = {overlap.test_to_train:.4g}"
    return DependenceNote(protocol=protocol, correction=correction, standard_error_factor=overlap.standard_error_factor)


def _choice(verdict: VerdictName, labels: tuple[str, str]) -> Choice | None:
    if verdict == "inconclusive":
        return None
    if verdict == "better_a":
        return Choice(model="a", rule="better score", reason=f"{labels[0]} is better by more than chance explains.")
    if verdict == "better_b":
        return Choice(model="b", rule="better score", reason=f"{labels[1]} is better by more than chance explains.")
    reason = "The difference is smaller than the margin, so take the one that is cheaper to run."
    return Choice(model="either", rule="cheapest among equivalents", reason=reason)


def _warnings(found: Analysis) -> tuple[str, ...]:
    a, b, n = found.paired.a, found.paired.b, found.n
    texts = [*a.warnings, *(w for w in b.warnings if w not in a.warnings)]
    texts += start_warning((a, b))
    if found.naive is None:
        texts.append("All subjects show the same difference: without spread there is no interval and no verdict.")
    if n < FEWEST_FOR_VERDICT:
        texts.append("Two subjects leave one degree of freedom; nothing is decided from them.")
    elif n < FEWEST_FOR_BOOTSTRAP:
        texts.append("Below 5 subjects the coverage of the interval was never measured.")
    if found.overlap is None and a.protocol is None:
        texts.append("Scores from cross-validation depend on each other; state dependence if these do.")
    if {"split_sha256"} <= {*a.provenance} & {*b.provenance} and found.paired.shared("split_sha256") is None:
        texts.append("The two were trained on different splits of the subjects.")
    bound = planning.failure_rate_upper_bound(n)
    texts.append(f"A failure never seen in {n} subjects may still happen in up to {100 * bound:.2g}% of subjects.")
    return tuple(texts)


def _provenance(found: Analysis) -> dict[str, object]:
    paired = found.paired
    return {
        "intima_version": __version__,
        "dataset_version": paired.shared("dataset_version"),
        "split_sha256": paired.shared("split_sha256"),
        "score_sha256s": [paired.a.sha256, paired.b.sha256],
        "seed": found.request.seed,
        "a": dict(paired.a.provenance),
        "b": dict(paired.b.provenance),
    }
