"""The report of a comparison of two models."""

from collections.abc import Iterator

from intima.comparison.figures.comparisons import forest_of_verdict, slopes
from intima.comparison.reporting.phrases import (
    NONE,
    figure_of,
    interval,
    number,
    p_is,
    p_value,
    provenance_section,
    score,
    share,
    warnings_section,
    words,
)
from intima.contracts.comparison import SensitivityVerdict, Verdict
from intima.reports import Column, Document, Facts, Paragraph, Section, Table
from intima.statistics.equivalence import FEWEST_FOR_VERDICT

_MOST_SUBJECTS = 200
_SUBJECT = Column("Subject", numeric=False)
_USUAL_ALPHA = 0.05
_UNDECIDED = "None of them decides here: there is no spread between subjects to judge by, or there are too few of them."
_METHODS = {
    "paired_t_corrected": "Paired t, corrected for overlapping training sets",
    "paired_t": "Paired t",
    "sign_flip": "Sign flips of the differences",
    "wilcoxon": "Wilcoxon signed ranks",
    "bootstrap_t": "Bootstrap t",
    "bayes_correlated_t": "Bayesian correlated t",
    "bayes_signed_rank": "Bayesian signed ranks",
}
_EFFECTS = {
    "d_z": "d_z: mean over SD of the differences",
    "hedges_g_z": "Hedges' g_z: d_z corrected for few subjects",
    "d_av": "d_av: mean over the mean SD of the two",
    "cliffs_delta": "Cliff's delta",
    "matched_rank_biserial": "Matched rank-biserial correlation",
    "p_a_above_b": "Share of subjects on which a scores higher",
}


def report_comparison(verdict: Verdict) -> Document:
    """Return the report of a verdict."""
    a, b = verdict.models
    measured = f"{verdict.metric} ({verdict.class_})"
    return Document(
        title=f"{a} against {b}",
        subtitle=f"{measured} on {verdict.n_units} subjects",
        opening=(Paragraph(f"{headline(verdict)}. {verdict.sentence}", "lead"), _standing(verdict), _facts(verdict)),
        sections=(
            Section(
                "The difference",
                (
                    figure_of(
                        forest_of_verdict(verdict),
                        f"Difference in {measured} per subject and on average, with intervals; the band is the margin.",
                    ),
                    figure_of(slopes(verdict), "Both scores of every subject; the worst case stands out."),
                ),
            ),
            *warnings_section(verdict.warnings),
            Section("Would another method say the same?", _sensitivity(verdict)),
            Section("Effect sizes", _effects(verdict)),
            Section("Every subject", _subjects(verdict)),
            Section("Methods", (Paragraph(_methods(verdict)),)),
            provenance_section(verdict.provenance),
        ),
        footer=f"Intima {verdict.provenance.get('intima_version', '')}: {a} against {b}",
    )


def headline(verdict: Verdict) -> str:
    """Return the verdict in a few words."""
    a, b = verdict.models
    return {
        "equivalent": "Equivalent",
        "better_a": f"{a} is better",
        "better_b": f"{b} is better",
        "different_but_negligible": "Different, but negligibly so",
        "inconclusive": "Cannot tell",
    }[verdict.verdict]


def _standing(verdict: Verdict) -> Paragraph:
    plan = verdict.plan
    if plan is None:
        return Paragraph("Exploratory: margin and metric were not locked in a plan before the scores were opened.")
    under = f"under the plan {plan.id}, locked at {plan.locked_at} (use {plan.use})"
    notes = " ".join(plan.notes)
    if plan.confirmatory:
        return Paragraph(f"Confirmatory, {under}. {notes}".strip())
    return Paragraph(f"Exploratory, though {under}: {' '.join(plan.reasons)} {notes}".strip())


def _facts(verdict: Verdict) -> Facts:
    return Facts(tuple(_fact_rows(verdict)))


