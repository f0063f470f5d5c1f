"""Trained weights are kept whole, or without what a frozen encoder makes again."""

import pytest
import torch
from safetensors.torch import load

from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureSpec
from intima.errors import Invalid
from intima.training.weights import pack_weights, restore_net

FULL = ArchitectureSpec(name="unet_small", weights="random", encoder="resnet18")
FROZEN = FULL.model_copy(update={"encoder_training": "frozen"})


def trained(spec: ArchitectureSpec):
    """A net whose trained tensors differ from those it was built with."""
    net = build_net(spec, classes=3, parameters={"dropout": 0.2}, seed=7)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.1).add_(0.01)
    return net.eval()


def restored(data: bytes, spec: ArchitectureSpec):
    return restore_net(data, spec, classes=3, parameters={"dropout": 0.2}, weights_folder=None)


@pytest.mark.parametrize("spec", [FULL, FROZEN], ids=["full", "frozen"])
def test_a_restored_net_is_the_trained_one(spec):
    net = trained(spec)
    again = restored(pack_weights(net, seed=7), spec)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(net(images), again(images))
    assert not again.training


def test_a_frozen_encoder_is_not_stored():
    whole, part = pack_weights(trained(FULL), seed=7), pack_weights(trained(FROZEN), seed=7)
    assert not any(name.startswith("body.encoder.") for name in load(part))
    assert len(part) < 0.2 * len(whole)


def test_a_frozen_encoder_with_a_seed_of_its_own_comes_back():
    shape = {"classes": 3, "parameters": {"dropout": 0.2}}
    net = build_net(FROZEN, seed=7, encoder_seed=1, **shape).eval()
    other = build_net(FROZEN, seed=8, encoder_seed=1, **shape)
    assert all(torch.equal(a, b) for a, b in zip(net.encoder.parameters(), other.encoder.parameters(), strict=True))
    decoders = zip(net.decoder.parameters(), other.decoder.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in decoders)
    again = restored(pack_weights(net, seed=7, encoder_seed=1), FROZEN)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_equal_nets_give_equal_bytes():
    assert pack_weights(trained(FROZEN), seed=7) == pack_weights(trained(FROZEN), seed=7)


def test_another_encoder_beneath_is_refused():
    data = pack_weights(trained(FROZEN), seed=8)
    with pytest.raises(Invalid, match="not those this net was trained on"):
        restored(data, FROZEN)


def test_weights_of_another_net_are_refused():
    with pytest.raises(Invalid, match="do not fit"):
        restore_net(pack_weights(trained(FULL), seed=7), FULL, classes=4, parameters={}, weights_folder=None)
