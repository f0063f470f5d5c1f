"""Rank tests against published tables, scipy, statsmodels and brute force."""

import csv
import itertools
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from intima.statistics import ranking as r

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from statsmodels.stats.multitest import multipletests

DEMSAR = "demsar_2006_table6"
REFERENCES = [DEMSAR, f"{DEMSAR} with voting C4.5+cf = 0.97501", "data_gh_2008", "data_blum_2015", "data_kcv_example"]
matrices = st.tuples(st.integers(2, 7), st.integers(2, 5)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(0, 4), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    ).map(lambda rows: np.array(rows) / 10)
)


def table(folder: Path, name: str) -> tuple[list[str], np.ndarray]:
    with (folder / f"{name.split(' ', maxsplit=1)[0]}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    skip = {"data_blum_2015": 2, "data_kcv_example": 3}.get(name, 1)
    scores = np.array([[float(v) for v in row[skip:]] for row in rows[1:]])
    if name == "data_kcv_example":
        blocks = [row[0] for row in rows[1:]]
        scores = np.array([scores[[b == k for b in blocks]].mean(axis=0) for k in dict.fromkeys(blocks)])
    if "0.97501" in name:
        column = rows[0][skip:].index("C4.5+cf")
        line = next(i for i, row in enumerate(rows[1:]) if "voting" in row[0])
        scores[line, column] = 0.97501
    return rows[0][skip:], scores


@pytest.fixture(scope="module")
def published(shared_data: Path) -> tuple[Path, dict[str, dict[str, object]]]:
    folder = shared_data / "stats-tables"
    return folder, json.loads((folder / "expected.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", REFERENCES)
def test_published_tables(published: tuple[Path, dict[str, dict[str, object]]], name: str) -> None:
    folder, expected = published
    models, scores = table(folder, name)
    reference: dict[str, object] = expected["reference"][name]  # type: ignore[assignment]
    n, k = scores.shape
    assert (n, k) == (reference["N"], reference["k"])
    ranks = r.within_ranks(scores).mean(axis=0)
    by_name: dict[str, float] = reference["average_ranks"]  # type: ignore[assignment]
    assert ranks == pytest.approx([by_name[m] for m in models])
    found = r.friedman(scores)
    assert found.chi2 == pytest.approx(reference["friedman_chi2_tie_corrected"])
    assert found.p == pytest.approx(max(1e-16, float(reference["friedman_p"])), rel=1e-6)  # type: ignore[arg-type]
    assert found.iman_davenport_f == pytest.approx(reference["iman_davenport_F_tie_corrected"])
    for alpha in ("0.05", "0.10"):
        critical = r.nemenyi_critical_difference(k, n, alpha=float(alpha))
        assert critical == pytest.approx(reference[f"nemenyi_CD_alpha_{alpha}"], rel=1e-6)
    p = r.nemenyi_p(ranks, n)
    for pair, value in reference["nemenyi_p"].items():  # type: ignore[attr-defined]
        a, b = pair.split(" | ")
        assert p[models.index(a), models.index(b)] == pytest.approx(value, abs=1e-6)


def test_demsars_trap(published: tuple[Path, dict[str, dict[str, object]]]) -> None:
    """The paper's chi2 of 9.28 needs the unrounded scores; the printed ones tie and give 10.95."""
    folder, _ = published
    assert r.friedman(table(folder, REFERENCES[0])[1]).chi2 == pytest.approx(10.952, abs=1e-3)
    untied = table(folder, REFERENCES[1])[1]
    assert r.within_ranks(untied).mean(axis=0) == pytest.approx([3.143, 2.0, 2.893, 1.964], abs=5e-4)
    ties = sum(int(t**3 - t) for row in r.within_ranks(untied) for t in np.unique(row, return_counts=True)[1])
    assert r.friedman(untied).chi2 * (1 - ties / (14 * 4 * 15)) == pytest.approx(9.28, abs=5e-3)


@settings(max_examples=80)
@given(matrices)
def test_friedman_is_scipys_or_a_defined_answer(scores: np.ndarray) -> None:
    n, k = scores.shape
    found = r.friedman(scores)
    values = [found.chi2, found.p, found.iman_davenport_p, found.kendall_w]
    assert np.isfinite(values).all()
    assert all(0 < p <= 1 for p in values[1:3])
    if k >= 3 and any(len(set(row)) > 1 for row in scores):
        assert found.chi2 == pytest.approx(stats.friedmanchisquare(*scores.T).statistic, abs=1e-9)
        assert found.kendall_w == pytest.approx(found.chi2 / (n * (k - 1)), abs=1e-9)


def test_full_agreement_has_an_exact_p() -> None:
    found = r.friedman(np.tile([0.9, 0.8, 0.7], (4, 1)))
    assert found.iman_davenport_f is None
    orders = list(itertools.permutations(range(3)))
    alike = sum(len(set(rows)) == 1 for rows in itertools.product(orders, repeat=4))
    assert found.iman_davenport_p == pytest.approx(alike / len(orders) ** 4)
    assert found.kendall_w == 1


def test_all_tied_is_no_evidence() -> None:
    found = r.friedman(np.full((9, 6), 0.5))
    assert (found.chi2, found.p, found.kendall_w) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(("k", "expected"), [(3, 1.105), (4, 1.563), (5, 2.033), (6, 2.513), (10, 4.515)])
def test_critical_difference_at_nine(k: int, expected: float) -> None:
    assert r.nemenyi_critical_difference(k, 9) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 15, 45])
