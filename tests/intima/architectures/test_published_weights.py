"""Weights under the names of their publishers, made by the publishers' own libraries, arrive in the encoders."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from intima.architectures import ARCHITECTURES, MIT_ENCODERS, VIT_ENCODERS, complete_architecture, sources
from intima.architectures.build import build_bare, build_net
from intima.architectures.sources import SOURCES, find_weights
from intima.architectures.torchvision_shim import ensure_torchvision
from intima.architectures.weights import IMAGENET_MEAN, load_encoder
from intima.contracts.benchmark import ArchitectureSpec, ArchitectureWish
from intima.errors import Invalid

Features = Callable[[Tensor], Tensor]


def torchvision_net(name: str) -> torch.nn.Module:
    torch.manual_seed(3)
    return getattr(ensure_torchvision().models, name)().eval()


def take_any_hash(monkeypatch, encoder: str, file: str) -> None:
    """Random weights cannot have the hash of the published ones; all else of the source stays."""
    known = next(s for s in SOURCES[encoder] if s.file == file)
    monkeypatch.setitem(sources.SOURCES, encoder, (replace(known, sha256=None),))


def spec(architecture: str, encoder: str, *, input_px: int = 256) -> ArchitectureSpec:
    wish = ArchitectureWish(name=architecture, encoder=encoder, weights="imagenet", input_px=input_px)
    return complete_architecture(wish)


@pytest.mark.parametrize(
    ("encoder", "file"), [("resnet18", "resnet18-f37072fd.pth"), ("mobilenet_v2", "mobilenet_v2-b0353104.pth")]
)
@pytest.mark.parametrize("architecture", ["unet", "unet_small", "pspnet"])
def test_torchvision_files_arrive_by_name(architecture, encoder, file, tmp_path, monkeypatch):
    donor = torchvision_net(encoder)
    published = {k: v for k, v in donor.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(published, tmp_path / file)
    take_any_hash(monkeypatch, encoder, file)
    net = build_net(spec(architecture, encoder), classes=2, parameters={}, seed=0, weights_folder=tmp_path)
    own = net.encoder.state_dict()
    assert own.keys() <= donor.state_dict().keys()
    assert all(torch.equal(own[name], published[name]) for name in own if name in published)
    assert net.body.centre.flatten().tolist() == pytest.approx(IMAGENET_MEAN)


def test_a_resnet_file_fits_the_resnet_of_timm_too(tmp_path):
    donor = torchvision_net("resnet18")
    save_file(donor.state_dict(), tmp_path / "resnet18.safetensors")
    net = build_net(spec("unet", "tu-resnet18"), classes=2, parameters={}, seed=0, weights_folder=tmp_path)
    assert torch.equal(net.encoder.model.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)
    assert net.body.centre.flatten().tolist() == pytest.approx(IMAGENET_MEAN)


def test_an_efficientnet_file_arrives_by_name(tmp_path):
    wanted = spec("unet", "efficientnet-b0")
    donor = build_bare(wanted, classes=2, parameters={}, seed=4).encoder.state_dict()
    torch.save({**donor, "_fc.weight": torch.zeros(1000, 1280)}, tmp_path / "efficientnet-b0-355c32eb.pth")
    net = build_net(wanted, classes=2, parameters={}, seed=0, weights_folder=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(net.encoder.state_dict().values(), donor.values(), strict=True))


@pytest.fixture(scope="module")
def mit_b0(tmp_path_factory) -> tuple[Path, Features]:
    """A folder with a file that transformers writes under the published names, and what the donor computes."""
    from transformers import SegformerConfig, SegformerForImageClassification

    torch.manual_seed(5)
    donor = SegformerForImageClassification(SegformerConfig(num_labels=10)).eval()
    folder = tmp_path_factory.mktemp("mit")
    donor.save_pretrained(folder)
    (folder / "model.safetensors").rename(folder / "mit_b0.safetensors")
    return folder, lambda images: donor.segformer(images).last_hidden_state


def test_a_mix_transformer_file_of_nvidia_s_names_computes_the_same(mit_b0):
    folder, features = mit_b0
    assert "segformer.encoder.block.0.0.attention.self.query.weight" in load_file(folder / "mit_b0.safetensors")
    net = build_net(spec("segformer", "mit_b0"), classes=2, parameters={}, seed=0, weights_folder=folder).eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        normalised = (images - net.body.centre) / net.body.spread
        torch.testing.assert_close(net.embed(images)[-1], features(normalised))


@pytest.mark.parametrize("ending", [".bin", ".pth"])
def test_a_mix_transformer_may_come_as_a_pickle_of_tensors(mit_b0, ending, tmp_path):
    state = load_file(mit_b0[0] / "mit_b0.safetensors")
    torch.save(state, tmp_path / f"mit_b0{ending}")
    found = find_weights(spec("segformer", "mit_b0"), folder=tmp_path)
    assert "non-commercial" in found.start.licence
    assert f"mit_b0{ending}, sha256 " in found.start.origin
    net = build_net(spec("segformer", "mit_b0"), classes=2, parameters={}, seed=0, weights_folder=tmp_path)
    stem = state["segformer.encoder.patch_embeddings.0.proj.weight"]
    assert torch.equal(net.encoder.stages[0].patch_embeddings.proj.weight, stem)


def test_a_vision_transformer_file_of_timm_computes_the_same_at_its_own_size(tmp_path):
    import timm

    torch.manual_seed(6)
    donor = timm.create_model("vit_tiny_patch16_224").eval()
    save_file(donor.state_dict(), tmp_path / "vit_tiny_patch16_224.safetensors")
    wanted = spec("dpt", "vit_tiny_patch16_224", input_px=224)
    net = build_net(wanted, classes=2, parameters={}, seed=0, weights_folder=tmp_path).eval()
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        expected = donor.forward_intermediates((images - 0.5) / 0.5, intermediates_only=True)
        torch.testing.assert_close(net.embed(images)[:4], [expected[k] for k in (2, 5, 8, 11)])


def test_position_embeddings_are_resampled_to_another_grid(tmp_path):
    import timm

    donor = timm.create_model("vit_tiny_patch16_224")
    save_file(donor.state_dict(), tmp_path / "vit_tiny_patch16_224.safetensors")
    wanted = spec("dpt", "vit_tiny_patch16_224", input_px=128)
    net = build_net(wanted, classes=2, parameters={}, seed=0, weights_folder=tmp_path)
    own, theirs = net.encoder.model.pos_embed.detach(), donor.pos_embed.detach()
    assert own.shape == (1, 1 + 8 * 8, 192)
    assert torch.equal(own[:, 0], theirs[:, 0])
    assert own[:, 1:].mean() == pytest.approx(float(theirs[:, 1:].mean()), abs=1e-3)


@pytest.mark.parametrize(
    ("architecture", "encoder", "file"),
    [
        ("unet", "efficientnet-b0", "efficientnet-b0-355c32eb.pth"),
        ("segformer", "mit_b1", "mit_b1.pth"),
        ("dpt", "vit_tiny_patch16_224", "vit_tiny_patch16_224.safetensors"),
    ],
)
def test_names_or_shapes_that_do_not_fit_are_refused_with_the_file(architecture, encoder, file, tmp_path):
    wanted = spec(architecture, encoder, input_px=128)
    state = {k: v.clone() for k, v in torchvision_net("resnet18").state_dict().items()}
    write = save_file if file.endswith("safetensors") else torch.save
    write(state, tmp_path / file)
    with pytest.raises(Invalid, match=f"{file}: The weights do not fit this encoder: .* are missing") as caught:
        build_net(wanted, classes=2, parameters={}, seed=0, weights_folder=tmp_path)
    assert caught.value.code == "bad_weights"


def test_a_tensor_of_another_shape_is_refused_with_both_shapes(mit_b0, tmp_path):
    state = load_file(mit_b0[0] / "mit_b0.safetensors")
    state["segformer.encoder.patch_embeddings.0.proj.weight"] = torch.zeros(32, 4, 7, 7)
    torch.save(state, tmp_path / "mit_b0.pth")
    with pytest.raises(Invalid, match=r"\(32, 4, 7, 7\); need \(32, 3, 7, 7\)"):
        build_net(spec("segformer", "mit_b0"), classes=2, parameters={}, seed=0, weights_folder=tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a file of tensors"])
@pytest.mark.parametrize("file", ["mit_b0.safetensors", "mit_b0.pth"])
def test_a_broken_file_is_refused(file, content, tmp_path):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(Invalid, match="Not a file of named tensors") as caught:
        build_net(spec("segformer", "mit_b0"), classes=2, parameters={}, seed=0, weights_folder=tmp_path)
    assert caught.value.code == "bad_weights"


def test_a_checkpoint_that_wraps_its_tensors_is_refused(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "mit_b0.pth")
    with pytest.raises(Invalid, match="it holds other things"):
        build_net(spec("segformer", "mit_b0"), classes=2, parameters={}, seed=0, weights_folder=tmp_path)


def test_a_published_file_of_another_hash_is_refused(tmp_path):
    torch.save({}, tmp_path / "resnet18-f37072fd.pth")
    with pytest.raises(Invalid, match="need f37072fd"):
        find_weights(spec("unet", "resnet18"), folder=tmp_path)


def test_missing_files_are_all_named(tmp_path):
    with pytest.raises(Invalid, match=r"mit_b2.safetensors or mit_b2.bin or mit_b2.pth is not in the folder"):
        find_weights(spec("segformer", "mit_b2"), folder=tmp_path)
    with pytest.raises(Invalid, match="this deployment has none"):
        find_weights(spec("segformer", "mit_b2"), folder=None)


def test_every_encoder_that_has_weights_is_one_of_an_architecture():
    listed = {encoder for known in ARCHITECTURES.values() for encoder in known.encoders}
    assert {name.split("/")[-1] for name in SOURCES} <= listed
    assert {*MIT_ENCODERS, *VIT_ENCODERS} <= SOURCES.keys()


def test_random_weights_load_nothing():
    net = build_bare(spec("unet", "resnet18"), classes=2, parameters={}, seed=1)
    before = [p.clone() for p in net.parameters()]
    load_encoder(net.body, sources.RANDOM)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
