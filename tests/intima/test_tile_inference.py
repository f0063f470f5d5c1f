"""Raw tiles through a model: the mean that serves slides, and shapes and values that are refused."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from intima.contracts.model import ModelCard
from intima.errors import Conflict, Invalid
from intima.inference import LoadedModel, load_model
from intima.store.storage import Storage
from intima.tile_inference import infer_tiles, largest_tile_px, require_rgb, require_tile_shape
from intima.uncertainty import summarise_passes
from tests.builders import publish_color_model


@pytest.fixture
def model(sqlite_store: Storage) -> LoadedModel:
    return load_model(sqlite_store, publish_color_model(sqlite_store, name="color-net", mpp=2.0, members=3))


def with_nets(model: LoadedModel, *predicts: Any) -> LoadedModel:
    return replace(model, nets=tuple(SimpleNamespace(predict=p) for p in predicts))


def test_the_mean_is_that_of_served_masks(model: LoadedModel) -> None:
    tiles = np.random.default_rng(0).random((5, 3, 32, 64), np.float32)
    answer = infer_tiles(model, tiles)
    for number in range(5):
        stacked = np.concatenate([net.predict(tiles[number : number + 1])[0] for net in model.nets])
        served = summarise_passes(stacked, classes=4).probabilities
        np.testing.assert_array_equal(answer.probabilities[number], served)
        np.testing.assert_array_equal(answer.mask[number], np.log(np.maximum(served, 1e-38)).argmax(0))
    np.testing.assert_allclose(answer.probabilities.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(np.exp(answer.logits), answer.probabilities, rtol=1e-5)


def test_many_tiles_are_run_in_parts_and_come_back_in_order(model: LoadedModel) -> None:
    seen = []

    def predict(tiles: np.ndarray) -> np.ndarray:
        seen.append(len(tiles))
        return np.repeat(tiles[:, :1], 4, axis=1) * np.arange(4, dtype=np.float32)[None, :, None, None]

    tiles = np.random.default_rng(1).random((11, 3, 256, 256), np.float32)
    answer = infer_tiles(with_nets(model, predict), tiles)
    assert seen == [4, 4, 3]
    np.testing.assert_array_equal(answer.logits, predict(tiles))
    assert answer.member_logits.shape == (11, 1, 4, 256, 256)
    assert answer.mask.shape == (11, 256, 256)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_network_without_an_answer_is_a_conflict(model: LoadedModel, bad: float) -> None:
    def predict(tiles: np.ndarray) -> np.ndarray:
        out = np.zeros((len(tiles), 4, *tiles.shape[2:]), np.float32)
        out[-1, 2, 3, 4] = bad
        return out

    with pytest.raises(Conflict, match="no number"):
        infer_tiles(with_nets(model, predict, predict), np.zeros((2, 3, 32, 32), np.float32))


def test_probabilities_of_0_give_finite_logits(model: LoadedModel) -> None:
    def predict(tiles: np.ndarray) -> np.ndarray:
        out = np.zeros((len(tiles), 4, *tiles.shape[2:]), np.float32)
        out[:, 1] = 1e30
        return out

    answer = infer_tiles(with_nets(model, predict, predict), np.zeros((1, 3, 32, 32), np.float32))
    assert np.isfinite(answer.logits).all()
    assert (answer.mask == 1).all()


@given(shape=st.lists(st.integers(-(2**70), 2**70) | st.integers(-2, 2100), max_size=6).map(tuple))
def test_a_shape_is_taken_only_where_a_network_takes_it(shape: tuple[int, ...]) -> None:
    card = ModelCard.model_construct(name="x", tile_px=512, members=(1, 2))  # type: ignore[arg-type]
    try:
        require_tile_shape(shape, card=card, most_work_px=4_000_000)
    except Invalid:
        return
    tiles, channels, height, width = shape
    assert channels == 3
    assert tiles >= 1
    assert height % 32 == width % 32 == 0
    assert 32 * 32 <= height * width <= largest_tile_px(card)
    assert 2 * tiles * height * width <= 4_000_000


@pytest.mark.parametrize(
    ("shape", "fine"),
    [
        ((1, 3, 32, 32), True),
        ((1, 3, 1024, 1024), True),
        ((1, 3, 32, 32768), True),
        ((1, 3, 1024, 1056), False),
        ((2, 3, 1024, 1024), False),
        ((1, 3, 48, 32), False),
        ((1, 1, 32, 32), False),
    ],
)
def test_where_the_limits_lie(shape: tuple[int, ...], fine: bool) -> None:
    card = ModelCard.model_construct(name="x", tile_px=512, members=(1, 2))  # type: ignore[arg-type]
    if fine:
        require_tile_shape(shape, card=card, most_work_px=2 * 1024 * 1024)
        return
    with pytest.raises(Invalid):
        require_tile_shape(shape, card=card, most_work_px=2 * 1024 * 1024)


@given(arrays(np.float32, (1, 3, 2, 2), elements=st.floats(width=32)))
def test_only_numbers_in_0_to_1_are_colours(tiles: np.ndarray) -> None:
    fine = bool(np.isfinite(tiles).all()) and tiles.min() >= 0 and tiles.max() <= 1
    if fine:
        require_rgb(tiles)
        return
    with pytest.raises(Invalid):
        require_rgb(tiles)
