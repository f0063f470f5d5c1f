"""Goals S1 to S12 of the statistics and the coverage of effect sizes: goal, figure, pass or not.

By seeded simulation with the product's own functions.

``python -m bench statistics [--data-sets 4000] [--only S1 S9]``: scores are SIMULATED (Beta margins, mean .85, SD .08,
correlation .80 between models; "failures": each model fails on 5 % of subjects). A goal holds where its figure does,
with two Monte Carlo standard errors of grace where the figure is a simulated rate. Returns 1 where one does not.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from intima.comparison.estimation import plan_power
from intima.comparison.plans import PlansInMemory
from intima.comparison.ranking import rank_models
from intima.comparison.scores import Selection, SubjectScores
from intima.comparison.table import BenchmarkTable
from intima.comparison.verdict import decide_equivalence
from intima.contracts.comparison import ComparisonRequest, Contender, Verdict
from intima.contracts.statistics import PowerRequest, Ranking, RankingRequest, SimulatedFigure, StabilityPoint
from intima.errors import IntimaError, Invalid
from intima.statistics import effects, equivalence, intervals, planning
from intima.statistics.simulation import ScoreModel, draw_scores, score_model
from intima.statistics.stability import stability_at

SEED = 20250905
NUMBERS = (5, 9, 15, 20, 30, 50, 100)
SD, SD_DIFFERENCE, MEAN = 0.08, 0.08 * math.sqrt(0.4), 0.85
NINE = [f"m{i}" for i in range(9)]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    goal: str
    figure: str
    holds: bool


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-sets", type=int, default=4_000)
    parser.add_argument("--only", nargs="+", choices=list(GOALS), default=list(GOALS))
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.only:
        started = time.process_time()
        for found in GOALS[name](arguments.data_sets):
            failed += not found.holds
            took = time.process_time() - started
            print(
                f"{name:<8}{'pass' if found.holds else 'FAIL':<6}{found.goal}: {found.figure} [{took:.0f} s]",
                flush=True,
            )
    return 1 if failed else 0


def layout(gaps: tuple[float, ...], *, failures: float = 0.0) -> ScoreModel:
    """Return the score model of some gaps below the best."""
    rates = (failures,) * len(gaps)
    return score_model(tuple(MEAN - g for g in gaps), sd=SD, sd_difference=SD_DIFFERENCE, failure_rates=rates)


def differences(n: int, sets: int, *, failures: float = 0.0) -> np.ndarray:
    """Return (sets, n) paired differences of two models with the same true mean."""
    random = np.random.default_rng([SEED, n, round(1000 * failures)])
    scores = draw_scores(layout((0.0, 0.0), failures=failures), data_sets=sets, subjects=n, random=random)
    return np.asarray(scores[..., 0] - scores[..., 1])


def grace(rate: float, sets: int) -> float:
    """Return two standard errors of a simulated rate."""
    return 2 * math.sqrt(rate * (1 - rate) / sets)


def coverage_of_a_difference(sets: int) -> Iterator[Finding]:
    """S1."""
    covers = []
    for n in NUMBERS:
        found = (intervals.t_interval(d) for d in differences(n, sets))
        covers.append(np.mean([i is not None and i.low <= 0 <= i.high for i in found]))
    extra = grace(0.95, sets)
    figure = ", ".join(f"{c:.3f} at {n}" for n, c in zip(NUMBERS, covers, strict=True))
    yield Finding(
        "t interval of a paired difference covers .94 to .96",
        figure,
        all(abs(c - 0.95) <= 0.01 + extra for c in covers),
    )


def coverage_of_a_mean(sets: int) -> Iterator[Finding]:
    """S2."""
    few = min(sets, 2_000)
    random = np.random.default_rng([SEED, 2])
    scores = draw_scores(layout((0.0,)), data_sets=few, subjects=9, random=random)[..., 0]
    found = (intervals.bootstrap_t_interval(s) for s in scores)
    cover = float(np.mean([i is not None and i.low <= MEAN <= i.high for i in found]))
    yield Finding(
        "bootstrap-t interval of one mean covers at least .93 at 9",
        f"{cover:.3f} ({few} sets)",
        cover >= 0.93 - grace(0.93, few),
    )


def type_one_error(sets: int) -> Iterator[Finding]:
    """S3."""
    for failures in (0.0, 0.05):
        rates = []
        for n in NUMBERS:
            tests = [equivalence.paired_t(d) for d in differences(n, sets, failures=failures)]
            rates.append(float(np.mean([t is not None and t.p_difference() < 0.05 for t in tests])))
        name = "failures" if failures else "clean"
        yield Finding(
            f"type I error of the difference test at most .055, {name}",
            f"worst {max(rates):.3f}",
            max(rates) <= 0.055 + grace(0.05, sets),
        )


def size_of_equivalence(sets: int) -> Iterator[Finding]:
    """S4."""
    for failures in (0.0, 0.05):
        worst = 0.0
        for margin in (0.02, 0.05):
            for n in NUMBERS:
                tests = [equivalence.paired_t(d + margin) for d in differences(n, sets, failures=failures)]
                worst = max(worst, float(np.mean([t is not None and t.p_equivalence(margin) < 0.05 for t in tests])))
        name = "failures" if failures else "clean"
        yield Finding(
            f"size of the equivalence test at most .055, {name}",
            f"worst {worst:.3f}",
            worst <= 0.055 + grace(0.05, sets),
        )


def rank(scores: np.ndarray) -> Ranking:
    """Rank a matrix."""
    subjects = [f"m{i}" for i in range(len(scores))]
    models = [f"model {i}" for i in range(scores.shape[1])]
    request = RankingRequest.model_validate({"scores": scores.tolist(), "models": models, "subjects": subjects})
    return rank_models(request, fetch_table=lambda _: BenchmarkTable(b""))


def compare(a: np.ndarray, b: np.ndarray, *, margin: float = 0.02) -> Verdict:
    """Compare two vectors."""
    sides = {s: {"scores": v.tolist(), "subjects": [f"m{i}" for i in range(len(v))]} for s, v in (("a", a), ("b", b))}
    request = ComparisonRequest.model_validate(sides | {"margin": {"value": margin}})
    return decide_equivalence(request, fetch=_no_fetch, plans=PlansInMemory(now=lambda: ""))


def _no_fetch(_contender: Contender, _selection: Selection) -> SubjectScores:
    raise Invalid("There is no benchmark here.")


def winners_of_equal_models(sets: int) -> Iterator[Finding]:
    """S5."""
    few = min(sets, 300)
    scores = draw_scores(layout((0.0,) * 6), data_sets=few, subjects=9, random=np.random.default_rng([SEED, 5]))
    share = float(np.mean([rank(s).winner is not None for s in scores]))
    yield Finding("six equal models have a winner in at most 5 % of sets", f"{share:.1%} of {few}", share <= 0.05)


def honest_at_nine(sets: int) -> Iterator[Finding]:
    """S6."""
    few = min(sets, 600)
    scores = draw_scores(layout((0.0, 0.02)), data_sets=few, subjects=9, random=np.random.default_rng([SEED, 6]))
    verdicts = [compare(s[:, 0], s[:, 1]).verdict for s in scores]
    open_, equal = verdicts.count("inconclusive") / few, verdicts.count("equivalent") / few
    yield Finding("difference .02, margin .02: inconclusive in at least 75 %", f"{open_:.1%}", open_ >= 0.75)
    yield Finding("... and equivalent in at most 5 %", f"{equal:.1%}", equal <= 0.05)


def impossible_designs(_sets: int) -> Iterator[Finding]:
    """S7."""
    scores = draw_scores(layout((0.0,) * 6), data_sets=1, subjects=10, random=np.random.default_rng([SEED, 7]))[0]
    nine, ten = rank(scores[:9]).attainability, rank(scores).attainability
    least = nine.comparisons * nine.smallest_p
    figure = f"{nine.comparisons} x {nine.smallest_p:.4f} = {least:.4f}; needs {nine.subjects_needed}"
    yield Finding(
        "15 pairs at 9 subjects are called impossible, at 10 not", figure, not nine.attainable and ten.attainable
    )


POWER_TABLE = ((0.02, 34, 10, 4, 36, 11, 4), (0.05, 199, 52, 10, 216, 55, 11), (0.08, 505, 128, 23, 550, 139, 24))
"""statistics.md section 7: SD, subjects to detect .01, .02, .05, subjects for TOST at margins .01, .02, .05."""


POWER_CELLS = (
    (5, 0.11, 0.44, 0.010, 0.331),
    (9, 0.20, 0.74, 0.020, 0.707),
    (15, 0.31, 0.93, 0.059, 0.946),
    (20, 0.40, 0.98, 0.130, 0.989),
    (30, 0.56, 1.00, 0.374, 0.999),
    (50, 0.79, 1.00, 0.736, 1.000),
    (100, 0.97, 1.00, 0.977, 1.000),
)
"""statistics.md section 6, simulated: subjects, t test at .02 and .05, TOST of no difference at margins .02 and .05."""


def planner(_sets: int) -> Iterator[Finding]:
    """S8."""
    off = 0
    for sd, *expected in POWER_TABLE:
        design = planning.independent_design(sd)
        found = [planning.units_for_difference(design, difference=d) for d in (0.01, 0.02, 0.05)]
        found += [planning.units_for_equivalence(design, margin=m) for m in (0.01, 0.02, 0.05)]
        off = max(off, *(abs((f or 0) - e) for f, e in zip(found, expected, strict=True)))
    yield Finding("subjects needed are those of section 7", f"largest deviation {off}", off == 0)
    for name, chosen, power_off in (
        ("from 9 subjects on", POWER_CELLS[1:], _power_off),
        ("at 5 subjects, simulated as the answer has it", POWER_CELLS[:1], _simulated_off),
    ):
        cells = [off for row in chosen for off in power_off(*row)]
        worst = max(map(abs, cells))
        yield Finding(
            f"power within 2 points of {len(cells)} cells of section 6, {name}",
            f"worst {100 * worst:.1f} points",
            worst <= 0.02,
        )


def _power_off(n: int, detect_2: float, detect_5: float, within_2: float, within_5: float) -> Iterator[float]:
    design = planning.independent_design(SD_DIFFERENCE)(n)
    for difference, expected in ((0.02, detect_2), (0.05, detect_5)):
        yield planning.t_power(design, difference=difference) - expected
    for margin, expected in ((0.02, within_2), (0.05, within_5)):
        yield planning.tost_power(design, margin=margin) - expected


def _simulated_off(n: int, detect_2: float, detect_5: float, within_2: float, within_5: float) -> Iterator[float]:
    for margin, detected, confirmed in ((0.02, detect_2, within_2), (0.05, detect_5, within_5)):
        found = plan_power(PowerRequest(sd_difference=SD_DIFFERENCE, n=n, margin=margin)).simulated
        assert found is not None
        yield found.difference.value - detected
        yield found.equivalence.value - confirmed


SPACED = {gap: tuple(gap * i for i in range(6)) for gap in (0.01, 0.02)}
REFERENCE: tuple[tuple[tuple[float, ...], float, int, dict[str, float]], ...] = (
    (SPACED[0.01], 0.0, 9, {"best_first": 0.66, "same_winner": 0.51, "tau_truth": 0.73, "winner_frequent": 0.13}),
    (SPACED[0.01], 0.0, 50, {"best_first": 0.91, "same_winner": 0.84, "tau_truth": 0.94, "winner_frequent": 0.38}),
    (SPACED[0.01], 0.0, 100, {"best_first": 0.97, "whole_order": 0.88, "winner_separated": 0.12}),
    (SPACED[0.02], 0.0, 9, {"best_first": 0.88, "winner_never_changes": 0.77, "whole_order": 0.51}),
    (SPACED[0.02], 0.0, 20, {"best_first": 0.96, "tau_between": 0.95, "winner_frequent": 0.56}),
    ((0.0, *(0.02,) * 5), 0.0, 20, {"best_first": 0.87, "same_winner": 0.75, "winner_frequent": 0.19}),
    ((0.0, *(0.02,) * 5), 0.0, 50, {"best_first": 0.99, "winner_separated": 0.15}),
    (SPACED[0.02], 0.05, 20, {"best_first": 0.67, "tau_truth": 0.71, "whole_order": 0.10}),
    (SPACED[0.02], 0.05, 50, {"best_first": 0.79, "same_winner": 0.66, "winner_never_changes": 0.72}),
    ((0.0,) * 6, 0.0, 9, {"same_winner": 0.17, "winner_never_changes": 0.27, "winner_frequent": 0.014}),
)
"""Cells of the table of section 6: gaps, failures, subjects, figures."""


def phase_transition(sets: int) -> Iterator[Finding]:
    """S9."""
    worst, where = 0.0, ""
    for gaps, failures, n, expected in REFERENCE:
        point = stability_at(layout(gaps, failures=failures), n, data_sets=sets, seed=SEED)
        for name, value in expected.items():
            off = abs(_value(point, name) - value)
            if off > worst:
                worst, where = off, f"{name} at {n}"
    cells = sum(len(r[3]) for r in REFERENCE)
    yield Finding(
        f"{cells} cells of section 6 within 3 points", f"worst {100 * worst:.1f} points, {where}", worst <= 0.03
    )


def _value(point: StabilityPoint, name: str) -> float:
    found: SimulatedFigure = getattr(point, name)
    return found.value


def nasty_input(_sets: int) -> Iterator[Finding]:
    """S10."""
    base = draw_scores(layout((0.0, 0.0, 0.0)), data_sets=1, subjects=9, random=np.random.default_rng([SEED, 10]))[0]
    a, b, with_nan = base[:, 0], base[:, 1], base[:, 0].copy()
    with_nan[3] = math.nan
    kinds: dict[str, tuple[Callable[[], Verdict], Callable[[], Ranking]]] = {
        "all ties": (lambda: compare(np.full(9, 0.8), np.full(9, 0.8)), lambda: rank(np.full((9, 3), 0.8))),
        "zero variance": (lambda: compare(a + 0.01, a), lambda: rank(np.stack([a, a + 0.01], axis=1))),
        "two subjects": (lambda: compare(a[:2], b[:2]), lambda: rank(base[:2])),
        "one subject": (lambda: compare(a[:1], b[:1]), lambda: rank(base[:1])),
        "NaN": (lambda: compare(with_nan, b), lambda: rank(np.stack([with_nan, b], axis=1))),
        "a case missing": (lambda: compare(a, b[:8]), lambda: _ragged(base)),
        "identical models": (lambda: compare(a, a), lambda: rank(np.stack([a, a], axis=1))),
        "one model": (lambda: compare(a, np.array([])), lambda: rank(base[:, :1])),
    }
    for kind, (pair, ranking) in kinds.items():
        answers = [_answer(pair), _answer(ranking)]
        yield Finding(
            f"{kind}: no NaN, no p = 0, no winner",
            "; ".join(text for text, _ in answers),
            all(fine for _, fine in answers),
        )


def _ragged(base: np.ndarray) -> Ranking:
    rows = [row.tolist() for row in base]
    rows[2] = rows[2][:2]
    body = {"scores": rows, "models": ["x", "y", "z"], "subjects": NINE}
    return rank_models(RankingRequest.model_validate(body), fetch_table=lambda _: BenchmarkTable(b""))


def _answer(ask: Callable[[], Verdict | Ranking]) -> tuple[str, bool]:
    """Return an answer in a word, and whether it is fit to be seen."""
    try:
        found = ask()
    except (IntimaError, ValueError) as error:
        message = error.message if isinstance(error, IntimaError) else str(error).splitlines()[-2].strip()
        return f"refused ({message[:60]})", True
    text = found.model_dump_json()
    clean = "NaN" not in text and "Infinity" not in text
    if isinstance(found, Verdict):
        p = [p for s in found.sensitivity for p in (s.p_equivalence, s.p_difference) if p is not None]
        return found.verdict, clean and found.no_winner and all(v > 0 for v in p)
    return f"winner {found.winner}", clean and found.winner is None and all(p.p_difference > 0 for p in found.pairs)


def same_answer(_sets: int) -> Iterator[Finding]:
    """S11."""
    nine = draw_scores(layout((0.0,) * 6), data_sets=1, subjects=9, random=np.random.default_rng([SEED, 11]))[0]
    once, again = (compare(nine[:, 0], nine[:, 1]).model_dump_json() for _ in range(2))
    first, second = rank(nine), rank(nine)
    yield Finding(
        "two runs answer alike, the ranking of 9 by enumeration",
        f"exact: {first.stability.exact}, {first.stability.resamples} resamples",
        once == again and first == second and first.stability.exact,
    )


def failure_bound(_sets: int) -> Iterator[Finding]:
    """S12."""
    nine = draw_scores(layout((0.0, 0.0)), data_sets=1, subjects=9, random=np.random.default_rng([SEED, 12]))[0]
    found = compare(nine[:, 0], nine[:, 1])
    said = [w for w in found.warnings if "28%" in w]
    holds = bool(said) and abs(found.failure_rate_upper_bound - (1 - 0.05 ** (1 / 9))) < 1e-12
    yield Finding("no failure in 9 still allows 28 %", said[0] if said else "not said", holds)


ORDERED = {
    "Cliff's delta": effects.cliffs_delta_interval,
    "rank-biserial": effects.matched_rank_biserial_interval,
    "P(a > b)": effects.probability_of_superiority_interval,
}


def _d_z_interval(a: np.ndarray, b: np.ndarray) -> intervals.ConfidenceInterval | None:
    effect = effects.d_z(a, b)
    return None if effect is None else effects.d_z_interval(effect, len(a))


STANDARDISED = {"d_z": _d_z_interval, "d_av": effects.d_av_interval}


def coverage_of_effects(sets: int) -> Iterator[Finding]:
    """Beyond S1 to S12: intervals of effect sizes."""
    few = min(sets, 1_000)
    least = 0.92 - grace(0.92, few)
    clean, failing = _worst_coverage(few, failures=0.0), _worst_coverage(few, failures=0.05)
    for names, wanted in ((ORDERED, (clean, failing)), (STANDARDISED, (clean,))):
        worst = {name: min(cells[name] for cells in wanted) for name in names}
        figure = ", ".join(f"{name} {cover:.3f}" for name, cover in worst.items())
        rest = "" if failing in wanted else ", no more than " + ", ".join(f"{failing[n]:.3f}" for n in names)
        yield Finding(
            f"intervals of {', '.join(names)} cover at least .92, 5 to 30 subjects, "
            + ("clean and with failures" if failing in wanted else "clean"),
            f"worst {figure}" + (f"{rest} with failures: they take differences for normal" if rest else ""),
            min(worst.values()) >= least,
        )


def _worst_coverage(sets: int, *, failures: float) -> dict[str, float]:
    """Return the lowest coverage of each interval over four gaps and four numbers of subjects."""
    worst = dict.fromkeys((*ORDERED, *STANDARDISED), 1.0)
    for gap, n in product((0.0, 0.02, 0.05, 0.10), (5, 9, 15, 30)):
        model, random = layout((0.0, gap), failures=failures), np.random.default_rng([SEED, 13, n])
        truth = _true_effects(draw_scores(model, data_sets=1, subjects=200_000, random=random)[0])
        scores = draw_scores(model, data_sets=sets, subjects=n, random=random)
        for name, interval in (ORDERED | STANDARDISED).items():
            found = [interval(a, b) for a, b in zip(scores[..., 0], scores[..., 1], strict=True)]
            cover = float(np.mean([i is not None and i.low <= truth[name] <= i.high for i in found]))
            worst[name] = min(worst[name], cover)
    return worst


def _true_effects(scores: np.ndarray) -> dict[str, float]:
    """Return the effects of a whole population, (subjects, 2)."""
    a, b = scores.T
    values = {
        "Cliff's delta": effects.cliffs_delta(a, b),
        "rank-biserial": effects.matched_rank_biserial(a, b),
        "P(a > b)": effects.probability_of_superiority(a, b),
        "d_z": effects.d_z(a, b),
        "d_av": effects.d_av(a, b),
    }
    return {name: value for name, value in values.items() if value is not None}


GOALS: dict[str, Callable[[int], Iterator[Finding]]] = {
    "S1": coverage_of_a_difference,
    "S2": coverage_of_a_mean,
    "S3": type_one_error,
    "S4": size_of_equivalence,
    "S5": winners_of_equal_models,
    "S6": honest_at_nine,
    "S7": impossible_designs,
    "S8": planner,
    "S9": phase_transition,
    "S10": nasty_input,
    "S11": same_answer,
    "S12": failure_bound,
    "effects": coverage_of_effects,
}


if __name__ == "__main__":
    sys.exit(main())
