"""The cheapest among equivalents."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from intima.comparison.ranking import rank_models
from intima.comparison.table import BenchmarkTable
from intima.contracts.statistics import RankingChoice, RankingRequest

NINE = [f"m{i}" for i in range(9)]
MODELS = ("large", "small", "poor")
BASE = np.array([0.81, 0.86, 0.79, 0.90, 0.84, 0.77, 0.88, 0.83, 0.85])
NOISE = np.array([0.004, -0.006, 0.002, -0.003, 0.005, -0.001, 0.003, -0.005, 0.001])
SCORES = np.stack([BASE + 0.001, BASE + NOISE, BASE - 0.1 + 2 * NOISE], axis=1)


def choose(scores: np.ndarray = SCORES, **more: object) -> RankingChoice | None:
    body = {"scores": scores.tolist(), "models": MODELS[: scores.shape[1]], "subjects": NINE, "margin": {"value": 0.02}}
    return rank_models(RankingRequest.model_validate(body | more), fetch_table=lambda _: BenchmarkTable(b"")).choice


def test_the_cheaper_of_two_equivalents() -> None:
    found = choose(costs=[10.0, 1.0, 0.1])
    assert found is not None
    assert (found.best, found.model, found.rule) == ("large", "small", "cost")
    assert [m.equivalent for m in found.models] == [True, True, False]
    assert found.alpha_each == 0.025
    d = SCORES[:, 1] - SCORES[:, 0]
    sides = [stats.ttest_1samp(d, b, alternative=a).pvalue for b, a in ((-0.02, "greater"), (0.02, "less"))]
    assert found.models[1].p_equivalence == pytest.approx(max(sides))
    assert "can be replaced by small, the cheapest of the 2" in found.sentence


def test_the_best_stays_where_it_is_the_cheapest_or_alone() -> None:
    cheap = choose(costs=[1.0, 10.0, 0.1])
    assert cheap is not None
    assert cheap.model == "large"
    assert "is itself the cheapest" in cheap.sentence
    alone = choose(SCORES[:, [0, 2]], costs=[5.0, 0.1])
    assert alone is not None
    assert alone.model == "large"
    assert "nothing cheaper" in alone.sentence


def test_without_costs_or_margin_nothing_is_chosen() -> None:
    unknown = choose()
    assert unknown is not None
    assert unknown.model is None
    assert choose(margin=None, costs=[1.0, 2.0, 3.0]) is None


def test_a_copy_is_not_shown_to_be_equivalent() -> None:
    found = choose(np.stack([BASE, BASE], axis=1), costs=[2.0, 1.0])
    assert found is not None
    assert [m.equivalent for m in found.models] == [True, False]
    assert found.models[1].p_equivalence is None


def test_costs_must_fit_the_models() -> None:
    with pytest.raises(ValidationError, match="one for each of models"):
        choose(costs=[1.0])
    with pytest.raises(ValidationError):
        RankingRequest.model_validate({"benchmark": "bmk_1", "costs": [1.0, 2.0]})


def test_a_benchmark_brings_its_costs_and_its_correction() -> None:
    lines = ["case,subject,protocol,repeat,fold,seed,architecture,model,class,metric,value,unit,selection_biased"]
    lines += [
        f"{s}.png,{s},loocv,0,{i},0,{m},{m},macro,dice,{SCORES[i, j]},,False"
        for j, m in enumerate(MODELS)
        for i, s in enumerate(NINE)
    ]
    costs = {"large": {"flops": 1e10}, "small": {"flops": 1e8, "parameter_count": 5.0}}
    table = BenchmarkTable("\n".join(lines).encode(), read_costs=lambda: costs)
    request = RankingRequest.model_validate({"benchmark": "bmk_1", "margin": {"value": 0.02}})
    found = rank_models(request, fetch_table=lambda _: table).choice
    raw = choose(costs=[1.0, 1.0, 1.0])
    assert found is not None
    assert raw is not None
    assert (found.model, found.rule) == ("small", "flops")
    p = {m.model: m.p_equivalence for m in found.models}
    assert p["small"] > {m.model: m.p_equivalence for m in raw.models}["small"]  # type: ignore[operator]
    fewer = rank_models(request.model_copy(update={"cheapest_by": "parameter_count"}), fetch_table=lambda _: table)
    assert fewer.choice is not None
    assert fewer.choice.model == "small"


def test_two_subjects_show_no_equivalence() -> None:
    body = {"scores": [[0.9, 0.8999], [0.8, 0.8002]], "models": ["x", "y"], "subjects": ["m1", "m2"]}
    request = RankingRequest.model_validate(body | {"margin": {"value": 0.5}, "costs": [10.0, 1.0]})
    found = rank_models(request, fetch_table=lambda _: BenchmarkTable(b"")).choice
    assert found is not None
    assert sum(m.equivalent for m in found.models) == 1
