"""Intervals and plans end to end."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from intima.comparison.estimation import estimate_interval, plan_power
from intima.contracts.statistics import IntervalRequest, PowerRequest
from intima.errors import Invalid

SCORES = (0.81, 0.86, 0.79, 0.90, 0.84, 0.77, 0.88, 0.83, 0.85)


@pytest.mark.parametrize(
    ("count", "target", "method"),
    [(9, "mean", "bootstrap_t"), (4, "mean", "t"), (9, "difference", "t"), (1001, "mean", "t")],
)
def test_default_method(count: int, target: str, method: str) -> None:
    scores = tuple(np.resize(SCORES, count))
    found = estimate_interval(IntervalRequest(scores=scores, target=target))  # type: ignore[arg-type]
    assert found.method == method


def test_t_interval() -> None:
    found = estimate_interval(IntervalRequest(scores=SCORES, method="t", confidence=0.9))
    expected = stats.ttest_1samp(SCORES, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.coverage_at_n is None, "coverage was simulated at 95 % only"
    assert found.exact
    assert found.seed is None


def test_random_intervals_print_their_seed() -> None:
    request = {"scores": SCORES + SCORES, "subjects": None, "method": "percentile", "seed": 3}
    found = estimate_interval(IntervalRequest.model_validate(request))
    assert (found.exact, found.seed) == (False, 3)
    assert any("cover too little" in w for w in found.warnings)
    assert found == estimate_interval(IntervalRequest.model_validate(request))


def test_subjects_are_averaged_first() -> None:
    found = estimate_interval(IntervalRequest(scores=(0.8, 0.9, 0.7), subjects=("x", "x", "y")))
    assert (found.n_units, found.estimate) == (2, pytest.approx(0.775))


def test_equal_scores_have_no_interval() -> None:
    found = estimate_interval(IntervalRequest(scores=(0.5,) * 9))
    assert (found.low, found.high) == (None, None)
    assert found.warnings


@pytest.mark.parametrize(
    "request_",
    [
        {"scores": (0.5,)},
        {"scores": ()},
        {"scores": (0.5, 0.6), "method": "bca"},
        {"scores": (0.5, 0.6), "subjects": ("a",)},
        {"scores": tuple(np.resize(SCORES, 1001)), "method": "percentile"},
        {"scores": (0.5, 2e9)},
    ],
)
def test_unusable_scores_are_refused(request_: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        estimate_interval(IntervalRequest.model_validate(request_))


def test_plan_of_the_published_table() -> None:
    found = plan_power(PowerRequest(sd_difference=0.05, n=9, margin=0.02, sd_measured_on=9))
    assert (found.units_for_equivalence, found.units_for_difference) == (55, 52)
    assert found.sd_range == pytest.approx((0.034, 0.096), abs=5e-4)
    assert found.failure_rate_upper_bound == pytest.approx(0.283, abs=1e-3)
    assert "55 subjects are needed" in found.sentence


def test_with_very_few_subjects_the_plan_says_what_it_assumes() -> None:
    few, nine = (plan_power(PowerRequest(sd_difference=0.05, n=n, margin=0.05)) for n in (5, 9))
    assert few.simulated is not None
    assert few.simulated.equivalence.value == pytest.approx(0.331, abs=0.02), "statistics.md section 6"
    assert few.simulated.equivalence.value > few.power_equivalence + 0.02
    assert f"{few.simulated.equivalence.value:.0%} instead of {few.power_equivalence:.0%}" in few.warnings[0]
    assert (nine.simulated, nine.warnings) == (None, ())


@pytest.mark.parametrize("more", [{"sd_difference": 0.5}, {"protocol": "loocv"}, {"detect": 0.9}])
def test_what_cannot_be_simulated_is_not(more: dict[str, object]) -> None:
    body = {"sd_difference": 0.05, "n": 5, "margin": 0.05} | more
    found = plan_power(PowerRequest.model_validate(body))
    assert found.simulated is None
    assert found.warnings


def test_plan_under_leave_one_out() -> None:
    found = plan_power(PowerRequest(sd_difference=0.05, n=9, margin=0.02, protocol="loocv"))
    assert found.standard_error_factor == pytest.approx(1.4577, abs=1e-4)
    assert found.units_for_equivalence is not None
    assert found.units_for_equivalence > 100


@pytest.mark.parametrize("protocol", ["leave-one-out", "kfold10", "kfold1"])
def test_a_protocol_that_cannot_be_is_refused(protocol: str) -> None:
    with pytest.raises(Invalid) as caught:
        plan_power(PowerRequest(sd_difference=0.05, n=9, margin=0.02, protocol=protocol))
    assert caught.value.pointer == "/protocol"


def test_a_margin_inside_the_true_difference_is_never_confirmed() -> None:
    found = plan_power(PowerRequest(sd_difference=0.05, n=9, margin=0.02, true_difference=0.03))
    assert found.units_for_equivalence is None
    assert "no number of subjects" in found.sentence


@settings(max_examples=60)
@given(
    st.floats(1e-6, 1e9),
    st.integers(2, 1_000_000),
    st.floats(1e-6, 1e9),
    st.sampled_from([None, "loocv", "kfold2"]),
    st.floats(1e-6, 0.49),
    st.floats(0.01, 0.999),
)
def test_any_plan_is_finite(sd: float, n: int, margin: float, protocol: str | None, alpha: float, power: float) -> None:
    request = PowerRequest(sd_difference=sd, n=n, margin=margin, protocol=protocol, alpha=alpha, power=power)
    try:
        found = plan_power(request)
    except Invalid as error:
        assert error.pointer == "/power"  # noqa: PT017
        return
    assert math.isfinite(found.smallest_margin)
    assert math.isfinite(found.smallest_difference)
    assert 0 <= found.power_equivalence <= 1


def test_contracts_refuse_nonsense() -> None:
    for body in ({"sd_difference": 0}, {"n": 1}, {"margin": -1}, {"alpha": 0.5}, {"power": 1}, {"other": 1}):
        with pytest.raises(ValidationError):
            PowerRequest.model_validate({"sd_difference": 0.05, "n": 9, "margin": 0.02} | body)
