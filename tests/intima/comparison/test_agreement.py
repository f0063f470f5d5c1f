"""Rankings of one benchmark beside each other, out of its scores table."""

import csv
import io

import numpy as np
import pytest

from intima.comparison.ranking import rank_models
from intima.comparison.table import BenchmarkTable
from intima.contracts.benchmark import IncompletePart
from intima.contracts.statistics import Ranking, RankingRequest
from intima.statistics.equivalence import TrainingOverlap, paired_t

HEADER = [
    *("case", "subject", "protocol", "repeat", "fold", "seed", "architecture", "model", "class"),
    *("metric", "value", "unit", "selection_biased"),
]
QUALITY = {"a": 0.90, "b": 0.85, "c": 0.80, "d": 0.75}


def row(model: str, subject: int, value: float, **more: object) -> dict[str, object]:
    shared = {"case": f"m{subject}", "subject": f"m{subject}", "repeat": 0, "fold": subject, "seed": 0, "unit": ""}
    fixed = {"architecture": model, "model": model, "class": "macro", "metric": "dice", "selection_biased": False}
    return shared | fixed | {"protocol": "loocv", "value": value} | more


def table(*, noise: float = 0.01, seeds: tuple[int, ...] = (0,)) -> list[dict[str, object]]:
    random, found = np.random.default_rng(1), []
    for seed in seeds:
        for model, quality in QUALITY.items():
            for subject in range(9):
                value = quality + float(random.normal(0, noise))
                one = {"seed": seed}
                found.append(row(model, subject, value, **one))
                found.append(row(model, subject, value - 0.01, protocol="kfold3", fold=subject % 3, **one))
                found.append(row(model, subject, 40 * (1 - value), metric="hd95", unit="um", **one))
                found.append(row(model, subject, value - 0.8, metric="area_error", **one))
    return found


def rank(rows: list[dict[str, object]], protocol: str = "loocv", **more: object) -> Ranking:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, HEADER)
    writer.writeheader()
    writer.writerows(rows)
    incomplete = more.pop("incomplete", ())
    source = BenchmarkTable(out.getvalue().encode(), incomplete=incomplete)  # type: ignore[arg-type]
    request = RankingRequest.model_validate({"benchmark": "bmk_1", "protocol": protocol} | more)
    return rank_models(request, fetch_table=lambda _: source)


def test_protocols_and_metrics_that_agree() -> None:
    found = {(a.between, a.a, a.b): a for a in rank(table()).agreements}
    assert set(found) == {("protocols", "loocv", "kfold3"), ("metrics", "dice", "hd95")}
    for agreement in found.values():
        assert agreement.tau == 1.0
        assert agreement.null_mean == pytest.approx(1.0, abs=0.02), "shifted copies agree whatever the models"


def test_a_metric_without_a_better_side_ranks_nothing() -> None:
    assert all("area_error" not in {a.a, a.b} for a in rank(table()).agreements)


def test_seeds_are_compared_and_their_ranks_move() -> None:
    found = rank(table(noise=0.2, seeds=(0, 1, 2)))
    seeds = [a for a in found.agreements if a.between == "seeds"]
    assert [(a.a, a.b) for a in seeds] == [("0", "1"), ("0", "2"), ("1", "2")]
    moved = {v.over: v for v in found.volatility}
    assert set(moved) == {"seeds"}, "leave-one-out has one subject a fold"
    assert moved["seeds"].views == ("0", "1", "2")
    assert moved["seeds"].mean_range > 0
    assert all(1 <= m.lowest <= m.highest <= 4 for m in moved["seeds"].models)


def test_ranks_over_three_folds() -> None:
    steady = rank(table(), "kfold3").volatility
    assert [v.over for v in steady] == ["folds"]
    assert steady[0].mean_range == 0
    assert steady[0].null_mean_range > 0.5
    assert steady[0].null_p < 0.05


def test_repeats_of_one_seed() -> None:
    again = [r | {"repeat": 1, "value": float(str(r["value"])) - 0.001} for r in table() if r["protocol"] == "kfold3"]
    found = rank([*table(), *again], "kfold3")
    assert {v.over for v in found.volatility} == {"folds", "repeats"}


def test_an_incomplete_protocol_is_not_ranked() -> None:
    part = IncompletePart(model="b", protocol="kfold3", missing=1, unit="b/kfold3/f0", reason="killed")
    found = rank(table(), incomplete=(part,))
    assert [a.between for a in found.agreements] == ["metrics"]


