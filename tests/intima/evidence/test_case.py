"""What one held-out case says, where the answer is known."""

import json
import math

import numpy as np
import pytest

from intima.contracts.evidence import HeldOutCase
from intima.errors import Invalid
from intima.evidence import HeldOut, gather_case
from intima.labels import ARTERY, LabelSchema, TissueClass
from intima.temperature import AT_ONE, TEMPERATURES
from tests.builders import rings


def logits_of(mask: np.ndarray, *, certainty: float = 6.0, classes: int = 4) -> np.ndarray:
    return (certainty * (np.arange(classes)[:, None, None] == mask)).astype(np.float32)


def held(truth: np.ndarray, *, mpp: float | None = 2.0, schema: LabelSchema = ARTERY) -> HeldOut:
    return HeldOut("c1", "s1", mpp=mpp, truth=truth, schema=schema)


def small(radii: tuple[int, int, int] = (30, 45, 60)) -> np.ndarray:
    return rings(160, radii=radii, center=80)


def gathered(truth: np.ndarray, *masks: np.ndarray, certainty: float = 6.0, **changes) -> HeldOutCase:
    stacked = np.concatenate([logits_of(mask, certainty=certainty) for mask in masks])
    found = gather_case(held(truth, **changes), [(0, stacked[:, :20]), (20, stacked[:, 20:])])
    return HeldOutCase.model_validate(json.loads(json.dumps(found.model_dump(mode="json"), allow_nan=False)))


def test_a_perfect_prediction_has_no_error_and_is_less_sure_than_right() -> None:
    truth = small()
    found = gathered(truth, truth)
    confidence = math.exp(6) / (math.exp(6) + 3)
    assert found.pixels == truth.size
    assert found.foreground_pixels == np.count_nonzero(truth)
    assert found.nll[AT_ONE] == pytest.approx(-math.log(confidence), rel=1e-3)
    assert found.ece["all"][AT_ONE] == pytest.approx(1 - confidence, rel=1e-2)
    assert found.nll[0] < found.nll[AT_ONE] < found.nll[-1]
    assert len(found.nll) == len(found.brier) == len(found.expected_dice) == len(TEMPERATURES)
    assert found.dice == 1.0
    assert set(found.reach_px) == {"foreground", "class:lumen", "class:neointima", "class:media"}
    assert set(found.reach_px.values()) == {0.0}
    assert (found.vessels, found.vessels_found) == (1, 1)
    assert all(p.predicted == p.truth for p in found.pairs)
    assert all(d.error_rate == 0 and d.auroc is None and d.removed_12 is None for d in found.detection)


def test_a_mask_that_is_too_small_reaches_the_gap_and_measures_less() -> None:
    truth, predicted = small(), small((30, 45, 50))
    found = gathered(truth, predicted)
    assert found.reach_px["foreground"] == pytest.approx(10, abs=1.2)
    assert found.reach_px["class:lumen"] == 0
    media = next(p for p in found.pairs if p.name == "medial_area")
    assert media.truth == pytest.approx(math.pi * (60**2 - 45**2) * 4, rel=0.02)
    assert media.predicted == pytest.approx(math.pi * (50**2 - 45**2) * 4, rel=0.03)
    assert media.unit == "µm²"
    wrong = np.count_nonzero(truth != predicted) / truth.size
    assert found.detection[2].error_rate == pytest.approx(wrong)
    shared = 2 * np.count_nonzero((truth == predicted) & (truth > 0))
    assert found.dice == pytest.approx(shared / (np.count_nonzero(truth) + np.count_nonzero(predicted)))


def test_the_spread_over_passes_is_kept_and_the_served_mean_counts() -> None:
    truth = small()
    found = gathered(truth, small((30, 45, 59)), small((30, 45, 61)), truth)
    area = next(p for p in found.pairs if p.name == "medial_area")
    areas = [math.pi * (r**2 - 45**2) * 4 for r in (59, 60, 61)]
    assert area.pass_sd == pytest.approx(np.std(areas, ddof=1), rel=0.05)
    assert found.passes == 3
    assert gathered(truth, truth).pairs[0].pass_sd is None


