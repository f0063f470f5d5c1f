"""Dropout anywhere in a decoder with skips: every draw is what torch computes under the same masks."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from intima.architectures import complete_architecture
from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureWish
from intima.errors import Invalid
from intima.inference import load_onnx
from intima.masked_maps import mask_maps
from intima.training.export import halve_weights, to_onnx
from intima.training.masks import Masked
from intima.training.quantize import quantize_net
from intima.training.skips import drawn_values
from intima.uncertainty import draw_masks

DRAWS = 5


class Skipping(nn.Module):
    """An encoder of one step and a decoder that takes its features in again, in either order."""

    def __init__(self, *, normed: bool, features_first: bool, groups: int = 1) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.features_first = features_first
        self.shallow, self.deep = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 10, 3, stride=2, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.joined = nn.Conv2d(16, 8, 3, padding=1, bias=not normed, groups=groups)
        self.norm = nn.BatchNorm2d(8) if normed else nn.Identity()
        if normed:
            nn.init.uniform_(self.norm.weight, -1.5, 1.5)
            nn.init.normal_(self.norm.bias)
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.3, 3)
        self.first, self.last = nn.Dropout2d(0.3), nn.Dropout2d(0.3)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.shallow(images).relu()
        up = self.up(self.first(self.deep(features).relu()))
        parts = [features, up] if self.features_first else [up, features]
        found: torch.Tensor = self.head(self.last(self.norm(self.joined(torch.cat(parts, 1))).relu()))
        return found


def decoder_dropout() -> nn.Module:
    """A U-Net with dropout behind every block of its decoder, the last one's before the head."""
    spec = complete_architecture(ArchitectureWish(name="unet", encoder="resnet18", weights="random"))
    net = build_net(spec, classes=4, parameters={"dropout": 0.2}, seed=0)
    for block in net.decoder.blocks[:-1]:
        block.attention2 = nn.Dropout2d(0.2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return net.eval()


NETS = {
    "normed": lambda: Skipping(normed=True, features_first=False),
    "features first": lambda: Skipping(normed=True, features_first=True),
    "bias": lambda: Skipping(normed=False, features_first=False),
    "unet": decoder_dropout,
}


def tiles() -> np.ndarray:
    return np.random.default_rng(3).random((1, 3, 64, 96), np.float32)


@pytest.mark.parametrize("name", NETS)
def test_every_draw_is_that_of_torch_under_the_same_masks(name: str) -> None:
    net = NETS[name]().eval()
    served = load_onnx(to_onnx(net))
    masks = draw_masks(served.dropout, seed=2, member=0, draws=range(1, DRAWS + 1))
    found = served.predict_drawn(tiles(), masks).reshape(DRAWS, 4, 64, 96)
    with torch.inference_mode():
        plain = net(torch.from_numpy(tiles())).numpy()
        scale = float(np.abs(plain).max())
        np.testing.assert_allclose(served.predict(tiles()), plain, atol=3e-5 * scale)
        for draw in range(DRAWS):
            one = [torch.from_numpy(masks[layer.name][draw : draw + 1]) for layer in served.dropout]
            expected = Masked(net)(torch.from_numpy(tiles()), *one).numpy()[0]
            np.testing.assert_allclose(found[draw], expected, atol=3e-5 * scale)
            assert float(np.abs(expected - plain[0]).max()) > 0.01 * scale


@pytest.mark.parametrize("name", NETS)
def test_what_comes_before_the_first_mask_runs_once(name: str) -> None:
    """No concatenation mixes the two kinds, and features of the encoder stay single."""
    graph = onnx.load_from_string(to_onnx(NETS[name]())).graph
    drawn = drawn_values(graph)
    joins = [node for node in graph.node if node.op_type == "Concat" and not drawn.isdisjoint(node.input)]
    assert all(drawn.issuperset(n for n in node.input if n.endswith("Relu_output_0")) for node in joins)
    sums = [node for node in graph.node if node.name.endswith("/sum/Add")]
    assert len(sums) == (3 if name == "unet" else 1)
    assert all(len(drawn & set(node.input)) == 1 for node in sums)


@pytest.mark.parametrize("change", ["int8", "half", "masked maps"])
def test_split_files_can_be_stored_in_other_forms(change: str) -> None:
    data = to_onnx(decoder_dropout())
    changed = {
        "int8": lambda: quantize_net(data, tiles=[tiles()]),
        "half": lambda: halve_weights(data),
        "masked maps": lambda: mask_maps(data),
    }[change]()
    full, served = load_onnx(data), load_onnx(changed)
    masks = draw_masks(full.dropout, seed=2, member=0, draws=range(1, DRAWS + 1))
    expected, found = full.predict_drawn(tiles(), masks), served.predict_drawn(tiles(), masks)
    assert served.dropout == full.dropout
    assert float(np.abs(found - expected).max()) < (0.15 if change == "int8" else 5e-3) * float(np.abs(expected).max())


def test_draws_of_a_seed_are_the_same_bits_in_many_threads() -> None:
    served = load_onnx(to_onnx(decoder_dropout()))

    def drawn(seed: int) -> bytes:
        masks = draw_masks(served.dropout, seed=seed, member=0, draws=range(1, DRAWS + 1))
        return served.predict_drawn(tiles(), masks).tobytes()

    alone = [drawn(seed) for seed in range(3)]
    assert len(set(alone)) == 3
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(drawn, [0, 1, 2] * 4)) == alone * 4


def test_a_grouped_convolution_is_not_split_and_the_file_refused() -> None:
    """Its weights cannot be parted by their input; draws and features then meet in one concatenation."""
    with pytest.raises(Invalid):
        load_onnx(to_onnx(Skipping(normed=True, features_first=False, groups=2)))
