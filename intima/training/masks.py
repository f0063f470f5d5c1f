"""Channel dropout as inputs of an ONNX file: masks from outside instead of random numbers of a runtime.

Runtimes drop a Dropout node in silence, and random numbers of their own would answer no request twice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from intima.errors import Invalid
from intima.masked_maps import users_of
from intima.training.skips import drawn_values, is_plain_convolution, split_skips
from intima.uncertainty import RATE_KEY, mask_name


def dropout_rate(net: nn.Module) -> float | None:
    """Return the rate of a net's channel dropout, whose masks its file takes; None where it has none.

    Raises:
        Invalid: its layers have several.
    """
    rates = {layer.p for layer in _layers(net)}
    if len(rates) > 1:
        raise Invalid(f"Got channel dropout at rates {sorted(rates)}; one net is exported with one rate.")
    return rates.pop() if rates else None


def _layers(net: nn.Module) -> list[nn.Dropout2d]:
    return [m for m in net.modules() if isinstance(m, nn.Dropout2d) and m.p > 0]


class Masked(nn.Module):
    """A net whose channel dropout is done by masks from outside, in the order in which it acts."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def masks(self, example: Tensor) -> list[Tensor]:
        """Return masks of ones, (1, channels, 1, 1), for every map that dropout acts on."""
        seen: list[int] = []
        with torch.no_grad(), _after(_layers(self.net), lambda found: seen.append(found.shape[1])):
            self.net(example)
        return [torch.ones(1, channels, 1, 1) for channels in seen]

    def forward(self, tiles: Tensor, *masks: Tensor) -> Tensor:
        """Return the logits of tiles under masks."""
        left = iter(masks)
        with _after(_layers(self.net), lambda found: found * next(left)):
            logits: Tensor = self.net(tiles)
        return logits


@contextmanager
def _after(layers: Sequence[nn.Module], change: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Pass the output of layers through a function, while the context lasts."""
    handles = [layer.register_forward_hook(lambda _layer, _inputs, found: change(found)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def finish_masks(data: bytes, masks: Sequence[Tensor], *, rate: float) -> bytes:
    """Return an exported file in which masks may be left out, are cheap, and whose metadata say how they are drawn."""
    model = onnx.load_from_string(data)
    for place, mask in enumerate(masks):
        model.graph.initializer.append(numpy_helper.from_array(mask.numpy(), mask_name(place)))
        _fold(model.graph, mask_name(place))
    split_skips(model)
    helper.set_model_props(model, {RATE_KEY: repr(rate)})
    finished: bytes = model.SerializeToString(deterministic=True)
    return finished


def _fold(graph: GraphProto, mask: str) -> None:
    """Multiply weights instead of maps where a convolution comes next: conv(m x, W) = conv(x, m W).

    All draws are then one convolution with draws times classes outputs, which fill a processor's registers; a head of
    four outputs leaves most of them empty.
    """
    (product,) = users_of(graph, mask)
    users = users_of(graph, product.output[0])
    weights = {tensor.name: tensor for tensor in graph.initializer}
    (source,) = [name for name in product.input if name != mask]
    if len(users) != 1 or not is_plain_convolution(users[0], weights) or source in drawn_values(graph):
        return
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node == users[0]:
            nodes += _folded(graph, node, weights=weights, source=source, mask=mask)
        elif node != product:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _folded(
    graph: GraphProto, conv: NodeProto, *, weights: Mapping[str, TensorProto], source: str, mask: str
) -> list[NodeProto]:
    """Return the nodes that do a convolution of masked channels for all draws, in the place of the draws' batch."""
    outputs, *kernel = weights[conv.input[1]].dims
    attributes = {a.name: helper.get_attribute_value(a) for a in conv.attribute}

    def value(name: str, array: NDArray[np.generic]) -> str:
        graph.initializer.append(numpy_helper.from_array(array, f"{mask}/{name}"))
        return f"{mask}/{name}"

    def node(kind: str, inputs: list[str], output: str, **named: Any) -> NodeProto:
        return helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", **named)

    names = {n: f"{mask}/{n}" for n in ("mask", "product", "weights", "wide", "size", "shape", "draws")}
    last = names["draws"] if len(conv.input) > 2 else conv.output[0]
    nodes = [
        node("Unsqueeze", [mask, value("axis", np.array([1]))], names["mask"]),
        node("Mul", [conv.input[1], names["mask"]], names["product"]),
        node("Reshape", [names["product"], value("kernel", np.array([-1, *kernel]))], names["weights"]),
        node("Conv", [source, names["weights"]], names["wide"], **attributes),
        node("Shape", [names["wide"]], names["size"], start=2),
        node("Concat", [value("outputs", np.array([-1, outputs])), names["size"]], names["shape"], axis=0),
        node("Reshape", [names["wide"], names["shape"]], last),
    ]
    if len(conv.input) > 2:
        bias = numpy_helper.to_array(weights[conv.input[2]]).reshape(1, outputs, 1, 1)
        nodes.append(node("Add", [last, value("bias", bias)], conv.output[0]))
    return nodes
