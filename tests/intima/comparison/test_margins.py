"""Margins as a use case: from long form or a benchmark to a margin that fits a comparison."""

import numpy as np
import pytest
from pydantic import ValidationError

from intima.comparison.margins import derive_margin
from intima.comparison.table import BenchmarkTable
from intima.contracts.benchmark import IncompletePart
from intima.contracts.margin import MarginAnswer, MarginRequest
from intima.errors import Invalid
from intima.statistics.margins import slope_within_subjects, within_subject_sd

NINE = [f"m{i}" for i in range(9)]
RANDOM = np.random.default_rng(0)
OBSERVED = RANDOM.normal(0.9, 0.05, (9, 1)) + RANDOM.normal(0, 0.02, (9, 3))
DICE = RANDOM.normal(0.85, 0.04, (9, 1)) + RANDOM.normal(0, 0.03, (9, 3))
IM_ERROR = 1.2 - DICE + RANDOM.normal(0, 0.005, (9, 3))


def derive(csv: bytes = b"", incomplete: tuple[IncompletePart, ...] = (), **body: object) -> MarginAnswer:
    request = MarginRequest.model_validate(body)
    return derive_margin(request, fetch_table=lambda _: BenchmarkTable(csv, incomplete=incomplete))


def long(table: np.ndarray, columns: str, values: str = "scores") -> dict[str, object]:
    names = [f"{columns[0]}{j}" for j in range(table.shape[1])]
    return {
        values: table.ravel().tolist(),
        "subjects": [s for s in NINE for _ in names],
        columns: names * len(NINE),
    }


def endpoint(dice: np.ndarray = DICE, errors: np.ndarray = IM_ERROR, **more: object) -> dict[str, object]:
    return long(dice, "models") | long(errors, "models", "endpoint_errors") | {"largest": 0.05} | more


def table_csv(dice: np.ndarray = DICE, errors: np.ndarray = IM_ERROR, *, skip: tuple[str, ...] = ()) -> bytes:
    lines = ["case,subject,protocol,repeat,fold,seed,architecture,model,class,metric,value,unit,selection_biased"]
    for metric, values in (("dice", dice), ("im_error", errors)):
        lines += [
            f"{s}.png,{s},loocv,0,{i},0,x{j},x{j},macro,{metric},{'' if metric + s in skip else values[i, j]},,False"
            for i, s in enumerate(NINE)
            for j in range(values.shape[1])
        ]
    return "\n".join(lines).encode()


def test_observers_give_the_lower_limit_of_their_spread() -> None:
    found, spread = derive(observers=long(OBSERVED, "observers")), within_subject_sd(OBSERVED)
    assert found.margin is not None
    assert spread is not None
    assert (found.estimate, found.low, found.high) == (spread.value, spread.interval.low, spread.interval.high)
    assert (found.margin.value, found.margin.basis) == (spread.interval.low, "inter_observer")
    assert found.n_units == 9
    assert [(b.a, b.b) for b in found.observer_biases] == [("o0", "o1"), ("o0", "o2"), ("o1", "o2")]
    assert "by 3 observers scatters" in found.sentence


def test_a_systematic_observer_is_named() -> None:
    shifted = OBSERVED + np.array([0, 0, 0.1])
    notes = derive(observers=long(shifted, "observers")).warnings
    assert any(note.startswith("Observers differ systematically") and "o0 and o2" in note for note in notes)
    assert any("Two observers" in n for n in derive(observers=long(OBSERVED[:, :2], "observers")).warnings)


def test_sections_are_averaged_within_subject_and_observer() -> None:
    once = long(OBSERVED, "observers")
    twice = {k: [v for one in column for v in (one, one)] for k, column in once.items()}
    assert derive(observers=twice).margin == derive(observers=once).margin


def test_observers_who_agree_give_no_margin() -> None:
    found = derive(observers=long(np.repeat(OBSERVED[:, :1], 2, axis=1), "observers"))
    assert (found.margin, found.low) == (None, None)
    assert "agree on every one of 9 subjects" in found.sentence


