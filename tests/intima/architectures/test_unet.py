"""The U-Net's decoder is the library's, written so that a runtime can see that maps are doubled."""

import numpy as np
import onnx
import pytest
import torch

from intima.architectures import ENCODERS, LITE0, complete_architecture, unet
from intima.architectures.build import build_net
from intima.architectures.net import SegmentationNet
from intima.contracts.benchmark import ArchitectureWish
from intima.inference import load_onnx
from intima.training.export import to_onnx


def built(name: str, encoder: str) -> SegmentationNet:
    wish = ArchitectureWish(name=name, encoder=encoder, weights="imagenet" if encoder == LITE0 else "random")
    return build_net(complete_architecture(wish), classes=4, parameters={"dropout": 0.1}, seed=4).eval()


@pytest.mark.parametrize("size", [(96, 64), (65, 97), (1, 70)])
@pytest.mark.parametrize(("name", "encoder"), [("unet", e) for e in ENCODERS] + [("unet_small", "resnet18")])
def test_logits_and_names_of_weights_are_those_of_the_library(
    name: str, encoder: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = built(name, encoder)
    monkeypatch.setattr(unet, "_Doubling", lambda block: block)
    theirs = built(name, encoder)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    image = torch.from_numpy(np.random.default_rng(2).random((1, 3, *size), np.float32))
    with torch.inference_mode():
        assert torch.equal(ours(image), theirs(image))


def test_its_file_doubles_maps_by_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime then keeps its layout of channels in blocks; the logits are the same bits."""
    net = built("unet", "resnet34")
    data = to_onnx(net)
    doubled = [node for node in onnx.load_from_string(data).graph.node if node.op_type == "Resize"]
    assert len(doubled) == 5
    assert all(len(node.input) == 3 for node in doubled)
    monkeypatch.setattr(unet, "_Doubling", lambda block: block)
    library = built("unet", "resnet34")
    library.load_state_dict(net.state_dict())
    tiles = np.random.default_rng(2).random((1, 3, 160, 96), np.float32)
    np.testing.assert_array_equal(load_onnx(data).predict(tiles), load_onnx(to_onnx(library)).predict(tiles))
