"""The loop learns, repeats itself bit for bit, and says when it diverges."""

import numpy as np
import pytest
import torch

from intima.architectures import ARCHITECTURES, complete_architecture
from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureSpec, ArchitectureWish
from intima.errors import Invalid
from intima.geometry import Size
from intima.losses import LOSSES
from intima.training.data import TrainingCase
from intima.training.loop import OPTIMISERS, Rungs, as_predict, fit, make_optimizer, rate_at
from intima.training.presets import PRESETS, LoopSettings
from intima.training.scoring import Tiling, predict_mask
from intima.training.search import default_parameters

TINY = LoopSettings(steps=4, batch=2, crop_px=64, norm_steps=1)
SPEC = ArchitectureSpec(name="unet_small", weights="random")


def disc(seed: int, side: int = 96) -> TrainingCase:
    """A disc and its rim on noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    radius = np.hypot(x - rng.uniform(0.4, 0.6) * side, y - rng.uniform(0.4, 0.6) * side)
    mask = np.where(radius < 0.2 * side, 1, np.where(radius < 0.33 * side, 2, 0)).astype(np.uint8)
    colors = np.array([[235, 230, 225], [90, 40, 120], [200, 80, 120]])
    image = np.clip(colors[mask] + rng.normal(0, 12, (*mask.shape, 3)), 0, 255).astype(np.uint8)
    return TrainingCase(image=image, mask=mask)


def train(*, seed: int = 0, settings: LoopSettings = TINY, spec: ArchitectureSpec = SPEC, **parameters):
    chosen = {**default_parameters("unet"), **parameters}
    net = build_net(spec, classes=3, parameters=chosen, seed=seed)
    said: list[tuple[float, str]] = []
    cases = [disc(s) for s in range(3)]
    fit(
        net,
        cases,
        classes=3,
        settings=settings,
        parameters=chosen,
        seed=seed,
        watch=lambda fraction, message: said.append((fraction, message)),
    )
    return net, said


def test_it_learns_a_disc_it_has_not_seen():
    settings = LoopSettings(steps=30, batch=4, crop_px=64, norm_steps=4)
    net, said = train(settings=settings, spec=ArchitectureSpec(name="unet_small"))
    unseen = disc(99)
    predicted = predict_mask(unseen.image, as_predict(net), size=Size(96, 96), tiling=Tiling.of(SPEC))
    assert (predicted == unseen.mask).mean() > 0.9
    assert said[-1][0] == 1.0
    assert "step 30/30, loss" in said[-1][1]
    assert [f for f, _ in said] == sorted(f for f, _ in said)


def test_twice_is_bit_for_bit_the_same_whatever_ran_before():
    one, _ = train(seed=7)
    torch.manual_seed(123)
    torch.rand(1000)
    two, _ = train(seed=7)
    other, _ = train(seed=8)
    first, second, third = (net.state_dict() for net in (one, two, other))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(first[k], third[k]) for k in first)


def test_the_global_generator_is_left_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    train()
    assert torch.equal(torch.rand(2), expected)


def test_a_diverging_run_is_an_error_that_names_the_step():
    with pytest.raises(Invalid, match="step") as caught:
        train(settings=LoopSettings(steps=4, batch=2, crop_px=64), learning_rate=1e30)
    assert caught.value.code == "diverged"


def test_no_cases_are_refused():
    net = build_net(SPEC, classes=3, parameters={}, seed=0)
    with pytest.raises(Invalid, match="at least one"):
        fit(net, [], classes=3, settings=TINY, parameters={}, seed=0, watch=lambda *_: None)


def test_rate_rises_then_falls_to_nothing():
    settings = LoopSettings(steps=100, batch=1, crop_px=64, warmup=0.1)
    rates = [rate_at(step, settings=settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == 1.0
    assert rates.index(1.0) == 9
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 <= rates[-1] < 0.01


def test_every_parameter_is_in_one_group_and_biases_do_not_decay():
    net = build_net(SPEC, classes=3, parameters={}, seed=0)
    optimizer = make_optimizer(net, settings=TINY, parameters={"weight_decay": 0.1, "learning_rate": 1.0})
    found = [id(p) for g in optimizer.param_groups for p in g["params"]]
    assert sorted(found) == sorted(id(p) for p in net.parameters())
    assert all(p.ndim > 1 for g in optimizer.param_groups if g["weight_decay"] for p in g["params"])
    assert {g["lr"] for g in optimizer.param_groups} == {0.5, 1.0}


def test_parts_of_a_foundation_model_are_trained_slowly_and_what_is_new_is_not():
    for training, encoder_rates in (("frozen", set()), ("lora", {0.5}), ("full", {0.05})):
        wish = ArchitectureWish(name="litemedsam", weights="random", input_px=64, encoder_training=training)
        net = build_net(complete_architecture(wish), classes=3, parameters={}, seed=0)
        optimizer = make_optimizer(net, settings=TINY, parameters={"learning_rate": 1.0})
        rate = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
        assert set(rate) == {id(p) for p in net.parameters() if p.requires_grad}
        assert {rate[id(p)] for p in net.encoder.parameters() if p.requires_grad} == encoder_rates
        decoder = net.decoder
        assert {rate[id(p)] for p in decoder.transformer.parameters()} == {0.05}
        assert {rate[id(p)] for p in (decoder.prompts.weight, decoder.readout.weight)} == {1.0}


def spec_of(architecture: str) -> ArchitectureSpec:
    px = 64 if ARCHITECTURES[architecture].fixed_input else None
    return complete_architecture(ArchitectureWish(name=architecture, weights="random", input_px=px))


@pytest.mark.parametrize(
    ("architecture", "loss"),
    [(name, TINY.loss) for name in sorted(ARCHITECTURES)] + [("unet_small", loss) for loss in sorted(LOSSES)],
)
def test_every_architecture_and_every_loss_takes_a_step(architecture, loss):
    settings = LoopSettings(steps=1, batch=2, crop_px=64, norm_steps=1, loss=loss, views=1)
    _, said = train(settings=settings, spec=spec_of(architecture))
    assert [m.split(",")[0] for _, m in said if m.startswith("step")] == ["step 1/1"]


def test_presets_grow():
    quick, standard, paper = (PRESETS[name] for name in ("quick", "standard", "paper"))
    work = [s.steps * s.batch * s.crop_px**2 for s in (quick, standard, paper)]
    assert work == sorted(work)
    assert all(s.crop_px % 32 == 0 and s.loss in LOSSES for s in (quick, standard, paper))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_lowers_the_loss(name):
    settings = LoopSettings(steps=12, batch=2, crop_px=64, norm_steps=1)
    _, said = train(settings=settings, optimiser=name, dropout=0.0, learning_rate=0.02 if name == "sgd" else 4e-3)
    losses = [float(m.split("loss ")[1].split(",")[0]) for _, m in said]
    assert sum(losses[-4:]) < sum(losses[:4])


def test_judging_a_net_on_the_way_changes_nothing_of_its_training():
    def fitted(rungs):
        net = build_net(SPEC, classes=3, parameters={}, seed=0)
        quiet = {"settings": TINY, "parameters": {}, "seed": 0, "watch": lambda *_: None}
        return fit(net, [disc(1)], classes=3, rungs=rungs, **quiet)

    seen = []

    def judge(net, step):
        seen.append((step, net.training, as_predict(net)(np.zeros((1, 3, 64, 64), np.float32)).shape))
        counted = {int(m.num_batches_tracked) for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)}
        assert counted == {TINY.norm_steps}, "judged with batch statistics that have not settled"

    judged, plain = fitted(Rungs(frozenset({1, 3}), judge)), fitted(Rungs(frozenset(), judge))
    assert seen == [(1, False, (1, 3, 64, 64)), (3, False, (1, 3, 64, 64))]
    assert all(
        torch.equal(a, b) for a, b in zip(judged.state_dict().values(), plain.state_dict().values(), strict=True)
    )