def test_holm_is_statsmodels(count: int) -> None:
    for seed in range(2):
        p = np.round(np.random.default_rng([seed, count]).random(count), 2)
        assert r.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@pytest.mark.parametrize(("pairs", "needed"), [(1, 6), (5, 8), (15, 10), (45, 11)])
def test_attainable_designs(pairs: int, needed: int) -> None:
    assert r.subjects_for_attainable(pairs) == needed
    assert r.smallest_exact_p(needed) * pairs <= 0.05 < r.smallest_exact_p(needed - 1) * pairs


@settings(max_examples=15)
@given(matrices)
def test_rank_distribution_is_brute_force(scores: np.ndarray) -> None:
    n, k = scores.shape
    if n > 4:
        scores, n = scores[:4], 4
    units = np.rint(scores * 10).astype(int)
    found = np.zeros((k, k))
    for draw in itertools.product(range(n), repeat=n):
        sums = units[list(draw)].sum(axis=0)
        for model in range(k):
            better, tied = int((sums > sums[model]).sum()), int((sums == sums[model]).sum())
            found[model, better : better + tied] += 1 / tied / n**n
    stability = r.rank_stability(scores)
    assert stability.exact
    assert stability.distribution == pytest.approx(found, abs=1e-9)
    assert stability.distribution.sum(axis=0) == pytest.approx(1)
    assert stability.distribution.sum(axis=1) == pytest.approx(1)


def test_identical_models_share_every_rank() -> None:
    found = r.rank_stability(np.tile(np.linspace(0.5, 0.9, 9)[:, None], (1, 4)))
    assert found.p_best == pytest.approx(0.25)
    assert found.null_frequency == pytest.approx(0.25)
    assert found.null_p == 1.0
    assert (found.leave_one_out_ranks == 2.5).all()


def test_null_of_six_models_at_nine_subjects() -> None:
    """Section 1: six identical models give the observed winner rank 1 in about 55 % of resamples."""
    random = np.random.default_rng(0)
    scores = random.normal(0.85, 0.07, (9, 1)) + random.normal(0, 0.036, (9, 6))
    assert r.rank_stability(scores).null_frequency == pytest.approx(0.55, abs=0.04)


def test_leave_one_out_is_leaving_one_out() -> None:
    scores = np.random.default_rng(4).normal(size=(7, 5))
    found = r.rank_stability(scores).leave_one_out_ranks
    for i in range(7):
        assert (found[i] == stats.rankdata(-np.delete(scores, i, axis=0).mean(axis=0))).all()


def test_above_ten_subjects_the_seed_decides() -> None:
    scores = np.random.default_rng(4).normal(size=(12, 3))
    first, again, other = (r.rank_stability(scores, seed=s, draws=500) for s in (1, 1, 2))
    assert not first.exact
    assert (first.distribution == again.distribution).all()
    assert not (first.distribution == other.distribution).all()


@pytest.mark.parametrize("shape", [(9, 6), (14, 4), (30, 3)])
def test_permutation_p_is_close_to_iman_davenport(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(shape[0])
    for gap in (0.0, 0.02):
        scores = random.normal(0.8, 0.05, shape) + gap * np.arange(shape[1])
        exact = r.friedman_permutation_p(scores)
        assert exact == pytest.approx(r.friedman(scores).iman_davenport_p, abs=0.03)


def test_permutation_p_by_enumeration() -> None:
    """Three subjects and three models have 216 arrangements of their ranks."""
    scores = np.array([[0.9, 0.8, 0.7], [0.9, 0.7, 0.8], [0.9, 0.8, 0.7]])
    ranks = r.within_ranks(scores)
    orders = list(itertools.permutations(range(3)))
    sums = [
        float(np.sum(sum(row[list(o)] for row, o in zip(ranks, choice, strict=True)) ** 2))
        for choice in itertools.product(orders, repeat=3)
    ]
    expected = np.mean(np.array(sums) >= np.sum(ranks.sum(axis=0) ** 2) - 1e-9)
    assert r.friedman_permutation_p(scores) == pytest.approx(expected, abs=0.02)
    assert r.friedman_permutation_p(np.full((4, 3), 0.5)) == 1.0


def test_permutation_p_keeps_its_level() -> None:
    random = np.random.default_rng(5)
    p = [r.friedman_permutation_p(random.beta(8, 2, (5, 4))) for _ in range(60)]
    assert np.mean(np.array(p) <= 0.05) <= 0.13


def test_tiers_hold_what_is_not_shown_to_be_worse() -> None:
    means = np.array([0.8, 0.9, 0.7, 0.85])
    p = np.ones((4, 4))
    assert r.tiers(means, p) == [[1, 3, 0, 2]]
    for worse in (0, 2):
        p[1, worse] = p[worse, 1] = 0.01
    assert r.tiers(means, p) == [[1, 3], [0, 2]]
    p[0, 2] = p[2, 0] = 0.01
    assert r.tiers(means, p) == [[1, 3], [0], [2]]


@pytest.mark.parametrize("models", [2, 6, 30, 100])
def test_studentized_range_is_scipys(models: int) -> None:
    q = np.array([0.0, 0.3, 1.0, 2.0, 3.5, 5.0, 7.0])
    expected = stats.studentized_range.sf(q, models, np.inf)
    assert r.studentized_range_sf(q, models) == pytest.approx(expected, abs=1e-8)
