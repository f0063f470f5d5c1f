"""Split convolutions over what dropout has drawn and what it has not: conv([a, b], W) = conv(a, Wa) + conv(b, Wb).

In a decoder with skips, maps behind a mask have a draw for each of their batch, and features of the encoder are the
same for all draws. The two cannot be concatenated; split, the part of the features runs once for all draws.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from intima.masked_maps import users_of


def drawn_values(graph: GraphProto) -> set[str]:
    """Return the names of all values that masks have a say in; nodes stand in the order they run in."""
    drawn = {i.name for i in graph.input[1:]}
    for node in graph.node:
        if not drawn.isdisjoint(node.input):
            drawn.update(node.output)
    return drawn


def is_plain_convolution(node: NodeProto, weights: Mapping[str, object]) -> bool:
    """Tell whether a node is a convolution of all channels with weights that stand in the file."""
    groups = [a.i for a in node.attribute if a.name == "group"]
    return node.op_type == "Conv" and groups in ([], [1]) and all(name in weights for name in node.input[1:])


def split_skips(model: ModelProto) -> None:
    """Split every convolution over two concatenated maps of which one is drawn, in place."""
    graph = model.graph
    drawn = drawn_values(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    mixed = [node for node in graph.node if len(node.input) == 2 and len(drawn & set(node.input)) == 1]
    pairs = [
        (node, users[0])
        for node in mixed
        if node.op_type == "Concat" and _axis(node) == 1 and len(users := users_of(graph, node.output[0])) == 1
    ]
    pairs = [(joined, conv) for joined, conv in pairs if is_plain_convolution(conv, weights)]
    widths = _widths(model) if pairs else {}
    for joined, conv in pairs:
        _split(graph, joined, conv, drawn=drawn, weights=weights, widths=widths)


def _axis(node: NodeProto) -> int:
    return next(int(a.i) for a in node.attribute if a.name == "axis")


def _widths(model: ModelProto) -> dict[str, int]:
    """Return the channels of the maps for which the file tells them."""
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    shapes = {value.name: value.type.tensor_type.shape.dim for value in inferred}
    return {name: dims[1].dim_value for name, dims in shapes.items() if len(dims) == 4 and dims[1].dim_value}


def _split(
    graph: GraphProto,
    joined: NodeProto,
    conv: NodeProto,
    *,
    drawn: set[str],
    weights: Mapping[str, TensorProto],
    widths: Mapping[str, int],
) -> None:
    """Replace a concatenation and its convolution by two convolutions and their sum.

    Batch normalisation behind them is of the drawn part; its factor is multiplied into the weights of the other, so
    that the runtime folds both away.
    """
    kernel = numpy_helper.to_array(weights[conv.input[1]])
    first = widths.get(joined.input[0]) or kernel.shape[1] - widths.get(joined.input[1], 0)
    if not 0 < first < kernel.shape[1]:
        return
    halves = dict(zip(joined.input, np.split(kernel, [first], axis=1), strict=True))
    (same,) = [name for name in joined.input if name not in drawn]
    (other,) = [name for name in joined.input if name in drawn]
    norm, name = _norm(graph, conv, weights), conv.output[0]
    if norm is not None:
        halves[same] = halves[same] * _factor(norm, weights)[:, None, None, None]
    attributes = {a.name: helper.get_attribute_value(a) for a in conv.attribute}

    def convolved(source: str, label: str, output: str, rest: Sequence[str] = ()) -> NodeProto:
        weight = numpy_helper.from_array(halves[source].astype(np.float32), f"{name}/{label}.weight")
        graph.initializer.append(weight)
        return helper.make_node(
            "Conv", [source, weight.name, *rest], [output], name=f"{name}/{label}/Conv", **attributes
        )

    parts = [f"{name}/drawn", f"{name}/same"]
    total = helper.make_node("Add", parts, [name if norm is None else norm.output[0]], name=f"{name}/sum/Add")
    new = [
        convolved(same, "same", parts[1]),
        convolved(other, "drawn", parts[0] if norm is None else name, conv.input[2:]),
    ]
    if norm is not None:
        renamed = NodeProto()
        renamed.CopyFrom(norm)
        renamed.output[0] = parts[0]
        new.append(renamed)
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node == conv:
            nodes += [*new, total]
        elif node not in (joined, norm):
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _factor(norm: NodeProto, weights: Mapping[str, TensorProto]) -> NDArray[np.float32]:
    """Return what a batch normalisation multiplies every channel by."""
    gamma, variance = (numpy_helper.to_array(weights[norm.input[i]]) for i in (1, 4))
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
    factor: NDArray[np.float32] = (gamma / np.sqrt(variance + epsilon)).astype(np.float32)
    return factor


def _norm(graph: GraphProto, conv: NodeProto, weights: Mapping[str, TensorProto]) -> NodeProto | None:
    """Return the batch normalisation that is all that a convolution's output goes to, if it is."""
    users = users_of(graph, conv.output[0])
    known = len(users) == 1 and users[0].op_type == "BatchNormalization"
    return users[0] if known and all(name in weights for name in users[0].input[1:]) else None
