"""One contract for every architecture; encoders, weights and refusals."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional

from intima.architectures import ARCHITECTURES, ENCODERS, LITE0, complete_architecture, sources
from intima.architectures.build import build_bare, build_net
from intima.architectures.net import SegmentationNet
from intima.architectures.sources import EncoderWeights, WeightsSource, find_weights
from intima.architectures.weights import load_encoder
from intima.contracts.benchmark import ArchitectureSpec, ArchitectureWish
from intima.errors import Invalid
from intima.inference import load_onnx
from intima.training.export import Exported, export_half, export_net, to_onnx
from intima.training.masks import dropout_rate
from intima.uncertainty import draw_masks

SIZES = [(64, 64), (65, 97), (96, 33), (1, 70)]
SAME_CODE = {"medsam": "sam"}
"""Nets whose export would repeat another's: same encoder and decoder. One export of a ViT-B takes ten seconds."""


def within(net: SegmentationNet, *sizes: tuple[int, int]) -> list[tuple[int, int]]:
    limit = net.fixed_px or max(max(size) for size in sizes)
    return [(min(height, limit), min(width, limit)) for height, width in sizes]


def served(data: bytes):
    return load_onnx(data).predict


def tiles_of(rng: np.random.Generator, *sizes: tuple[int, int]) -> list[np.ndarray]:
    return [rng.random((2, 3, h, w), dtype=np.float32) for h, w in sizes]


def spec_of(name: str, encoder: str | None = None) -> ArchitectureSpec:
    """An architecture as it is by default, but trained in full and without files; small where its input is fixed."""
    known = ARCHITECTURES[name]
    foundation = known.weights == "pretrained"
    wish = ArchitectureWish(
        name=name,
        encoder=encoder,
        weights="imagenet" if (encoder or known.encoders[0]) == LITE0 else "random",
        input_px=(64 if foundation else 128) if known.fixed_input else None,
        encoder_training="full",
    )
    return complete_architecture(wish)


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def net(name) -> SegmentationNet:
    return build_net(spec_of(name), classes=4, parameters={"dropout": 0.3}, seed=3)


@pytest.fixture(scope="module")
def exported(net, name) -> Exported:
    if name in SAME_CODE:
        pytest.skip(f"exported as {SAME_CODE[name]}")
    tiles = tiles_of(np.random.default_rng(0), *within(net, (64, 96), (128, 32), (65, 97), (1, 70)))
    return export_net(net, tiles=tiles, load=served)


def test_any_size_in_is_the_size_out(net):
    net.eval()
    with torch.inference_mode():
        for height, width in within(net, *SIZES):
            logits = net(torch.rand(1, 3, height, width))
            assert logits.shape == (1, 4, height, width)
            assert torch.isfinite(logits).all()


