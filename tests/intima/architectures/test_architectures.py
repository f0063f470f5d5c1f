"""One contract for every architecture; encoders, weights and refusals."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch.nn import functional

from intima.architectures import ARCHITECTURES, ENCODERS, LITE0, check_architecture, weights
from intima.architectures.build import build_bare, build_net
from intima.architectures.net import SegmentationNet
from intima.contracts.benchmark import ArchitectureSpec
from intima.errors import Invalid
from intima.inference import load_onnx
from intima.training.export import export_half, export_net

SIZES = [(64, 64), (65, 97), (96, 33), (1, 70)]


def served(data: bytes):
    return load_onnx(data).predict


def tiles_of(rng: np.random.Generator, *sizes: tuple[int, int]) -> list[np.ndarray]:
    return [rng.random((2, 3, h, w), dtype=np.float32) for h, w in sizes]


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def net(request) -> SegmentationNet:
    return build_net(ArchitectureSpec(name=request.param), classes=4, parameters={"dropout": 0.3}, seed=3)


def test_any_size_in_is_the_size_out(net):
    net.eval()
    with torch.inference_mode():
        for height, width in SIZES:
            logits = net(torch.rand(1, 3, height, width))
            assert logits.shape == (1, 4, height, width)
            assert torch.isfinite(logits).all()


def test_every_weight_gets_a_gradient(net):
    net.train()
    net.zero_grad()
    functional.cross_entropy(net(torch.rand(2, 3, 64, 96)), torch.randint(0, 4, (2, 64, 96))).backward()
    missing = [name for name, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert missing == []
    assert any(p.grad.abs().max() > 0 for p in net.encoder.parameters())


def test_dropout_is_alive_in_training_and_silent_in_evaluation(net):
    images = torch.rand(2, 3, 64, 64)
    net.train()
    with torch.no_grad():
        assert not torch.equal(net(images), net(images))
    net.eval()
    with torch.no_grad():
        assert torch.equal(net(images), net(images))


def test_onnx_agrees_at_every_size_and_batch(net):
    tiles = tiles_of(np.random.default_rng(0), (64, 96), (128, 32), (65, 97), (1, 70))
    exported = export_net(net, tiles=tiles, load=served)
    assert exported.parity_max_abs < 1e-3
    assert served(exported.onnx)(tiles[0]).shape == (2, 4, 64, 96)


def test_weights_survive_safetensors(net, request):
    net.eval()
    other = build_bare(ArchitectureSpec(name=request.node.callspec.params["net"]), classes=4, parameters={})
    other.load_state_dict(load(save(net.state_dict())))
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(net(images), other.eval()(images))


def test_half_stored_file_is_half_as_large_and_equal(net):
    tiles = tiles_of(np.random.default_rng(1), (64, 64))
    full, half = export_net(net, tiles=tiles, load=served), export_half(net, tiles=tiles, load=served)
    assert len(half.onnx) < 0.62 * len(full.onnx)
    assert half.parity_max_abs < 1e-4


def test_shifting_the_image_by_the_stride_shifts_the_logits():
    """Upsampling on half-pixel centres and constant padding keep the inside of the image in place."""
    net = build_net(ArchitectureSpec(name="unet_small"), classes=2, parameters={}, seed=0).eval()
    image = torch.rand(1, 3, 384, 384)
    with torch.inference_mode():
        whole, cut = net(image), net(image[:, :, 32:, 32:])
    torch.testing.assert_close(whole[:, :, 256:, 256:], cut[:, :, 224:, 224:], atol=1e-4, rtol=1e-4)


def test_same_seed_same_net_and_the_global_generator_is_left_alone():
    spec = ArchitectureSpec(name="unet_small", weights="random")
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one, two, other = (build_net(spec, classes=4, parameters={}, seed=s).state_dict() for s in (5, 5, 6))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("encoder", [e for e in ENCODERS if e != LITE0] + ["tu-mobilenetv3_small_100"])
@pytest.mark.parametrize("name", ["unet", "deeplabv3plus"])
def test_every_encoder_fits_every_family(name, encoder):
    net = build_net(ArchitectureSpec(name=name, encoder=encoder), classes=3, parameters={}, seed=0).eval()
    with torch.inference_mode():
        assert net(torch.rand(1, 3, 64, 64)).shape == (1, 3, 64, 64)


def test_imagenet_weights_arrive_and_fit_the_images_they_were_trained_on():
    spec = ArchitectureSpec(name="unet")
    net = build_net(spec, classes=4, parameters={}, seed=0)
    found = weights.find_weights(spec)
    stem = torch.load(found.file, map_location="cpu", weights_only=True)["_conv_stem.weight"]
    assert torch.equal(net.encoder.state_dict()["model.conv_stem.weight"], stem)
    assert "sha256 5793" in found.origin
    assert found.licence == "Apache-2.0"


def test_random_weights_are_random_and_said_to_be():
    assert weights.find_weights(ArchitectureSpec(name="unet", weights="random")) is weights.RANDOM
    assert weights.find_weights(ArchitectureSpec(name="unet", encoder="resnet18")) is weights.RANDOM


def test_weights_of_another_hash_are_refused(tmp_path):
    file = tmp_path / "efficientnet-lite0-57934424.pth"
    file.write_bytes(b"not these")
    net = build_bare(ArchitectureSpec(name="unet_small"), classes=2, parameters={})
    with pytest.raises(Invalid, match="SHA-256"):
        weights.load_encoder(net.encoder, weights.EncoderWeights("imagenet", "?", file))


def test_missing_package_is_an_error_only_for_who_asked(monkeypatch):
    monkeypatch.setattr(weights, "_installed", lambda: None)
    assert weights.find_weights(ArchitectureSpec(name="unet")) is weights.RANDOM
    with pytest.raises(Invalid, match=r"efficientnet-lite0-57934424\.pth"):
        weights.find_weights(ArchitectureSpec(name="unet", weights="imagenet"))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"name": "unett"}, "unet, unet_small"),
        ({"name": "unet", "encoder": "vgg99"}, "resnet18"),
        ({"name": "unet", "encoder": "tu-"}, "resnet18"),
        ({"name": "unet", "encoder": "resnet18", "weights": "imagenet"}, "efficientnet-lite0-57934424.pth"),
    ],
)
def test_bad_specs_are_refused_with_the_choices(spec, says):
    with pytest.raises(Invalid, match=says):
        check_architecture(ArchitectureSpec(**spec))


def test_an_encoder_timm_does_not_know_is_refused():
    with pytest.raises(Invalid, match="no_such_net"):
        build_net(ArchitectureSpec(name="unet", encoder="tu-no_such_net"), classes=2, parameters={}, seed=0)


def test_the_names_can_be_read_without_torch():
    code = "import sys, intima.architectures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
