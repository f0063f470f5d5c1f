"""The model that comes with Intima: files that fit its card, small, and good on arteries it has not seen."""

import hashlib
from importlib.resources import files

import numpy as np
import pytest

from intima.contracts.model import ModelCard
from intima.geometry import MicronsPerPixel, Size
from intima.inference import load_onnx
from intima.labels import ARTERY
from intima.metrics import MACRO, score_case
from intima.morphometry import measure_vessels
from intima.phantom import draw_specs, render
from intima.registry import SHIPPED_NAME
from intima.resampling import resample_image
from intima.training.scoring import Tiling, predict_mask
from services.trainer import default_model

FOLDER = files("intima").joinpath("assets/default_model")


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return ModelCard.model_validate_json(FOLDER.joinpath("card.json").read_bytes())


@pytest.fixture(scope="module")
def members(card) -> list[bytes]:
    return [FOLDER.joinpath(f"member-{i}.onnx").read_bytes() for i in range(len(card.members))]


def test_files_are_those_of_the_card_and_small(card, members):
    assert [hashlib.sha256(m).hexdigest() for m in members] == [m.onnx_sha256 for m in card.members]
    assert [len(m) for m in members] == [m.bytes for m in card.members]
    assert len(members) >= 2
    assert sum(map(len, members)) < 10_000_000


def test_the_card_says_what_it_is(card):
    assert card.name == SHIPPED_NAME
    assert card.synthetic
    assert "synthetic" in card.dataset
    assert card.parity_max_abs < 1e-3
    assert card.architecture == default_model.ARCHITECTURE
    assert card.dataset_version == default_model.described_dataset().version
    assert {s.metric for s in card.scores} >= {"dice/macro", "im_error/macro", "stenosis_error/macro"}


@pytest.mark.parametrize("seed", [123_456, 654_321])
def test_it_measures_an_artery_it_has_not_seen(card, members, seed):
    spec = next(s.spec for s in draw_specs(seed=seed, subjects=4) if s.spec.anatomy.neointima > 0.15)
    phantom = render(spec)
    size = Size(spec.size_px, spec.size_px)
    image = resample_image(phantom.image, size.scaled(spec.mpp / card.mpp))
    predict = default_model.mean_of([load_onnx(m).predict for m in members])
    predicted = predict_mask(image, predict, size=size, tiling=Tiling(card.tile_px, card.halo_px))
    dice = {
        s.class_name: s.value
        for s in score_case(phantom.mask, predicted, schema=ARTERY, mpp=spec.mpp)
        if s.metric == "dice"
    }
    assert dice[MACRO] > 0.93
    vessel = measure_vessels(predicted, schema=ARTERY, mpp=MicronsPerPixel(spec.mpp, spec.mpp))[0]
    measured = {m.name: m.value for m in vessel.measures}
    assert measured["stenosis"] == pytest.approx(phantom.truth.stenosis_percent, abs=4)
    assert measured["intima_media_ratio"] == pytest.approx(phantom.truth.intima_media_ratio, rel=0.12)
    assert measured["lumen_area"] == pytest.approx(phantom.truth.lumen_um2, rel=0.04)


def test_held_out_subjects_are_not_training_subjects():
    trained = {repr(n.spec.anatomy) for n in default_model.training_specs()}
    held = draw_specs(seed=default_model.HELD_OUT_SEED, subjects=default_model.HELD_OUT)
    assert not trained & {repr(n.spec.anatomy) for n in held}


def test_the_ensemble_is_the_mean_of_its_members():
    ones, threes = (lambda tiles, v=v: np.full_like(tiles, v) for v in (1.0, 3.0))
    assert (default_model.mean_of([ones, threes])(np.zeros((1, 3, 2, 2), np.float32)) == 2).all()
