"""Rankings end to end: the winner rule, its null, and hostile input."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intima.comparison.ranking import rank_models
from intima.comparison.table import BenchmarkTable
from intima.contracts.statistics import Ranking, RankingRequest
from intima.errors import Invalid, NotFound

MODELS = ["a", "b", "c", "d", "e", "f"]


def nothing(benchmark: str) -> BenchmarkTable:
    raise NotFound(f"There is no benchmark {benchmark!r}.")


def rank(scores: object, **more: object) -> Ranking:
    matrix = np.asarray(scores)
    body = {
        "scores": matrix.tolist(),
        "models": MODELS[: matrix.shape[1]],
        "subjects": [f"m{i}" for i in range(matrix.shape[0])],
    }
    return rank_models(RankingRequest.model_validate(body | more), fetch_table=nothing)


def field(seed: int, gaps: object, n: int = 9, sd: float = 0.036) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(0.85, 0.07, (n, 1)) + random.normal(0, sd, (n, len(np.asarray(gaps)))) - np.asarray(gaps)


def test_a_clear_winner_is_named() -> None:
    found = rank(field(1, [0, 0.1, 0.2, 0.3]))
    assert found.winner == "a"
    assert [m.model for m in found.models] == ["a", "b", "c", "d"]
    assert [m.rank for m in found.models] == [1, 2, 3, 4]
    assert found.stability.exact
    assert found.stability.resamples == 24_310
    assert found.stability.leave_one_out_winner_changes == 0


def test_a_winner_that_its_tier_shares_is_not_left_without_that() -> None:
    """Six models, nine subjects: Holm cannot separate any pair, though the winner is first on every subject."""
    found = rank(field(1, [0, 0.1, 0.2, 0.3, 0.4, 0.5], sd=0.001))
    assert found.winner == "a"
    assert found.tiers == (tuple(MODELS),)
    assert found.sentence.endswith("b, c, d, e, f are not shown to be worse after Holm's correction.")
    alone = rank(field(1, [0, 0.1, 0.2, 0.3], sd=0.001))
    assert alone.tiers[0] == ("a",)
    assert "not shown to be worse" not in alone.sentence


def test_equal_models_rarely_have_a_winner() -> None:
    """S5: at most 5 % of data sets; here 60 of them."""
    winners = [rank(field(seed, [0.0] * 6)).winner for seed in range(60)]
    assert sum(w is not None for w in winners) <= 3


def test_impossible_designs_are_called_impossible() -> None:
    nine, ten = rank(field(2, [0.0] * 6)), rank(field(2, [0.0] * 6, n=10))
    assert not nine.attainability.attainable
    assert nine.attainability.subjects_needed == 10
    assert "whatever they are" in nine.attainability.sentence
    assert nine.attainability.sentence in nine.warnings
    assert ten.attainability.attainable


def test_lower_is_better_reverses_the_order() -> None:
    scores = field(3, [0, 0.1, 0.2])
    assert [m.model for m in rank(scores, metric="hd95").models] == ["c", "b", "a"]
    assert rank(scores, metric="hd95").models[0].mean == pytest.approx(scores[:, 2].mean())


def test_rows_may_be_models_and_a_wrong_shape_is_refused() -> None:
    scores = field(4, [0, 0.05, 0.1])
    names = {"models": ["a", "b", "c"], "subjects": [f"m{i}" for i in range(9)]}
    assert rank(scores.T, rows="models", **names) == rank(scores)
    with pytest.raises(Invalid, match="9 subjects and 3 models") as caught:
        rank(scores.T, **names)
    assert 'set rows to "models"' in caught.value.hint


def test_rows_of_one_subject_are_averaged() -> None:
    scores = field(5, [0, 0.05], n=4)
    found = rank(scores, subjects=["x", "x", "y", "z"])
    assert found.n_units == 3
    assert found.warnings[0] == "4 rows were averaged within 3 subjects."


@pytest.mark.parametrize(
    ("scores", "more", "code"),
    [
        ([[0.5], [0.6]], {}, "too_few_models"),
        ([[0.5, 0.6]], {}, "too_few_subjects"),
        ([[0.5, 0.6], [0.7, 0.8]], {"models": ["a", "a"]}, "duplicate"),
        ([[0.5, 0.6], [0.7, 0.8]], {"subjects": ["x", "x"]}, "too_few_subjects"),
        ([[0.5, 0.6], [0.7, 0.8]], {"scores": [[0.5, 0.6], [0.7]]}, "unpaired"),
        ([[0.5, 0.6], [0.7, 0.8]], {"metric": "area_error"}, "invalid"),
    ],
)
def test_bad_tables_are_refused(scores: list[list[float]], more: dict[str, object], code: str) -> None:
    body = {"scores": scores, "models": ["a", "b"][: len(scores[0])], "subjects": ["x", "y"][: len(scores)]}
    with pytest.raises(Invalid) as caught:
        rank_models(RankingRequest.model_validate(body | more), fetch_table=nothing)
    assert caught.value.code == code


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("n", [2, 5, 9, 12])
def test_identical_models_have_no_winner_and_no_nan(value: float, n: int) -> None:
    found = rank(np.full((n, 6), value))
    assert found.winner is None
    assert {m.rank for m in found.models} == {3.5}
    assert found.friedman.p == 1.0
    assert all(p.ci95 is None and p.p_difference == 1.0 for p in found.pairs)
    assert found.nemenyi.groups == (("a", "b", "c", "d", "e", "f"),)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_tiny_samples_name_no_winner(n: int) -> None:
    found = rank(np.tile([0.9, 0.5, 0.1], (n, 1)) + np.linspace(0, 0.01, n)[:, None])
    assert found.winner is None
    assert found.models[0].p_best == pytest.approx(1)


@settings(max_examples=25)
@given(
    st.tuples(st.integers(2, 11), st.integers(2, 4)).flatmap(
        lambda shape: st.lists(
            st.lists(
                st.one_of(st.floats(-1e9, 1e9), st.sampled_from([0.0, 1.0])), min_size=shape[1], max_size=shape[1]
            ),
            min_size=shape[0],
            max_size=shape[0],
        )
    )
)
def test_any_finite_table_gives_a_finite_answer(scores: list[list[float]]) -> None:
    found = rank(scores, resamples=100)
    for name in ("NaN", "Infinity"):
        assert name not in found.model_dump_json()
    assert sum(m.p_best for m in found.models) == pytest.approx(1)
    assert sum(m.average_rank for m in found.models) == pytest.approx(len(found.models) * (len(found.models) + 1) / 2)
    assert all(0 < p.p_difference <= p.p_holm <= 1 and 0 < p.p_nemenyi <= 1 for p in found.pairs)


def test_six_models_on_nine_subjects_take_less_than_a_second() -> None:
    scores = field(6, [0, 0.01, 0.02, 0.03, 0.04, 0.05])
    rank(scores)
    started = time.perf_counter()
    rank(scores)
    assert time.perf_counter() - started < 1.0


def test_a_constant_difference_makes_no_winner_and_no_tier() -> None:
    """As in a comparison: the same difference on every subject is a copy, and gives no spread to judge by."""
    base = field(3, [0.0], n=12)
    found = rank(np.hstack([base + 0.05, base]))
    assert found.winner is None
    assert found.tiers == (("a", "b"),)
    assert any("the same difference on every subject: a and b." in w for w in found.warnings)