def _fact_rows(verdict: Verdict) -> Iterator[tuple[str, str]]:
    a, b = verdict.models
    found, margin = verdict.difference, verdict.margin
    yield f"Mean difference, {a} − {b}", number(found.estimate)
    usual = abs(verdict.alpha - _USUAL_ALPHA) < 1e-9
    yield "90 % interval" + (" (decides equivalence)" if usual else ""), interval(found.ci90)
    yield "95 % interval" + (" (decides difference)" if usual else ""), interval(found.ci95)
    if not usual:
        yield "Decided at alpha", number(verdict.alpha)
    if verdict.naive_difference is not None:
        yield "95 % interval, not corrected", interval(verdict.naive_difference.ci95)
    yield "Method", found.method
    yield "Margin", f"±{number(float(str(margin['value'])))} ({words(str(margin['basis']))})"
    if (inferior := verdict.non_inferiority) is not None:
        shown = [name for name, holds in ((a, inferior.a), (b, inferior.b)) if holds]
        p = f"{p_is(inferior.p_a)} for {a}, {p_is(inferior.p_b)} for {b}"
        yield "Not inferior by the margin", f"{' and '.join(shown) or 'neither is shown to be'} ({p})"
    yield "Subjects for 80 % power of equivalence", str(verdict.units_needed_for_80_percent_power or NONE)
    yield "Failures unseen may have a rate of up to", share(verdict.failure_rate_upper_bound)
    worst = verdict.worst_case
    yield "Largest difference", f"{worst.subject}: {score(worst.a)} against {score(worst.b)}"
    if verdict.choose is not None:
        yield "Which to use", verdict.choose.reason


def _sensitivity(verdict: Verdict) -> tuple[Table]:
    columns = (
        Column("Method", numeric=False),
        Column("p, equivalence"),
        Column("p, difference"),
        Column("P(b better / negligible / a better)"),
        Column("Verdict", numeric=False),
    )
    decided = _is_decided(verdict)
    rows = tuple(_sensitivity_row(row, decides=decided and i == 0) for i, row in enumerate(verdict.sensitivity))
    note = "The first decides; the others show how far the verdict hangs on it." if decided else _UNDECIDED
    return (Table(columns, rows, note),)


def _is_decided(verdict: Verdict) -> bool:
    return verdict.difference.ci95 is not None and verdict.n_units >= FEWEST_FOR_VERDICT


def _sensitivity_row(row: SensitivityVerdict, *, decides: bool) -> tuple[str, ...]:
    p = row.probabilities
    return (
        _METHODS.get(row.method, words(row.method)) + (" (decides)" if decides else ""),
        p_value(row.p_equivalence),
        p_value(row.p_difference),
        NONE if p is None else f"{p.better_b:.2f} / {p.negligible:.2f} / {p.better_a:.2f}",
        words(row.verdict),
    )


def _effects(verdict: Verdict) -> tuple[Table]:
    rows = tuple(
        (_EFFECTS.get(e.name, words(e.name)), number(e.value), interval(e.ci95), e.method or NONE)
        for e in verdict.effect_sizes
    )
    columns = Column("Effect", numeric=False), Column("Value"), Column("95 % interval"), Column("By", numeric=False)
    corrected = verdict.naive_difference is not None
    note = "These intervals are not corrected for overlapping training sets; those of the difference are."
    return (Table(columns, rows, note if corrected else ""),)


def _subjects(verdict: Verdict) -> tuple[Table]:
    a, b = verdict.models
    shown = verdict.subjects[:_MOST_SUBJECTS]
    rows = tuple((s.subject, score(s.a), score(s.b), score(s.difference)) for s in shown)
    left_out = len(verdict.subjects) - len(shown)
    note = f"{left_out} more are in the CSV of the slopes." if left_out else ""
    return (Table((_SUBJECT, Column(a), Column(b), Column("Difference")), rows, note),)


def _methods(verdict: Verdict) -> str:
    margin, n = number(float(str(verdict.margin["value"]))), verdict.n_units
    corrected, alpha = verdict.naive_difference is not None, verdict.alpha
    correction = f", with the standard error corrected for overlapping training sets ({verdict.dependence.correction})"
    coverage = verdict.difference.coverage_at_n
    compared = (
        f"The two models were compared on {n} subjects by their paired differences in {verdict.metric}"
        f" ({verdict.class_}), several values of one subject averaged first."
    )
    if not _is_decided(verdict):
        return f"{compared} No test was decided by, as the differences have no spread or the subjects are too few."
    return (
        f"{compared} The paired t test decided{correction if corrected else ''} at alpha = {number(alpha)}: equivalence"
        f" by two one-sided tests against a margin of ±{margin}, which is the {100 * (1 - 2 * alpha):.4g} % interval"
        f" inside the margin, and difference by the {100 * (1 - alpha):.4g} % interval off zero."
        + (f" Simulated coverage of the 95 % interval at {n} subjects is {coverage:.3f}." if coverage else "")
    )