def test_the_boundary_band_is_where_borders_are() -> None:
    truth = small()
    found = gathered(truth, truth, mpp=2.0)
    pixels = sum(found.reliability["boundary"].pixels)
    # 5 µm are 2.5 px: pixels at .5, 1.5 and 2.5 px on both sides of three circles
    assert pixels == pytest.approx(2 * math.pi * (30 + 45 + 60) * 6, rel=0.1)
    unknown = gathered(truth, truth, mpp=None)
    assert sum(unknown.reliability["boundary"].pixels) == pytest.approx(pixels, rel=0.15)
    assert {p.unit for p in unknown.pairs} == {"px", "px^2", "", "%"}


def test_a_vessel_the_net_missed_is_counted_and_has_no_pair() -> None:
    truth = small()
    found = gathered(truth, np.zeros_like(truth))
    assert (found.vessels, found.vessels_found, found.pairs) == (1, 0, ())
    assert set(found.reach_px.values()) == {None}
    assert set(found.expected_dice) == {None}
    assert found.dice == 0.0


def test_two_vessels_that_the_net_joined_are_one_that_was_found() -> None:
    """One predicted vessel is no measure of two true ones."""
    truth = np.concatenate([small(), small()], axis=1)
    joined = truth.copy()
    joined[60:100, 130:190] = np.where(joined[60:100, 130:190] == 0, 3, joined[60:100, 130:190])
    found = gathered(truth, joined)
    assert (found.vessels, found.vessels_found) == (2, 1)
    names = [p.name for p in found.pairs]
    assert len(names) == len(set(names))


def test_no_foreground_anywhere_is_no_figure_and_no_crash() -> None:
    nothing = np.zeros((40, 50), np.uint8)
    found = gathered(nothing, nothing)
    assert found.nll_foreground is None
    assert found.dice is None
    assert found.reach_px == {}
    assert "foreground" not in found.ece
    assert "boundary" not in found.ece
    assert found.reliability_foreground == ()
    assert (found.vessels, found.vessels_found) == (0, 0)


def test_a_schema_that_is_no_artery_has_calibration_and_no_measures() -> None:
    schema = LabelSchema((TissueClass(0, "background", "#000000"), TissueClass(1, "gland", "#ff0000")))
    truth = (small() > 0).astype(np.uint8)
    found = gather_case(held(truth, schema=schema), [(0, logits_of(truth, classes=2))])
    assert found.pairs == ()
    assert set(found.reach_px) == {"foreground", "class:gland"}
    assert "class:gland" in found.ece


def test_a_class_may_be_called_foreground() -> None:
    names = ("background", "foreground", "all")
    schema = LabelSchema(tuple(TissueClass(i, name, f"#00000{i}") for i, name in enumerate(names)))
    truth = np.minimum(small(), 2).astype(np.uint8)
    predicted = np.where(truth == 1, 2, truth).astype(np.uint8)
    found = gather_case(held(truth, schema=schema), [(0, logits_of(predicted, classes=3))])
    assert found.reach_px["foreground"] == 0
    assert found.reach_px["class:foreground"] is None
    assert sum(found.reliability["all"].pixels) == truth.size
    assert found.reliability["class:all"] != found.reliability["all"]


def test_large_cases_are_thinned() -> None:
    truth = np.zeros((900, 1000), np.uint8)
    truth[300:600, 300:600] = 1
    found = gathered(truth, truth)
    assert found.stride == 2
    assert found.pixels == 450 * 500
    assert len(json.dumps(found.model_dump(mode="json"))) < 40_000


def test_native_and_working_sizes_may_differ() -> None:
    truth = np.kron(small(), np.ones((2, 2), np.uint8))
    found = gather_case(held(truth, mpp=1.0), [(0, logits_of(small()))])
    area = next(p for p in found.pairs if p.name == "lumen_area")
    assert area.predicted == pytest.approx(area.truth, rel=0.02)
    assert found.reach_px["foreground"] < 2


def test_a_net_that_diverged_is_an_error() -> None:
    truth = small()
    spoiled = logits_of(truth)
    spoiled[2, 5, 5] = np.nan
    with pytest.raises(Invalid, match="diverged"):
        gather_case(held(truth), [(0, spoiled)])
