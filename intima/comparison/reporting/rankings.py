"""The report of a ranking."""

from collections.abc import Iterator

from intima.comparison.figures.rankings import critical_difference, forest_of_pairs, rank_blobs
from intima.comparison.reporting.phrases import (
    figure_of,
    interval,
    number,
    p_is,
    p_value,
    provenance_section,
    score,
    share,
    warnings_section,
)
from intima.contracts.statistics import ParadoxPair, Ranking, RankVolatility
from intima.reports import Block, Column, Document, Facts, Paragraph, Section, Table

_MODEL = Column("Model", numeric=False)
_MOST_PAIRS = 60
_MOST_RANGES = 12
_READINGS = {
    "equal": "alike",
    "boundary": "mostly where borders are drawn",
    "substance": "tissue missed or invented",
    "unsure": "tissue missed or invented (not shown)",
}


def report_ranking(ranking: Ranking) -> Document:
    """Return the report of a ranking."""
    measured = f"{ranking.metric} ({ranking.class_})"
    return Document(
        title=f"Ranking of {len(ranking.models)} models",
        subtitle=f"{measured} on {ranking.n_units} subjects",
        opening=ranking_opening(ranking),
        sections=(
            *ranking_sections(ranking),
            *warnings_section(ranking.warnings),
            provenance_section(ranking.provenance),
        ),
        footer=f"Intima {ranking.provenance.get('intima_version', '')}: ranking of {len(ranking.models)} models",
    )


def ranking_opening(ranking: Ranking) -> tuple[Block, ...]:
    """Return what a ranking says first: its sentence, the tiers and how far they can be trusted."""
    found: list[Block] = [Paragraph(ranking.sentence, "lead")]
    if ranking.choice is not None:
        found.append(Paragraph(ranking.choice.sentence))
    return (*found, _leaderboard(ranking), Facts(tuple(_facts(ranking))))


def ranking_sections(ranking: Ranking) -> tuple[Section, ...]:
    """Return figures, pairs, agreement and volatility."""
    measured = f"{ranking.metric} ({ranking.class_})"
    figures = (
        figure_of(rank_blobs(ranking), "How often each model takes each rank when the subjects are drawn anew."),
        figure_of(forest_of_pairs(ranking), f"Mean paired difference in {measured} of every pair."),
        figure_of(
            critical_difference(ranking), "Average ranks with Nemenyi's critical difference; it decides nothing here."
        ),
    )
    return (
        Section("Figures", figures),
        *((Section("Pairs", (_pairs(ranking),)),)),
        *((Section("What are the differences made of?", (_paradox(ranking),)),) if ranking.paradox else ()),
        *((Section("Do other rankings agree?", (_agreements(ranking),)),) if ranking.agreements else ()),
        *((Section("How far do ranks move?", (_volatility(ranking),)),) if ranking.volatility else ()),
        *((Section("Cheapest among equivalents", (_choice(ranking),)),) if ranking.choice else ()),
    )


def _leaderboard(ranking: Ranking) -> Table:
    tier = {model: i + 1 for i, models in enumerate(ranking.tiers) for model in models}
    rows = tuple(
        (
            str(tier[m.model]),
            m.model,
            score(m.mean),
            share(m.p_best),
            f"{m.leave_one_out_ranks[0]:g} to {m.leave_one_out_ranks[1]:g}",
        )
        for m in sorted(ranking.models, key=lambda m: (tier[m.model], m.rank))
    )
    columns = Column("Tier"), _MODEL, Column("Mean"), Column("First in resamples"), Column("Ranks without one subject")
    return Table(
        columns,
        rows,
        f"Within a tier no model is shown to be worse than its first (alpha {ranking.alpha:g}); order is no rank.",
    )