def test_every_weight_gets_a_gradient(net):
    net.train()
    net.zero_grad()
    ((height, width),) = within(net, (64, 96))
    images, target = torch.rand(2, 3, height, width), torch.randint(0, 4, (2, height, width))
    functional.cross_entropy(net(images), target).backward()
    missing = [name for name, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert missing == []
    assert any(p.grad.abs().max() > 0 for p in net.encoder.parameters())


def test_the_least_batch_can_be_trained(net, name):
    """The smallest crop of 64 px, where deep maps are a pixel."""
    fewest = ARCHITECTURES[name].fewest_crops
    net.train()
    with torch.no_grad():
        assert torch.isfinite(net(torch.rand(fewest, 3, 64, 64))).all()
        if fewest > 1:
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                net(torch.rand(1, 3, 64, 64))


def test_dropout_is_alive_in_training_and_silent_in_evaluation(net):
    images = torch.rand(2, 3, 64, 64)
    net.train()
    with torch.no_grad():
        assert not torch.equal(net(images), net(images))
    net.eval()
    with torch.no_grad():
        assert torch.equal(net(images), net(images))


def test_onnx_agrees_at_every_size_and_batch(net, exported):
    assert exported.parity_max_abs < 1e-3
    ((height, width),) = within(net, (64, 96))
    assert served(exported.onnx)(np.zeros((3, 3, height, width), np.float32)).shape == (3, 4, height, width)


def test_draws_of_dropout_are_those_of_torch_whatever_else_is_drawn(net, exported):
    """Several draws in one run, of which each is the net with these channels of its maps off."""
    served_net, rng = load_onnx(exported.onnx), np.random.default_rng(4)
    assert served_net.dropout_rate == 0.3
    ((height, width),) = within(net, (96, 64))
    tiles = rng.random((2, 3, height, width), np.float32)
    masks = draw_masks(served_net.dropout, seed=1, member=0, draws=[1, 2, 3])
    drawn = served_net.predict_drawn(tiles, masks).reshape(2, 3, 4, height, width)
    alone = served_net.predict_drawn(tiles, {name: mask[1:2] for name, mask in masks.items()})
    np.testing.assert_allclose(drawn[:, 1], alone, atol=1e-3 * np.abs(alone).max())
    assert np.abs(drawn[:, 0] - drawn[:, 1]).max() > 1e-3 * np.abs(drawn).max()
    for draw in range(3):
        expected = run_under(net, tiles, [torch.from_numpy(mask[draw]) for mask in masks.values()])
        np.testing.assert_allclose(drawn[:, draw], expected, atol=1e-3 * np.abs(expected).max())


def run_under(net: SegmentationNet, tiles: np.ndarray, masks: list[torch.Tensor]) -> np.ndarray:
    """Run a net with its channel dropout replaced by masks, in the order in which it is called."""
    left, real = iter(masks), nn.Dropout2d.forward
    try:
        nn.Dropout2d.forward = lambda layer, found: found * next(left) if layer.p else found
        with torch.inference_mode():
            return net.eval()(torch.from_numpy(tiles)).numpy()
    finally:
        nn.Dropout2d.forward = real


def test_masks_before_a_convolution_multiply_its_weights(net, exported, name):
    """All draws are then one convolution: of maps it would take a multiple of the time."""
    if name in {"sam", "litemedsam"}:
        pytest.skip("the masks of its classes are made by matrix products")
    graph = onnx.load_from_string(exported.onnx).graph
    weights = {t.name for t in graph.initializer}
    (user,) = [node for node in graph.node if "dropout.0" in node.input]
    assert user.op_type == "Unsqueeze"
    (product,) = [node for node in graph.node if user.output[0] in node.input]
    assert product.op_type == "Mul"
    assert product.input[0] in weights


class Drops(nn.Module):
    """Convolutions with dropout before each of them."""

    def __init__(self, *, groups: int = 1, bias: bool = True, twice: bool = True, used: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.first = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=bias)
        self.last = nn.Conv2d(8, 4, 1)
        self.dropout, self.twice, self.used = nn.Dropout2d(0.4), twice, used

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stem = self.stem(images)
        first = torch.relu(self.first(self.dropout(stem) if self.used else stem))
        return self.last(self.dropout(first) if self.twice else first)


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("twice", [True, False])
def test_draws_are_right_with_masks_in_a_row_with_groups_and_without_bias(groups, bias, twice):
    """A mask behind another meets maps that are of draws already."""
    net = Drops(groups=groups, bias=bias, twice=twice).eval()
    found, tiles = load_onnx(to_onnx(net)), np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    assert len(found.dropout) == 1 + twice
    masks = draw_masks(found.dropout, seed=0, member=0, draws=range(1, 6))
    drawn = found.predict_drawn(tiles, masks).reshape(2, 5, 4, 64, 64)
    with torch.inference_mode():
        np.testing.assert_allclose(found.predict(tiles), net(torch.from_numpy(tiles)).numpy(), atol=1e-5)
    for draw in range(5):
        expected = run_under(net, tiles, [torch.from_numpy(mask[draw]) for mask in masks.values()])
        np.testing.assert_allclose(drawn[:, draw], expected, atol=1e-5)


def test_dropout_that_is_never_called_is_not_exported():
    with pytest.raises(Invalid, match="never calls"):
        to_onnx(Drops(twice=False, used=False))


def test_a_net_without_dropout_takes_no_masks():
    net = build_net(ArchitectureSpec(name="unet_small"), classes=2, parameters={"dropout": 0.0}, seed=0)
    found = load_onnx(to_onnx(net))
    assert (dropout_rate(net), found.dropout, found.dropout_rate) == (None, (), None)


def test_weights_survive_safetensors(net, name):
    net.eval()
    other = build_bare(spec_of(name), classes=4, parameters={})
    other.load_state_dict(load(save(net.state_dict())))
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(net(images), other.eval()(images))


def test_half_stored_file_is_half_as_large_and_equal(net, exported):
    if len(exported.onnx) > 100e6:
        pytest.skip("one export of a ViT-B is enough; halving works on the file")
    half = export_half(net, tiles=tiles_of(np.random.default_rng(1), (64, 64)), load=served)
    assert len(half.onnx) < 0.62 * len(exported.onnx)
    assert load_onnx(half.onnx).dropout == load_onnx(exported.onnx).dropout
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


@pytest.mark.parametrize(
    ("name", "encoder"),
    [(name, encoder) for name in ("unet", "deeplabv3plus") for encoder in (*ENCODERS[1:], "tu-mobilenetv3_small_100")]
    + [(name, e) for name, known in ARCHITECTURES.items() if not known.any_timm for e in known.encoders[1:]],
)
def test_every_listed_encoder_builds_and_fits(name, encoder):
    """On torch's device without memory, where only shapes are computed; a plain and a dilated decoder stand for all."""
    with torch.device("meta"):
        net = build_bare(spec_of(name, encoder), classes=3, parameters={}).eval()
        assert net(torch.rand(1, 3, 64, 64)).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("name", [name for name, known in ARCHITECTURES.items() if "resnet18" in known.encoders])
def test_every_decoder_runs_on_a_resnet(name):
    net = build_bare(spec_of(name, "resnet18"), classes=3, parameters={}).eval()
    with torch.inference_mode():
        assert torch.isfinite(net(torch.rand(1, 3, 64, 64))).all()


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", ["unet_small", "pspnet"])
def test_no_layer_behind_the_last_feature_is_kept(name, encoder):
    net = build_bare(spec_of(name, encoder), classes=3, parameters={})
    net.train()(torch.rand(2, 3, 64, 64)).sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


def test_imagenet_weights_arrive_and_fit_the_images_they_were_trained_on():
    spec = ArchitectureSpec(name="unet")
    net = build_net(spec, classes=4, parameters={}, seed=0)
    found = find_weights(spec, folder=None)
    stem = torch.load(found.file, map_location="cpu", weights_only=True)["_conv_stem.weight"]
    assert torch.equal(net.encoder.state_dict()["model.conv_stem.weight"], stem)
    assert "sha256 5793" in found.start.origin
    assert found.start.licence == "Apache-2.0"


def test_random_weights_are_random_and_said_to_be():
    assert find_weights(ArchitectureSpec(name="unet", weights="random"), folder=None) is sources.RANDOM
    found = find_weights(ArchitectureSpec(name="unet", encoder="tu-convnext_atto"), folder=None)
    assert found.start.origin == "random (no pretrained weights of tu-convnext_atto are known)"
    assert found.file is None


def test_weights_of_another_hash_are_refused(tmp_path, monkeypatch):
    file = WeightsSource(kind="imagenet", file="lite0.pth", licence="?", sha256="0" * 64)
    monkeypatch.setitem(sources.SOURCES, LITE0, (file,))
    (tmp_path / "lite0.pth").write_bytes(b"not these")
    with pytest.raises(Invalid, match="SHA-256"):
        find_weights(ArchitectureSpec(name="unet"), folder=tmp_path)


def test_weights_of_another_net_are_refused(tmp_path):
    net = build_bare(ArchitectureSpec(name="unet_small"), classes=2, parameters={})
    torch.save({"stem": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(Invalid, match="do not fit"):
        load_encoder(net.body, EncoderWeights(sources.RANDOM.start, tmp_path / "other.pth"))


def test_missing_weights_are_an_error_that_names_file_and_place(tmp_path, monkeypatch):
    gone = WeightsSource(kind="imagenet", file="models/lite0.pth", licence="?", package="no-such-package")
    monkeypatch.setitem(sources.SOURCES, LITE0, (gone,))
    for wish in (None, "imagenet"):
        with pytest.raises(Invalid, match=r"models/lite0\.pth is not in the package no-such-package"):
            find_weights(ArchitectureSpec(name="unet", weights=wish), folder=tmp_path)
    monkeypatch.setitem(sources.SOURCES, LITE0, (WeightsSource(kind="imagenet", file="lite0.pth", licence="?"),))
    with pytest.raises(Invalid, match=r"lite0\.pth is not in the folder of weights .*" + tmp_path.name):
        find_weights(ArchitectureSpec(name="unet", weights="imagenet"), folder=tmp_path)


def test_weights_are_taken_from_the_folder_and_their_hash_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "resnet18", (WeightsSource(kind="imagenet", file="r18.pth", licence="BSD"),))
    spec = ArchitectureSpec(name="unet", encoder="resnet18", weights="imagenet")
    donor = build_bare(spec, classes=2, parameters={}, seed=5)
    torch.save(donor.encoder.state_dict(), tmp_path / "r18.pth")
    found = find_weights(spec, folder=tmp_path)
    assert found.start.licence == "BSD"
    assert "r18.pth, sha256 " in found.start.origin
    net = build_net(spec, classes=2, parameters={}, seed=9, weights_folder=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(net.encoder.parameters(), donor.encoder.parameters(), strict=True))


def test_a_frozen_encoder_stays_as_it_is():
    net = build_net(ArchitectureSpec(name="unet", encoder_training="frozen"), classes=2, parameters={}, seed=0)
    images = torch.rand(1, 3, 64, 64)
    before = [f.clone() for f in net.embed(images)]
    net.train()
    functional.cross_entropy(net(images), torch.zeros(1, 64, 64, dtype=torch.long)).backward()
    assert all(p.grad is None for p in net.encoder.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, net.embed(images), strict=True))
    assert any(p.grad is not None for p in net.decoder.parameters())


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"name": "unett"}, "unet, unet_small"),
        ({"name": "unet", "encoder": "vgg99"}, "resnet18"),
        ({"name": "unet", "encoder": "tu-"}, "resnet18"),
        ({"name": "unet", "encoder": "tu-hf-hub:owner/net"}, "resnet18"),
        ({"name": "unet", "encoder": "tu-hf_hub:owner/net"}, "resnet18"),
        ({"name": "unet", "encoder": "tu-local-dir:/srv/net"}, "resnet18"),
        ({"name": "unet", "encoder_training": "lora"}, "full, frozen"),
    ],
)
def test_bad_specs_are_refused_with_the_choices(spec, says):
    with pytest.raises(Invalid, match=says):
        complete_architecture(ArchitectureWish(**spec))


def test_weights_that_exist_for_another_encoder_only_are_refused_with_its_name():
    with pytest.raises(Invalid, match=LITE0):
        find_weights(ArchitectureSpec(name="unet", encoder="tu-convnext_atto", weights="imagenet"), folder=None)


def test_a_wish_takes_the_defaults_of_its_architecture():
    for name, known in ARCHITECTURES.items():
        spec = complete_architecture(ArchitectureWish(name=name))
        assert (spec.encoder, spec.input_px) == (known.encoders[0], known.input_px)
        assert spec.encoder_training == known.encoder_training[0]


def test_an_encoder_timm_does_not_know_is_refused_before_timm_is_asked_to_make_it(monkeypatch):
    import timm

    monkeypatch.setattr(timm, "create_model", None)
    with pytest.raises(Invalid, match="timm knows no net 'no_such_net'") as caught:
        build_bare(ArchitectureSpec(name="unet", encoder="tu-no_such_net"), classes=2, parameters={})
    assert caught.value.code == "unknown_encoder"


def test_the_names_can_be_read_without_torch():
    code = "import sys, intima.architectures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
