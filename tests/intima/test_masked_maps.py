"""A file rewritten for runtimes without computed weights gives the same logits for the same masks."""

from importlib.resources import files

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from intima.inference import load_onnx
from intima.masked_maps import mask_maps
from intima.providers import CPU, open_session
from intima.training.export import halve_weights, to_onnx
from intima.training.quantize import quantize_net
from intima.uncertainty import draw_masks
from tests.builders import color_net

SHIPPED = files("intima").joinpath("assets/default_model/member-0.onnx").read_bytes()


class Twice(nn.Module):
    """Dropout at two places: the first mask is folded into a convolution, the second, behind it, is not."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, bias=bias)
        self.head, self.drop = nn.Conv2d(8, 4, 1), nn.Dropout2d(0.25)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.second(self.drop(self.first(images).relu())).relu()))


def tiles(count: int = 1) -> np.ndarray:
    return np.random.default_rng(7).random((count, 3, 96, 64), np.float32)


NETS = {
    "shipped": lambda: SHIPPED,
    "fp16": lambda: halve_weights(to_onnx(Twice(bias=True))),
    "int8": lambda: quantize_net(SHIPPED, tiles=[tiles()]),
    "two places": lambda: to_onnx(Twice(bias=True)),
    "no bias": lambda: to_onnx(Twice(bias=False)),
}


@pytest.mark.parametrize("name", NETS)
def test_draws_are_those_of_the_published_file(name: str) -> None:
    data = NETS[name]()
    net, changed = load_onnx(data), open_session(mask_maps(data), device=CPU, threads=1)
    masks = draw_masks(net.dropout, seed=3, member=0, draws=range(1, 6))
    expected = net.predict_drawn(tiles(), masks)
    found = changed.run(None, {"tiles": tiles(), **masks})[0].reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    assert float(np.abs(expected[0, :4] - expected[0, 4:8]).max()) > 1e-3


@pytest.mark.parametrize("name", NETS)
def test_masks_must_be_given_and_no_weights_are_computed(name: str) -> None:
    data = mask_maps(NETS[name]())
    onnx.checker.check_model(data, full_check=True)
    session = open_session(data, device=CPU, threads=1)
    assert not session.get_overridable_initializers()
    with pytest.raises(ValueError, match=r"dropout\.0"):
        session.run(None, {"tiles": tiles()})
    graph = onnx.load_from_string(data).graph
    made = {output: node.op_type for node in graph.node for output in node.output}
    of_weights = {made.get(node.input[1], "Constant") for node in graph.node if node.op_type == "Conv"}
    assert of_weights <= {"Constant", "Cast", "DequantizeLinear", "Identity"}


def test_a_loaded_file_that_asks_for_masks_predicts_as_without_dropout() -> None:
    net = load_onnx(mask_maps(SHIPPED))
    assert [(layer.name, layer.channels) for layer in net.dropout] == [("dropout.0", 16)]
    expected = load_onnx(SHIPPED).predict(tiles(3))
    np.testing.assert_allclose(net.predict(tiles(3)), expected, atol=1e-4)


def test_a_file_without_masks_stays_as_it_is() -> None:
    assert mask_maps(color_net()) == color_net()


def test_a_mask_that_is_used_elsewhere_too_stays_where_it_is() -> None:
    """Its weights then cannot be told from any others; the logits are what they were."""
    model = onnx.load_from_string(to_onnx(Twice(bias=True)))
    last = model.graph.node[-1].output[0]
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("ReduceMean", ["dropout.0"], ["mean"], keepdims=0))
    model.graph.node.append(onnx.helper.make_node("Mul", ["before", "mean"], [last]))
    data = model.SerializeToString()
    net, changed = load_onnx(data), open_session(mask_maps(data), device=CPU, threads=1)
    masks = draw_masks(net.dropout, seed=3, member=0, draws=range(1, 4))
    expected = net.predict_drawn(tiles(), masks)
    found = changed.run(None, {"tiles": tiles(), **masks})[0].reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)