def _facts(ranking: Ranking) -> Iterator[tuple[str, str]]:
    stable, test = ranking.stability, ranking.friedman
    equal = f"equal models {share(stable.null_frequency)} ({p_is(stable.null_p)})"
    yield "The first wins", f"{share(stable.winner_frequency)} of resamples; {equal}"
    changes = stable.leave_one_out_winner_changes
    yield "Subjects whose absence changes the winner", f"{changes} of {ranking.n_units}"
    yield "Are ranks equal? (permutations, Friedman's statistic)", p_is(test.permutation_p)
    yield "Agreement of subjects (Kendall's W)", number(test.kendall_w)
    yield "Can this many subjects show anything?", ranking.attainability.sentence


def _pairs(ranking: Ranking) -> Table:
    shown = sorted(ranking.pairs, key=lambda p: p.p_difference)[:_MOST_PAIRS]
    rows = tuple(
        (f"{p.a} − {p.b}", number(p.difference), interval(p.ci95), p_value(p.p_difference), p_value(p.p_holm))
        for p in shown
    )
    left_out = len(ranking.pairs) - len(shown)
    note = "Sign flips; the interval is Student's t, not adjusted for the number of pairs."
    columns = (
        Column("Pair", numeric=False),
        Column("Difference"),
        Column("95 % interval"),
        Column("p"),
        Column("p (Holm)"),
    )
    return Table(columns, rows, note + (f" {left_out} pairs with a larger p are left out." if left_out else ""))


def _paradox(ranking: Ranking) -> Table:
    shown = ranking.paradox[:_MOST_PAIRS]
    rows = tuple(
        (f"{p.better} − {p.worse}", number(p.difference), number(p.forgiven), interval(p.forgiven_ci95),
         _READINGS[_reading(p)])
        for p in shown
    )  # fmt: skip
    columns = (
        Column("Pair", numeric=False),
        Column("Dice"),
        Column("Tolerant Dice"),
        Column("95 % interval"),
        Column("Reading", numeric=False),
    )
    left_out = len(ranking.paradox) - len(shown)
    note = (
        "Tolerant Dice takes borders as right that lie within the tolerance; what is left is tissue missed or invented."
    )
    return Table(columns, rows, note + (f" {left_out} smaller differences are left out." if left_out else ""))


def _reading(pair: ParadoxPair) -> str:
    shown = pair.forgiven_ci95 is not None and pair.forgiven_ci95[0] > 0
    return "unsure" if pair.reading == "substance" and not shown else pair.reading


def _agreements(ranking: Ranking) -> Table:
    rows = tuple(
        (f"{a.between}: {a.a} and {a.b}", number(a.tau), number(a.null_mean), p_value(a.null_p))
        for a in ranking.agreements
    )
    columns = Column("Between", numeric=False), Column("Kendall's tau"), Column("Equal models: tau"), Column("p")
    return Table(columns, rows, "Equal models: each subject's scores shuffled between models, the same way everywhere.")


def _volatility(ranking: Ranking) -> Table:
    rows = tuple(
        (
            f"{v.over} ({len(v.views)})",
            number(v.mean_range),
            number(v.null_mean_range),
            p_value(v.null_p),
            _ranges(v),
        )
        for v in ranking.volatility
    )
    columns = (
        Column("Over", numeric=False),
        Column("Mean range of ranks"),
        Column("Equal models"),
        Column("p"),
        Column("Ranks that move most", numeric=False),
    )
    return Table(columns, rows, "p: how often ranks of equal models move as little or less.")


def _ranges(volatility: RankVolatility) -> str:
    most = sorted(volatility.models, key=lambda m: m.lowest - m.highest)[:_MOST_RANGES]
    return ", ".join(f"{m.model} {m.lowest:g} to {m.highest:g}" for m in most)


def _choice(ranking: Ranking) -> Table:
    choice = ranking.choice
    assert choice is not None
    rows = tuple(
        (m.model, "best" if m.model == choice.best else "yes" if m.equivalent else "not shown",
         p_value(m.p_equivalence), number(m.cost))
        for m in choice.models
    )  # fmt: skip
    columns = _MODEL, Column("Equivalent to the best", numeric=False), Column("p (TOST)"), Column(choice.rule)
    note = f"Margin ±{number(choice.margin.value)} ({choice.margin.basis}); each at alpha {number(choice.alpha_each)}."
    return Table(columns, rows, note)
