"""Each layer on cases whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from intima.borders import Scale, boundary_distance
from intima.contracts.explanation import ExplanationSettings
from intima.errors import Invalid
from intima.explanation.crop import Crop, share_of_map
from intima.explanation.error import explain_errors
from intima.explanation.morphology import explain_morphology
from intima.explanation.panels import list_checks, new_figure
from intima.explanation.uncertainty import (
    dropout_predict,
    has_dropout,
    maps_of,
    summarise_maps,
    tta_predict,
)
from intima.geometry import Size
from intima.labels import ARTERY, LabelSchema, TissueClass
from tests.builders import rings

TWO = LabelSchema((TissueClass(0, "background", "#000000"), TissueClass(1, "cell", "#ff0000")))
PIXELS = Scale(1.0, "px", 1.0)


def disc(center: float, radius: float = 20.0, size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (np.hypot(x - center, y - 32) < radius).astype(np.uint8)


def errors_of(truth, predicted, *, schema=TWO, scale=PIXELS):
    distance = boundary_distance(truth, pixel=scale.pixel)
    return explain_errors(truth, predicted, distance=distance, schema=schema, scale=scale)


def test_a_shift_by_one_pixel_errs_in_the_boundary_band_only():
    layer = errors_of(disc(32), disc(33))
    assert layer.pixels == layer.band_errors == layer.displaced_errors > 0
    assert {(p.truth, p.predicted) for p in layer.pairs} == {("background", "cell"), ("cell", "background")}
    near = next(b for b in layer.by_distance if b.within == 1.0)
    assert near.errors == 1.0
    assert 0 < near.image < 0.2


def test_a_missing_disc_errs_beyond_the_band():
    layer = errors_of(disc(32), np.zeros((64, 64), np.uint8))
    assert layer.band_errors < 0.2 * layer.pixels
    assert layer.displaced_errors == 0
    assert [(p.truth, p.predicted, p.share) for p in layer.pairs] == [("cell", "background", 1.0)]


def test_a_missing_thin_layer_is_no_displaced_border():
    truth = rings(100, radii=(20, 24, 28), center=50)
    layer = errors_of(truth, np.where(truth == 3, 0, truth).astype(np.uint8), schema=ARTERY, scale=Scale(1, "px", 3))
    assert layer.band_errors == layer.pixels
    assert layer.displaced_errors == 0


def test_distance_counts_from_the_crack_between_pixels_in_its_unit():
    truth = np.zeros((8, 10), np.uint8)
    truth[:, 5:] = 1
    assert boundary_distance(truth, pixel=2.0)[3].tolist() == [9, 7, 5, 3, 1, 1, 3, 5, 7, 9]


def test_without_a_boundary_or_errors_shares_are_null():
    blank = np.zeros((8, 8), np.uint8)
    assert errors_of(blank, blank).by_distance[0].errors is None
    wrong = errors_of(blank, np.ones_like(blank))
    assert (wrong.pixels, wrong.band_errors, wrong.by_distance[0].errors) == (64, 0, None)
    assert wrong.model_dump_json()


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(Invalid, match="two equal"):
        errors_of(np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8))


def test_identical_members_do_not_disagree():
    logits = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    maps = maps_of(np.concatenate([logits] * 4), classes=3, size=Size(16, 16), sampler="tta", seed=None)
    assert maps.passes == 4
    assert maps.disagreement.max() < 1e-6
    assert np.allclose(maps.entropy, maps.ambiguity, atol=1e-6)


def test_opposed_members_disagree_wholly():
    sure = np.zeros((2, 8, 8), np.float32)
    sure[0] = 50
    maps = maps_of(np.concatenate([sure, sure[::-1]]), classes=2, size=Size(8, 8), sampler="tta", seed=None)
    assert np.allclose(maps.disagreement, 1.0, atol=1e-5)
    assert maps.ambiguity.max() < 1e-5


def test_means_are_taken_on_right_and_on_wrong_pixels():
    logits = np.zeros((2, 1, 2), np.float32)
    logits[0, 0, 0] = 50
    maps = maps_of(np.concatenate([logits, logits]), classes=2, size=Size(2, 1), sampler="tta", seed=None)
    found = summarise_maps(maps, np.array([[False, True]]))
    assert found.entropy_right == pytest.approx(0.0, abs=1e-6)
    assert found.entropy_wrong == pytest.approx(1.0)
    assert found.auroc_entropy == 1.0
    assert summarise_maps(maps, np.zeros((1, 2), bool)).entropy_wrong is None


def test_orientations_of_a_pointwise_net_agree():
    stacked = tta_predict(lambda tiles: tiles[:, :2])(np.random.default_rng(0).random((1, 3, 32, 32), np.float32))
    assert stacked.shape == (1, 16, 32, 32)
    assert np.allclose(stacked[:, :2], stacked[:, 14:])


def test_dropout_passes_differ_follow_the_seed_and_leave_the_net_as_it_was():
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Dropout2d(0.5), nn.Conv2d(8, 2, 1)).eval()
    tiles = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    one = dropout_predict(net, passes=3, seed=1)(tiles)
    torch.manual_seed(99)
    assert np.array_equal(one, dropout_predict(net, passes=3, seed=1)(tiles))
    assert not np.array_equal(one, dropout_predict(net, passes=3, seed=4)(tiles))
    assert not np.array_equal(one[:, :2], one[:, 2:4])
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert not any(m.training for m in net.modules())
    assert has_dropout(net)
    assert not has_dropout(nn.Sequential(nn.Dropout(0.0)))


def test_morphology_of_a_thinner_media():
    truth, thinner = rings(200, radii=(30, 45, 60), center=100), rings(200, radii=(30, 45, 54), center=100)
    layer = explain_morphology(truth, thinner, schema=ARTERY, mpp=2.0)
    assert layer.arterial
    (vessel,) = layer.vessels
    measures = {m.name: m for m in vessel.measures}
    assert measures["lumen_area"].difference == 0
    assert measures["media_thickness_mean"].difference == pytest.approx(-12.0, abs=0.5)
    assert (vessel.truth_checks, vessel.predicted_checks, layer.invented_vessels) == ((), (), 0)
    shapes = {s.region: s for s in layer.shapes}
    assert shapes["eel"].circularity.truth == pytest.approx(1.0, abs=0.05)
    assert shapes["eel"].elongation.truth == pytest.approx(1.0, abs=0.02)
    assert shapes["media"].area.unit == "µm²"


def test_an_open_media_is_a_failed_check_and_a_missed_vessel_is_said():
    truth = rings(200, radii=(30, 45, 60), center=100)
    open_ring = truth.copy()
    open_ring[100:, 95:105] = 0
    layer = explain_morphology(truth, open_ring, schema=ARTERY, mpp=None)
    check = next(check for check in layer.vessels[0].predicted_checks if "open" in check)
    axes = new_figure(1.0).subplots()
    list_checks(axes, layer)
    assert check in " ".join(axes.texts[0].get_text().split())
    missed = explain_morphology(truth, np.zeros_like(truth), schema=ARTERY, mpp=None)
    assert missed.vessels[0].predicted_vessel is None
    assert missed.vessels[0].measures[0].predicted is None
    assert explain_morphology(np.zeros_like(truth), truth, schema=ARTERY, mpp=None).invented_vessels == 1


def test_a_schema_without_arteries_has_areas_and_pieces_only():
    layer = explain_morphology(disc(32), disc(32) | disc(60, 3), schema=TWO, mpp=None)
    assert not layer.arterial
    assert layer.note.startswith("not arterial")
    (shape,) = layer.shapes
    assert (shape.pieces.truth, shape.pieces.predicted) == (1.0, 2.0)
    assert shape.area.difference > 0
    assert shape.circularity.truth is None


def test_a_crop_is_the_whole_of_a_small_image_and_a_tile_around_the_foreground_of_a_large_one():
    truth = np.zeros((400, 800), np.uint8)
    truth[300:340, 600:640] = 1
    whole = Crop.around(truth > 0, working=Size(200, 100), tile_px=256)
    assert (whole.region.width, whole.region.height) == (800, 400)
    part = Crop.around(truth > 0, working=Size(200, 100), tile_px=64)
    assert (part.region.x, part.region.y, part.region.width, part.region.height) == (492, 144, 256, 256)
    laid = part.lay(np.ones((64, 64), np.float32))
    assert np.isnan(laid[0, 0])
    assert laid[320, 620] == 1.0
    assert np.isfinite(laid).sum() == 256 * 256


def test_shares_of_a_map_ignore_what_was_not_looked_at():
    values = np.array([[1.0, 3.0, np.nan]], np.float32)
    share = share_of_map(values, on_class=np.array([[False, True, True]]), in_band=np.array([[True, False, False]]))
    assert (share.on_class, share.in_band) == (0.75, 0.25)
    assert share_of_map(values * 0, on_class=values > 0, in_band=values > 0).on_class is None


def test_a_layer_twice_is_refused():
    with pytest.raises(ValueError, match="at most once"):
        ExplanationSettings(layers=("error", "error"))