def test_tiers_of_clear_gaps_and_of_none() -> None:
    ten = [row(m, s, q + 0.001 * ((s * 7 + i) % 5)) for i, (m, q) in enumerate(QUALITY.items()) for s in range(10)]
    assert rank(ten).tiers == (("a",), ("b",), ("c",), ("d",))
    assert rank(table(noise=0.3)).tiers == (tuple(m.model for m in rank(table(noise=0.3)).models),)


def test_raw_scores_have_nothing_to_agree_with() -> None:
    request = RankingRequest.model_validate(
        {"scores": [[0.8, 0.7], [0.9, 0.6]], "models": ["x", "y"], "subjects": ["m1", "m2"]}
    )
    found = rank_models(request, fetch_table=lambda _: BenchmarkTable(b""))
    assert (found.agreements, found.volatility) == ((), ())


def test_a_model_without_any_score_under_one_seed_breaks_nothing() -> None:
    rows = [
        r | {"value": "" if r["model"] == "b" and r["seed"] == 0 else r["value"]}
        for r in table(seeds=(0, 1))
        if r["metric"] == "hd95"
    ]
    found = rank(rows, metric="hd95")
    assert {m.model for m in found.models} == set(QUALITY)
    assert found.volatility == ()


def test_a_metric_in_two_units_is_not_ranked() -> None:
    mixed = [r | {"unit": "px"} if r["metric"] == "hd95" and r["fold"] == 0 else r for r in table()]
    assert {a.between for a in rank(mixed).agreements} == {"protocols"}


def test_tiers_are_corrected_for_overlapping_training_sets_as_a_verdict_is() -> None:
    """Nine paired differences whose naive t finds what the Nadeau-Bengio correction of leave-one-out does not."""
    wobble = [0.02, -0.012, 0.03, 0.004, 0.025, -0.006, 0.028, 0.01, 0.015]
    rows = [row("a", s, 0.8 + 0.01 * s + wobble[s]) for s in range(9)] + [row("b", s, 0.8 + 0.01 * s) for s in range(9)]
    found = rank(rows)
    assert found.pairs[0].p_holm < 0.05
    assert found.tiers == (("a", "b"),)
    free = [r | {"protocol": "custom"} for r in rows]
    assert rank(free, "custom").tiers == (("a",), ("b",))


def test_the_paradox_tells_borders_from_substance() -> None:
    """b loses Dice at its borders only, c loses tissue, d is like c."""
    random, rows = np.random.default_rng(2), []
    for subject in range(9):
        base = 0.9 + float(random.normal(0, 0.02))
        for model, dice, tolerant in (("a", 0.0, 0.05), ("b", -0.1, 0.045), ("c", -0.2, -0.15), ("d", -0.201, -0.15)):
            noise = float(random.normal(0, 0.001))
            rows.append(row(model, subject, base + dice + noise))
            rows.append(row(model, subject, base + tolerant + noise, metric="tolerant_dice"))
    found = {(p.better, p.worse): p for p in rank(rows).paradox}
    readings = {pair: p.reading for pair, p in found.items()}
    assert readings == {
        ("a", "b"): "boundary",
        ("a", "c"): "substance",
        ("a", "d"): "substance",
        ("b", "c"): "substance",
        ("b", "d"): "substance",
        ("c", "d"): "equal",
    }
    first = next(iter(rank(rows).paradox))
    assert (first.better, first.worse) == ("a", "d")
    d = np.array([r["value"] for r in rows if r["model"] == "a" and r["metric"] == "tolerant_dice"]) - np.array(
        [r["value"] for r in rows if r["model"] == "b" and r["metric"] == "tolerant_dice"]
    )
    pair = found["a", "b"]
    assert pair.forgiven == pytest.approx(d.mean())
    corrected = paired_t(d, overlap=TrainingOverlap(9, 1 / 8))
    assert corrected is not None
    assert pair.forgiven_ci95 == pytest.approx((corrected.interval(0.95).low, corrected.interval(0.95).high))


def test_tables_without_a_tolerant_dice_have_no_paradox() -> None:
    assert rank(table()).paradox == ()
    assert rank(table(), metric="hd95").paradox == ()


def test_who_ranks_dice_upside_down_gets_no_paradox() -> None:
    rows = [r | {"metric": m} for r in table() if r["metric"] == "dice" for m in ("dice", "tolerant_dice")]
    assert rank(rows).paradox
    assert rank(rows, higher_is_better=False).paradox == ()