def test_an_endpoint_gives_the_gap_that_moves_it_by_less_than_stated() -> None:
    found = derive(endpoint=endpoint())
    slope = slope_within_subjects(-DICE, np.abs(IM_ERROR))
    assert slope is not None
    assert found.margin is not None
    assert found.slope is not None
    assert found.slope.value == pytest.approx(slope.value)
    assert found.estimate == pytest.approx(0.05 / slope.value)
    assert found.margin.value == pytest.approx(0.05 / slope.interval.high)
    assert found.margin.basis == "endpoint"
    assert found.margin.value < found.estimate < (found.high or 0)


def test_twice_the_endpoint_is_half_the_margin() -> None:
    once, twice = derive(endpoint=endpoint()), derive(endpoint=endpoint(errors=2 * IM_ERROR))
    assert once.low == pytest.approx(2 * (twice.low or 0))
    assert derive(endpoint=endpoint(largest=0.1)).low == pytest.approx(2 * (once.low or 0))


def test_a_metric_where_lower_is_better() -> None:
    found = derive(endpoint=endpoint(dice=100 * (1 - DICE)), metric="hd95")
    assert found.low == pytest.approx(100 * (derive(endpoint=endpoint()).low or 0))


def test_a_metric_that_does_not_move_the_endpoint() -> None:
    noise = np.random.default_rng(3).normal(0.1, 0.02, (9, 3))
    found = derive(endpoint=endpoint(errors=noise))
    assert found.margin is not None
    assert found.high is None
    assert any("is not shown" in w for w in found.warnings)
    inverse = derive(endpoint=endpoint(errors=DICE))
    assert inverse.margin is None
    assert "no gap can be derived" in inverse.sentence


def test_a_margin_beyond_what_was_seen_says_so() -> None:
    found = derive(endpoint=endpoint(largest=5))
    assert found.margin is not None
    assert found.margin.value == pytest.approx(np.ptp(DICE, axis=1).max())
    assert found.margin.value < (found.low or 0)
    assert any("nothing is known beyond" in w for w in found.warnings)


@pytest.mark.parametrize("same", [0.1, 0.3, 0.7])
def test_an_endpoint_that_is_the_same_for_all_models_gives_no_margin(same: float) -> None:
    """Centring leaves rounding noise, of which a slope was made once."""
    found = derive(endpoint=endpoint(errors=np.full((9, 3), same) + np.arange(9)[:, None] / 7))
    assert (found.margin, found.slope) == (None, None)
    assert "differs between models on fewer than two subjects" in found.sentence


def test_an_observer_with_a_constant_bias_is_named_and_chance_is_not() -> None:
    shifted = np.repeat(OBSERVED[:, :1], 2, axis=1) + np.array([0, 0.1])
    assert any("(-0.1)" in w for w in derive(observers=long(shifted, "observers")).warnings)
    alike = np.random.default_rng(5).normal(0.9, 0.02, (9, 20))
    assert not [w for w in derive(observers=long(alike, "observers")).warnings if "systematically" in w]


def test_a_margin_below_what_scores_resolve_is_none() -> None:
    pair = np.full((9, 2), 0.5)
    pair[:, 1] += 1e-6
    found = derive(observers=long(pair, "observers"))
    assert found.margin is None
    assert "six decimals" in found.sentence


def test_scores_at_the_limit_do_not_break_it() -> None:
    wide = np.tile([1e9, -1e9], (9, 1))
    found = derive(observers=long(wide, "observers"))
    assert found.margin is not None
    assert found.margin.value <= 1e9
    spread = np.zeros((9, 2))
    spread[0], spread[1:, 1] = (1e9, -1e9), 0.5
    assert derive(endpoint=endpoint(dice=spread, errors=np.abs(spread))).slope is not None


