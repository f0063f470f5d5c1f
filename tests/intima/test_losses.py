"""Losses against their definitions, and what every loss must do."""

import math

import pytest
import torch
from torch.nn import functional

from intima.losses import LOSSES, focal, soft_overlap


def perfect(target: torch.Tensor, classes: int, *, sure: float = 30.0) -> torch.Tensor:
    return functional.one_hot(target, classes).movedim(-1, 1).float() * sure


@pytest.fixture
def target() -> torch.Tensor:
    return torch.randint(0, 3, (2, 16, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_perfect_answer_costs_nothing_and_a_wrong_one_more_than_a_doubtful_one(name, target):
    right, wrong = perfect(target, 3), perfect((target + 1) % 3, 3)
    doubtful = torch.zeros_like(right)
    losses = [float(LOSSES[name](logits, target, {})) for logits in (right, doubtful, wrong)]
    assert losses[0] == pytest.approx(0, abs=1e-4)
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_descending_the_gradient_helps(name, target):
    logits = torch.zeros(2, 3, 16, 16, requires_grad=True)
    before = LOSSES[name](logits, target, {})
    before.backward()
    assert float(LOSSES[name]((logits - 10 * logits.grad).detach(), target, {})) < float(before.detach())


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_extreme_logits_and_absent_classes_stay_finite(name, scale):
    logits = (torch.randn(1, 5, 8, 8, generator=torch.Generator().manual_seed(1)) * scale).requires_grad_()
    loss = LOSSES[name](logits, torch.zeros(1, 8, 8, dtype=torch.long), {"focal_gamma": 0.5})
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert torch.isfinite(logits.grad).all()


def test_focal_with_gamma_zero_is_cross_entropy(target):
    logits = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    ours = focal(functional.log_softmax(logits, 1), target, gamma=0.0)
    torch.testing.assert_close(ours, functional.cross_entropy(logits, target))


def test_soft_overlap_of_hard_masks_is_dice(target):
    guess = target.clone()
    guess[:, :5] = 1
    p = functional.one_hot(guess, 3).movedim(-1, 1).double()
    dice = [
        2 * ((guess == c) & (target == c)).sum().item() / ((guess == c).sum() + (target == c).sum()).item()
        for c in range(3)
    ]
    assert float(soft_overlap(p, target, miss=0.5, invent=0.5)) == pytest.approx(sum(dice) / 3, abs=1e-6)


def test_tversky_with_a_high_weight_on_misses_punishes_them_more(target):
    """Half of a small class is missed and none of it invented."""
    truth = torch.zeros(1, 20, 20, dtype=torch.long)
    truth[:, :4, :10] = 1
    guess = truth.clone()
    guess[:, :2] = 0
    strict, mild = (float(LOSSES["tversky"](perfect(guess, 2), truth, {"tversky_miss": m})) for m in (0.9, 0.1))
    assert strict > mild
