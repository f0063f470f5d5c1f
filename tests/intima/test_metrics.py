"""Scores against a brute-force second implementation, golden numbers and the rules for empty masks."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intima import metrics
from intima.errors import Invalid
from intima.labels import ARTERY, LabelSchema, TissueClass
from intima.metrics import MACRO, METRICS, border_distances, score_case

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics.json").read_text(encoding="utf-8"))
TWO = LabelSchema((TissueClass(0, "background", "#000000"), TissueClass(1, "gland", "#ff0000")))
CALIBRATION = {"ece", "ece_foreground", "brier"}
EMPTY = np.zeros((20, 30), np.uint8)


def scores(truth, predicted, *, schema=ARTERY, mpp=1.0, tolerance=2.0):
    rows = score_case(truth, predicted, schema=schema, mpp=mpp, nsd_tolerance_um=tolerance)
    return {(r.class_name, r.metric): r.value for r in rows}


def brute_force(truth, predicted, tolerance):
    """Dice, tolerant Dice, IoU, HD95 and NSD by sets of pixels and all pairs of border pixels; both masks not empty."""
    a, b = ({(int(y), int(x)) for y, x in zip(*np.nonzero(m), strict=True)} for m in (truth, predicted))

    def border(region):
        return [p for p in region if {(p[0] + 1, p[1]), (p[0] - 1, p[1]), (p[0], p[1] + 1), (p[0], p[1] - 1)} - region]

    def nearest(one, other):
        return [min(math.dist(p, q) for q in other) for p in one]

    def percentile95(distances):
        ordered, place = sorted(distances), 0.95 * (len(distances) - 1)
        low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
        return low + (place - math.floor(place)) * (high - low)

    there, back = nearest(border(a), border(b)), nearest(border(b), border(a))
    within = sum(d <= tolerance for d in there + back) / len(there + back)
    whole = {(y, x) for y in range(truth.shape[0]) for x in range(truth.shape[1])}

    def near(pixel, region):
        return any(math.dist(pixel, q) - 0.5 <= tolerance for q in region)

    missed = {p for p in a - b if near(p, whole - a) and near(p, b)}
    invented = {p for p in b - a if near(p, a) and near(p, whole - b)}
    forgiven = (b | missed) - invented
    return {
        "tolerant_dice": 2 * len(a & forgiven) / (len(a) + len(forgiven)),
        "dice": 2 * len(a & b) / (len(a) + len(b)),
        "iou": len(a & b) / len(a | b),
        "hd95": max(percentile95(there), percentile95(back)),
        "nsd": within,
    }


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 18),
    width=st.integers(1, 18),
    share=st.floats(0.02, 0.98),
    tolerance=st.sampled_from([0.0, 1.0, 1.5, 3.0]),
)
def test_scores_agree_with_a_second_implementation(seed, height, width, share, tolerance):
    rng = np.random.default_rng(seed)
    truth, predicted = (rng.random((2, height, width)) < share).astype(np.uint8)
    truth[rng.integers(height), rng.integers(width)] = 1
    predicted[rng.integers(height), rng.integers(width)] = 1
    found = scores(truth, predicted, schema=TWO, tolerance=tolerance)
    for metric, value in brute_force(truth == 1, predicted == 1, tolerance).items():
        assert found["gland", metric] == pytest.approx(value, abs=1e-12), metric
        assert found[MACRO, metric] == found["gland", metric]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: c["name"])
def test_golden(case):
    truth, predicted = (np.array([[int(v) for v in row] for row in case[k]], np.uint8) for k in ("truth", "predicted"))
    found = scores(truth, predicted, mpp=case["mpp"], tolerance=case["tolerance"])
    for key, value in case["scores"].items():
        class_name, metric = key.split("/")
        assert found[class_name, metric] == (None if value is None else pytest.approx(value, rel=1e-5)), key


def test_percentile_definition_is_directed_then_max():
    """One stray pixel of 400: 0 by the pooled percentile, and by this definition too; of 10 it counts."""
    truth = np.zeros((60, 60), np.uint8)
    truth[5:25, 5:25] = 1
    stray = truth.copy()
    stray[50, 50] = 1
    assert scores(truth, stray, schema=TWO)["gland", "hd95"] == 0.0
    small = np.zeros((60, 60), np.uint8)
    small[5:8, 5:8] = 1
    speck = small.copy()
    speck[40, 5] = 1
    there, back = border_distances(small == 1, speck == 1)
    assert (there.max(), back.max()) == (0.0, 33.0)
    assert scores(small, speck, schema=TWO)["gland", "hd95"] == pytest.approx(np.percentile(back, 95))


def test_both_empty_is_skipped_everywhere():
    found = scores(EMPTY, EMPTY)
    assert set(found.values()) == {None}
    assert len(found) == 6 * 4 + 2


def test_a_missed_structure_is_punished_by_every_metric():
    truth = EMPTY.copy()
    truth[2:15, 2:15], truth[4:12, 4:12], truth[6:10, 6:10] = 3, 2, 1
    found = scores(truth, EMPTY, mpp=0.5)
    for class_name in ("lumen", "neointima", "media"):
        assert found[class_name, "dice"] == found[class_name, "iou"] == found[class_name, "nsd"] == 0.0
        assert found[class_name, "hd95"] == pytest.approx(0.5 * math.hypot(20, 30))
        assert found[class_name, "area_error"] == -1.0
    assert found[MACRO, "im_error"] == 1.0
    assert found[MACRO, "stenosis_error"] == 100.0
    invented = scores(EMPTY, truth)
    assert invented["media", "dice"] == 0.0
    assert invented["media", "area_error"] == 1.0
    assert invented[MACRO, "im_error"] is None


def test_macro_is_the_mean_over_classes_with_a_value():
    truth, predicted = EMPTY.copy(), EMPTY.copy()
    truth[2:10, 2:10], predicted[2:10, 2:10], predicted[12:15, 12:15] = 1, 1, 3
    found = scores(truth, predicted)
    assert (found["lumen", "dice"], found["neointima", "dice"], found["media", "dice"]) == (1.0, None, 0.0)
    assert found[MACRO, "dice"] == 0.5


def test_artery_errors_are_those_of_the_ratios():
    truth, predicted = EMPTY.copy(), EMPTY.copy()
    truth[0, :20], truth[1, :10], truth[2, :20] = 1, 2, 3
    predicted[0, :20], predicted[1, :20], predicted[2, :10] = 1, 2, 3
    found = scores(truth, predicted)
    assert found[MACRO, "im_error"] == pytest.approx(2.0 - 0.5)
    assert found[MACRO, "stenosis_error"] == pytest.approx(50.0 - 100 / 3)
    assert found["neointima", "area_error"] == 1.0


def test_perfect_prediction():
    truth = np.random.default_rng(0).integers(0, 4, (40, 50)).astype(np.uint8)
    found = scores(truth, truth)
    expected = {"dice": 1.0, "tolerant_dice": 1.0, "iou": 1.0, "nsd": 1.0}
    assert all(v == expected.get(metric, 0.0) for (_, metric), v in found.items())


def test_units_follow_the_pixel_size():
    truth, predicted = EMPTY.copy(), EMPTY.copy()
    truth[5:10, 5:10], predicted[5:10, 8:13] = 1, 1
    um = score_case(truth, predicted, schema=ARTERY, mpp=0.25)
    px = score_case(truth, predicted, schema=ARTERY, mpp=None)
    units = {r.metric: r.unit for r in um}
    assert units == dict.fromkeys(set(METRICS) - CALIBRATION, "") | {"hd95": "µm", "stenosis_error": "%"}
    assert {r.unit for r in px if r.metric == "hd95"} == {"px"}
    by = [{(r.class_name, r.metric): r.value for r in rows} for rows in (um, px)]
    assert by[0]["lumen", "hd95"] == pytest.approx(0.25 * by[1]["lumen", "hd95"])
    assert by[0]["lumen", "nsd"] == 1.0
    assert by[1]["lumen", "nsd"] < 1.0


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), mpp=st.sampled_from([None, 0.5, 3.0]))
def test_symmetries_and_ranges(seed, mpp):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.choice([0, 0, 1, 2, 3], size=(2, 15, 12)).astype(np.uint8)
    there, back = scores(truth, predicted, mpp=mpp), scores(predicted, truth, mpp=mpp)
    turned = scores(np.rot90(truth), np.rot90(predicted), mpp=mpp)
    for key, value in there.items():
        assert value is None or math.isfinite(value)
        assert turned[key] == (None if value is None else pytest.approx(value))
        if key[1] in ("dice", "iou", "hd95", "nsd"):
            assert back[key] == (None if value is None else pytest.approx(value))
        if key[1] in ("dice", "iou", "nsd") and value is not None:
            assert 0 <= value <= 1
        if key[1] == "iou" and value is not None:
            assert value == pytest.approx(there[key[0], "dice"] / (2 - there[key[0], "dice"])) or key[0] == MACRO


def test_every_metric_is_reported_once_per_class():
    sure = np.stack([c == EMPTY for c in range(4)]).astype(np.float32)
    rows = score_case(EMPTY, EMPTY, schema=ARTERY, mpp=None, probabilities=sure)
    assert {r.metric for r in rows} == set(METRICS)
    assert len({(r.class_name, r.metric) for r in rows}) == len(rows)
    artery = {"im_error", "stenosis_error"}
    assert {r.metric for r in score_case(EMPTY, EMPTY, schema=TWO, mpp=None)} == set(METRICS) - artery - CALIBRATION
    assert {r.metric: r.value for r in rows if r.metric in CALIBRATION} == {
        "ece": 0.0,
        "ece_foreground": None,
        "brier": 0.0,
    }


@pytest.mark.parametrize("wish", ["dice", "tolerant_dice", ["dicee"], {"dice": 1, "": 2}])
def test_a_metric_that_does_not_exist_is_refused(wish):
    with pytest.raises(Invalid, match="there are dice"):
        score_case(EMPTY, EMPTY, schema=TWO, mpp=None, metrics=wish)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_alone_is_the_same_and_looks_at_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch):
    y, x = np.mgrid[:40, :40] - 20
    truth = np.digitize(-np.hypot(y, x), [-16, -12, -6]).astype(np.uint8)
    predicted = np.digitize(-np.hypot(y, x - 1), [-16, -12, -6]).astype(np.uint8)
    p = np.full((4, 40, 40), 0.25, np.float32)
    everything = score_case(truth, predicted, schema=ARTERY, mpp=1.0, probabilities=p)
    costly = {"border_distances", "displaced_borders", "measure_calibration"}
    needs = {"hd95": "border_distances", "nsd": "border_distances", "tolerant_dice": "displaced_borders"}
    needs |= dict.fromkeys(CALIBRATION, "measure_calibration")
    for unused in costly - {needs.get(name)}:
        monkeypatch.setattr(metrics, unused, None)
    alone = score_case(truth, predicted, schema=ARTERY, mpp=1.0, probabilities=p, metrics=[name])
    assert alone == [row for row in everything if row.metric == name]


def test_a_ring_drawn_a_little_wider_loses_dice_and_no_substance():
    """The paradox of competence: a thin media shifted by a pixel against one that is missed."""
    y, x = np.mgrid[:80, :80] - 40
    radius = np.hypot(y, x)
    truth = np.select([radius < 15, radius < 20, radius < 24], [1, 2, 3], 0).astype(np.uint8)
    shifted = np.select([radius < 15, radius < 21, radius < 25], [1, 2, 3], 0).astype(np.uint8)
    missed = np.where(truth == 3, 0, truth).astype(np.uint8)
    near, far = scores(truth, shifted), scores(truth, missed)
    assert near["media", "dice"] < 0.8
    assert near["media", "tolerant_dice"] == 1.0
    assert far["media", "tolerant_dice"] == 0.0
    assert far["lumen", "tolerant_dice"] == 1.0


@pytest.mark.parametrize(
    ("truth", "predicted", "mpp", "tolerance"),
    [
        (EMPTY, EMPTY[:5], None, 2.0),
        (EMPTY[:0], EMPTY[:0], None, 2.0),
        (EMPTY + 4, EMPTY, None, 2.0),
        (EMPTY, EMPTY + 255, None, 2.0),
        (EMPTY, EMPTY, 0.0, 2.0),
        (EMPTY, EMPTY, math.nan, 2.0),
        (EMPTY, EMPTY, 1.0, -1.0),
        (EMPTY, EMPTY, 1.0, math.inf),
        (np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8), None, 2.0),
    ],
)
def test_unusable_input_is_refused(truth, predicted, mpp, tolerance):
    with pytest.raises(Invalid):
        score_case(truth, predicted, schema=ARTERY, mpp=mpp, nsd_tolerance_um=tolerance)