def test_signed_errors_count_by_their_size_before_they_are_averaged() -> None:
    body = endpoint()
    twice = {k: [v for one in column for v in (one, one)] for k, column in body.items() if k != "largest"}
    twice["endpoint_errors"] = [v * (-1) ** i for i, v in enumerate(twice["endpoint_errors"])]
    assert derive(endpoint=twice | {"largest": 0.05}).low == pytest.approx(derive(endpoint=body).low)


def test_a_benchmark_gives_what_its_scores_give() -> None:
    found = derive(table_csv(), endpoint={"benchmark": "bmk_1", "largest": 0.05})
    raw = derive(endpoint=endpoint())
    assert (found.low, found.n_units) == (pytest.approx(raw.low), 9)
    assert any("exploratory" in w for w in found.warnings)
    assert found.provenance["benchmark"] == "bmk_1"


def test_cases_without_an_endpoint_are_left_out_of_both() -> None:
    found = derive(table_csv(skip=("im_errorm0",)), endpoint={"benchmark": "bmk_1", "largest": 0.05})
    assert found.n_units == 8
    assert any("m0" in w for w in found.warnings)


def test_incomplete_contenders_do_not_count() -> None:
    part = IncompletePart(model="x2", protocol="loocv", missing=1, unit="u", reason="r")
    found = derive(table_csv(), (part,), endpoint={"benchmark": "bmk_1", "largest": 0.05})
    two = derive(table_csv(DICE[:, :2], IM_ERROR[:, :2]), endpoint={"benchmark": "bmk_1", "largest": 0.05})
    assert found.low == two.low
    assert any("x2 is left out" in w for w in found.warnings)
    parts = tuple(part.model_copy(update={"model": f"x{j}"}) for j in range(3))
    with pytest.raises(Invalid, match="No contender is complete"):
        derive(table_csv(), parts, endpoint={"benchmark": "bmk_1", "largest": 0.05})


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"observers": long(OBSERVED[:, :1], "observers")}, "/observers"),
        ({"observers": {"scores": [0.8, 0.9] * 4, "subjects": [*"aabbccdd"], "observers": [*"xy"] * 4}}, "/observers"),
        ({"endpoint": {"benchmark": "bmk_1", "largest": 1, "endpoint": "stenosis_error"}}, "/endpoint/endpoint"),
        ({"endpoint": {"benchmark": "bmk_1", "largest": 1, "endpoint_class": "media"}}, "/endpoint/endpoint_class"),
        ({"endpoint": {"benchmark": "bmk_1", "largest": 1, "protocol": "kfold3"}}, "/endpoint/protocol"),
        ({"endpoint": {"benchmark": "bmk_1", "largest": 1}, "metric": "nsd"}, "/metric"),
        ({"endpoint": endpoint(endpoint="dice")}, "/endpoint/endpoint"),
        ({"endpoint": {"benchmark": "bmk_1", "largest": 1}, "metric": "area_error"}, "/higher_is_better"),
    ],
)  # fmt: skip
def test_what_gives_no_margin_is_refused_with_its_place(body: dict[str, object], pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        derive(table_csv(), **body)
    assert caught.value.pointer == pointer


def test_a_subject_that_one_observer_lacks_is_named() -> None:
    body = long(OBSERVED, "observers")
    short = {k: v[:-1] for k, v in body.items()}  # type: ignore[index]
    with pytest.raises(Invalid, match="o2 has no score on m8"):
        derive(observers=short)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"observers": long(OBSERVED, "observers"), "endpoint": endpoint()},
        {"endpoint": {"largest": 0.05}},
        {"endpoint": {"largest": 0.05, "scores": [1.0]}},
        {"endpoint": endpoint(benchmark="bmk_1")},
        {"endpoint": endpoint(models=["x"])},
        {"endpoint": endpoint(largest=0)},
        {"observers": long(OBSERVED, "observers") | {"subjects": ["a"]}},
    ],
)
def test_contradictions_are_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MarginRequest.model_validate(body)
