"""A net whose logits are too large by a known factor gets that factor back; a mask never changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intima.calibration import measure_calibration
from intima.errors import Invalid
from intima.reliability import adaptive_error, add_reliability, measure_temperatures
from intima.temperature import (
    AT_ONE,
    TEMPERATURES,
    at_temperature,
    fit_temperature,
    fit_without_each,
    nearest_temperature,
    tempered,
)

CLASSES = ("background", "lumen", "media")


def subject(seed: int, *, factor: float, pixels: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits and truths: the truth is drawn from the softmax of the logits divided by the factor."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(scale=1.5, size=(3, pixels))
    chances = np.exp(honest) / np.exp(honest).sum(0)
    truth = (rng.random(pixels) > np.cumsum(chances, axis=0)).sum(0).clip(0, 2).astype(np.uint8)
    return (factor * honest).astype(np.float32), truth


def measured(seed: int, *, factor: float):
    logits, truth = subject(seed, factor=factor)
    groups = {"all": np.ones(truth.size, bool), "foreground": (truth > 0) | (logits.argmax(0) > 0)}
    return measure_temperatures(logits, truth, groups=groups, classes=CLASSES)


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.7, 5.0])
def test_a_known_temperature_is_recovered_and_makes_the_net_honest(factor: float) -> None:
    found = [measured(seed, factor=factor) for seed in range(4)]
    losses = np.array([[m.nll for m in case] for case in found])
    fit = fit_temperature(losses)
    assert fit.temperature == pytest.approx(factor, rel=0.03)
    assert not fit.bounded
    before = np.mean([case[AT_ONE].ece["all"] for case in found])
    after = np.mean([at_temperature([m.ece["all"] for m in case], fit.temperature) for case in found])
    assert after < 0.02
    assert factor == 1.0 or after < before / 3
    assert fit_without_each(losses) == pytest.approx(np.full(4, factor), rel=0.05)


def test_a_temperature_beyond_the_grid_is_its_end_and_says_so() -> None:
    fit = fit_temperature(np.array([[m.nll for m in measured(0, factor=20.0)]]))
    assert (fit.temperature, fit.bounded) == (TEMPERATURES[-1], True)


def test_measures_at_one_are_those_of_the_scores() -> None:
    """A second implementation, on probabilities (intima.calibration)."""
    logits, truth = subject(5, factor=1.3, pixels=64 * 64)
    groups = {"all": np.ones(truth.size, bool), "foreground": (truth > 0) | (logits.argmax(0) > 0)}
    (found,) = measure_temperatures(logits, truth, groups=groups, classes=CLASSES, temperatures=[1.0])
    probabilities = np.exp(logits) / np.exp(logits).sum(0)
    known = measure_calibration(probabilities.reshape(3, 64, 64).astype(np.float32), truth.reshape(64, 64))
    assert found.ece["all"] == pytest.approx(known.ece, abs=1e-5)
    assert found.ece["foreground"] == pytest.approx(known.ece_foreground, abs=1e-5)
    assert found.brier == pytest.approx(known.brier, abs=1e-5)
    of_truth = np.take_along_axis(probabilities, truth[None].astype(int), axis=0)
    assert found.nll == pytest.approx(-np.log(of_truth).mean(), rel=1e-4)
    assert sum(found.bins["all"].pixels) == truth.size
    assert sum(found.bins["class:lumen"].right) == np.count_nonzero(truth == 1)
    assert found.ece["classwise"] == pytest.approx(np.mean([found.ece[f"class:{c}"] for c in CLASSES]))


def test_an_image_without_foreground_has_no_foreground_figures() -> None:
    logits = np.zeros((3, 50), np.float32)
    logits[0] = 4
    groups = {"all": np.ones(50, bool), "foreground": np.zeros(50, bool)}
    (found,) = measure_temperatures(logits, np.zeros(50, np.uint8), groups=groups, classes=CLASSES, temperatures=[1.0])
    assert found.nll_foreground is None
    assert "foreground" not in found.ece
    assert "foreground_adaptive" not in found.ece


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf])
def test_a_net_that_diverged_is_an_error(spoiled: float) -> None:
    logits = np.zeros((3, 10), np.float32)
    logits[1, 3] = spoiled
    groups = {"all": np.ones(10, bool), "foreground": np.ones(10, bool)}
    with pytest.raises(Invalid, match="diverged"):
        measure_temperatures(logits, np.zeros(10, np.uint8), groups=groups, classes=CLASSES)


def test_logits_that_overflow_as_probabilities_have_a_finite_loss() -> None:
    logits = np.array([[900.0], [0.0], [-900.0]], np.float32)
    groups = {"all": np.ones(1, bool), "foreground": np.ones(1, bool)}
    found = measure_temperatures(logits, np.array([2], np.uint8), groups=groups, classes=CLASSES)
    assert [m.nll for m in found] == pytest.approx([1800 / t for t in TEMPERATURES], rel=1e-4)


def test_the_adaptive_error_of_equal_numbers_of_pixels() -> None:
    confidence = np.repeat(np.array([0.6, 0.9], np.float32), 150)
    right = np.concatenate([np.arange(150) < 75, np.arange(150) < 150])
    expected = np.mean(np.abs(right.reshape(15, 20).mean(1) - confidence.reshape(15, 20).mean(1)))
    assert adaptive_error(confidence, right) == pytest.approx(expected, abs=1e-6)


def test_bins_add_up() -> None:
    parts = [measured(seed, factor=1.0)[AT_ONE].bins["all"] for seed in (1, 2)]
    total = add_reliability(parts)
    assert sum(total.pixels) == 80_000
    assert total.right[9] == parts[0].right[9] + parts[1].right[9]


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.25, 8.0))
def test_temperature_keeps_sums_and_the_order_of_classes(seed: int, temperature: float) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(4) * 0.3, size=200).T.astype(np.float32)
    found = tempered(probabilities, temperature)
    assert found.sum(0) == pytest.approx(np.ones(200), abs=1e-5)
    largest = np.take_along_axis(found, probabilities.argmax(0)[None], axis=0)[0]
    assert (largest >= found.max(0) - 1e-6).all()


def test_at_one_nothing_is_touched() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), size=10).T.astype(np.float32)
    assert tempered(probabilities, 1.0) is probabilities


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_a_senseless_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(Invalid, match="positive"):
        tempered(np.full((2, 1), 0.5, np.float32), temperature)


def test_losses_that_are_not_those_of_the_grid_are_refused() -> None:
    for losses in (np.zeros((0, len(TEMPERATURES))), np.zeros((2, 3)), np.full((2, len(TEMPERATURES)), np.nan)):
        with pytest.raises(Invalid, match="finite"):
            fit_temperature(losses)
    with pytest.raises(Invalid, match="at least 2"):
        fit_without_each(np.zeros((1, len(TEMPERATURES))))


def test_between_temperatures_values_are_linear_in_the_logarithm() -> None:
    assert at_temperature(list(np.log(TEMPERATURES)), 1.234) == pytest.approx(np.log(1.234))
    assert at_temperature([0, 1, 2, 3, 4, 5], 1.0) == pytest.approx(2)
    assert at_temperature([0, 1, 2, 3, 4, 5], 99.0) == 5
    assert TEMPERATURES[nearest_temperature(1.05)] == 1.0
