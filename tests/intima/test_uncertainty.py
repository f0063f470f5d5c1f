"""Pass statistics against closed forms."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intima.contracts.segmentation import UncertaintySpec
from intima.errors import Invalid
from intima.uncertainty import (
    DropoutLayer,
    Pass,
    PassAgreement,
    draw_masks,
    plan_passes,
    stack_passes,
    summarise_passes,
    turn,
    unturn,
)

DROPPED = [4, 7, 8, 15, 16, 17]
"""Channels below 20 that the first draw of seed 0 drops: what a request answered once it answers again."""


@given(view=st.integers(0, 7))
def test_turning_back_gives_the_original(view: int) -> None:
    batch = np.arange(2 * 3 * 5 * 4, dtype=np.float32).reshape(2, 3, 5, 4)
    np.testing.assert_array_equal(unturn(turn(batch, view), view), batch)


def test_the_eight_views_differ() -> None:
    batch = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    assert len({turn(batch, v).tobytes() for v in range(8)}) == 8


def test_identical_passes_disagree_by_nothing() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 6, 7)).astype(np.float32)
    s = summarise_passes(np.concatenate([logits] * 5), classes=4)
    assert s.disagreement.max() < 1e-5
    assert s.entropy.max() <= 1.0


def test_passes_sure_of_different_classes_disagree_fully() -> None:
    one = np.full((2, 1, 1), -50.0, np.float32)
    other = one.copy()
    one[0], other[1] = 50.0, 50.0
    s = summarise_passes(np.concatenate([one, other]), classes=2)
    np.testing.assert_allclose(s.disagreement, 1.0, atol=1e-6)
    np.testing.assert_allclose(s.entropy, 1.0, atol=1e-6)


def test_undecided_passes_have_entropy_and_no_disagreement() -> None:
    s = summarise_passes(np.zeros((8, 2, 2), np.float32), classes=4)
    np.testing.assert_allclose(s.entropy, 1.0, atol=1e-6)
    np.testing.assert_allclose(s.disagreement, 0.0, atol=1e-6)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), passes=st.integers(1, 6), classes=st.integers(2, 5), scale=st.floats(0.1, 200.0))
def test_statistics_are_finite_and_within_bounds(seed: int, passes: int, classes: int, scale: float) -> None:
    stacked = np.random.default_rng(seed).normal(scale=scale, size=(passes * classes, 3, 4)).astype(np.float32)
    s = summarise_passes(stacked, classes=classes)
    assert np.isfinite(s.entropy).all()
    assert (s.disagreement <= s.entropy + 1e-6).all()
    assert s.entropy.min() >= 0
    np.testing.assert_allclose(s.probabilities.sum(0), 1.0, atol=1e-5)


def test_stacked_passes_of_an_equivariant_net_agree() -> None:
    def net(tiles: np.ndarray) -> np.ndarray:
        return tiles[:, :2] * 3

    predict = stack_passes([net, net], [Pass(0, 0), Pass(1, 5), Pass(0, 3)])
    tiles = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    out = predict(tiles)
    assert out.shape == (2, 6, 32, 32)
    np.testing.assert_array_equal(out[:, :2], out[:, 2:4])
    np.testing.assert_array_equal(out[:, :2], out[:, 4:])


def test_plans() -> None:
    assert plan_passes(UncertaintySpec(), members=1)[0] == "tta"
    name, passes = plan_passes(UncertaintySpec(passes=9), members=3)
    assert name == "ensemble"
    assert len(set(passes)) == 9
    assert passes[:3] == (Pass(0, 0), Pass(1, 0), Pass(2, 0))
    assert plan_passes(UncertaintySpec(sampler="none"), members=2)[1] == (Pass(0, 0), Pass(1, 0))
    assert plan_passes(UncertaintySpec(passes=9), members=3)[1] == passes


@pytest.mark.parametrize("members", range(1, 21))
@pytest.mark.parametrize("sampler", ["auto", "tta"])
def test_every_member_runs_in_the_same_views(members: int, sampler: str) -> None:
    """Default requests work for every size of ensemble, and a plan made from what was recorded is the same."""
    name, passes = plan_passes(UncertaintySpec(sampler=sampler), members=members)
    views = {m: {p.view for p in passes if p.member == m} for m in range(members)}
    assert len({frozenset(found) for found in views.values()}) == 1
    assert len(set(passes)) == len(passes) >= 8
    assert 0 in views[0]
    assert len(views[0]) >= 2 or name == "ensemble"
    assert len(passes) < 8 + members or len(views[0]) == 2
    recorded = UncertaintySpec(sampler=name, passes=len(passes))
    assert plan_passes(recorded, members=members) == (name, passes)


@pytest.mark.parametrize(
    ("spec", "members"),
    [
        (UncertaintySpec(sampler="mc_dropout"), 2),
        (UncertaintySpec(sampler="mc_dropout", passes=1), 1),
        (UncertaintySpec(sampler="ensemble"), 1),
        (UncertaintySpec(sampler="tta", passes=9), 1),
        (UncertaintySpec(sampler="tta", passes=1), 1),
        (UncertaintySpec(sampler="tta", passes=3), 3),
        (UncertaintySpec(sampler="ensemble", passes=1), 2),
        (UncertaintySpec(sampler="ensemble", passes=18), 2),
        (UncertaintySpec(passes=8), 3),
    ],
)
def test_impossible_samplers_are_refused_with_a_hint(spec: UncertaintySpec, members: int) -> None:
    with pytest.raises(Invalid) as error:
        plan_passes(spec, members=members)
    assert error.value.hint
    assert error.value.pointer.startswith("/uncertainty/")


def test_draws_of_dropout_are_as_many_of_each_member() -> None:
    name, passes = plan_passes(UncertaintySpec(sampler="mc_dropout", passes=6), members=2, dropout_rate=0.1)
    assert name == "mc_dropout"
    assert passes == tuple(Pass(member, 0, draw) for member in range(2) for draw in (1, 2, 3))
    assert len(plan_passes(UncertaintySpec(sampler="mc_dropout"), members=3, dropout_rate=0.1)[1]) == 9
    for passes_wanted in (5, 2):
        with pytest.raises(Invalid):
            plan_passes(UncertaintySpec(sampler="mc_dropout", passes=passes_wanted), members=2, dropout_rate=0.1)


@pytest.mark.parametrize("sampler", ["auto", "tta", "ensemble", "mc_dropout"])
@pytest.mark.parametrize("members", [2, 3, 20, 32])
def test_a_plan_can_be_asked_for_again_and_a_hint_can_be_followed(sampler: str, members: int) -> None:
    name, passes = plan_passes(UncertaintySpec(sampler=sampler), members=members, dropout_rate=0.1)
    assert plan_passes(UncertaintySpec(sampler=name, passes=len(passes)), members=members, dropout_rate=0.1)[0] == name
    with pytest.raises(Invalid) as wrong:
        plan_passes(UncertaintySpec(sampler=sampler, passes=1), members=members, dropout_rate=0.1)
    assert max(int(number) for number in re.findall(r"\d+", wrong.value.hint or "")) <= 64


@pytest.mark.parametrize("sampler", ["tta", "mc_dropout"])
def test_too_many_members_for_two_passes_each_are_refused(sampler: str) -> None:
    with pytest.raises(Invalid, match="at most 64 passes"):
        plan_passes(UncertaintySpec(sampler=sampler), members=33, dropout_rate=0.1)


def test_masks_hang_on_seed_member_draw_and_place_alone() -> None:
    layers = [DropoutLayer("dropout.0", 40, 0.25), DropoutLayer("dropout.1", 40, 0.25)]
    masks = draw_masks(layers, seed=5, member=1, draws=[1, 2, 3])
    alone = draw_masks(layers[:1], seed=5, member=1, draws=[3])
    np.testing.assert_array_equal(masks["dropout.0"][2:], alone["dropout.0"])
    others = [draw_masks(layers[:1], seed=s, member=m, draws=[d]) for s, m, d in ((6, 1, 3), (5, 0, 3), (5, 1, 4))]
    streams = [alone, *others, {"dropout.0": masks["dropout.1"][2:]}]
    assert len({stream["dropout.0"].tobytes() for stream in streams}) == 5
    assert masks["dropout.0"].shape == (3, 40, 1, 1)
    assert set(np.unique(masks["dropout.0"])) == {np.float32(0), np.float32(1 / 0.75)}


def test_masks_keep_the_mean_and_stay_the_same_over_versions() -> None:
    (mask,) = draw_masks([DropoutLayer("d", 200, 0.3)], seed=0, member=0, draws=range(1, 501)).values()
    assert float(mask.mean()) == pytest.approx(1, abs=4 * math.sqrt(0.3 / 0.7 / 100_000))
    assert np.flatnonzero(mask[0, :20, 0, 0] == 0).tolist() == DROPPED


def pairwise_dice(labels: np.ndarray, *, classes: int) -> float | None:
    agreement = PassAgreement(passes=len(labels), classes=classes)
    for row in range(labels.shape[1]):
        agreement.add(labels[:, row : row + 1])
    return agreement.dice()


def test_pairwise_dice() -> None:
    a = np.zeros((4, 4), np.uint8)
    a[:2] = 1
    b = np.zeros((4, 4), np.uint8)
    b[1:3] = 1
    assert pairwise_dice(np.stack([a, a]), classes=3) == 1.0
    assert pairwise_dice(np.stack([a, b]), classes=3) == pytest.approx(0.5)
    assert pairwise_dice(np.stack([a * 0, a * 0]), classes=3) is None
    assert pairwise_dice(a[None], classes=3) is None
