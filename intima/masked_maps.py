"""Networks whose masks of dropout multiply maps and must be given, for runtimes that cannot do better.

A published file multiplies the weights of the next convolution (``training.masks``) and lets masks be left out. A
runtime that takes no computed weights, and takes what has a default for a constant, would refuse the one and in silence
ignore the other.
"""

from collections.abc import Iterator, Sequence

import onnx
from onnx import GraphProto, NodeProto, helper

from intima.uncertainty import mask_name

_BEHIND = ("Unsqueeze", "Mul", "Reshape", "Conv")
"""From a mask to the convolution whose weights it multiplies."""


def mask_maps(data: bytes) -> bytes:
    """Return a network that gives the same logits for the same masks; the file as it is where it takes none."""
    model = onnx.load_from_string(data)
    graph = model.graph
    inputs = {i.name for i in graph.input}
    masks = [name for name in map(mask_name, range(len(inputs))) if name in inputs]
    if not masks:
        return data
    for mask in masks:
        _unfold(graph, mask)
    kept = [tensor for tensor in graph.initializer if tensor.name not in masks]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    changed: bytes = model.SerializeToString(deterministic=True)
    return changed


def _unfold(graph: GraphProto, mask: str) -> None:
    """Turn conv(x, m W), split into draws by a reshape, into conv(m x, W); leave any other use of a mask alone."""
    chain = _chain(graph, mask)
    if chain is None:
        return
    axis, product, weights, conv = chain
    splits = [node for node in users_of(graph, conv.output[0]) if node.op_type == "Reshape"]
    if len(splits) != 1:
        return
    (kernel,) = [name for name in product.input if name != axis.output[0]]
    masked = f"{mask}/masked"
    new = NodeProto()
    new.CopyFrom(conv)
    new.input[0], new.input[1], new.output[0] = masked, kernel, splits[0].output[0]
    multiply = helper.make_node("Mul", [conv.input[0], mask], [masked], name=f"{masked}/Mul")
    gone = [axis, product, weights, splits[0]]
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node == conv:
            nodes += [multiply, new]
        elif node not in gone:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(_needed(nodes, [o.name for o in graph.output]))


def _chain(graph: GraphProto, mask: str) -> list[NodeProto] | None:
    """Return the nodes from a mask to the convolution whose weights it multiplies, if it does that and nothing else."""
    found, name = [], mask
    for kind in _BEHIND:
        users = users_of(graph, name)
        if len(users) != 1 or users[0].op_type != kind:
            return None
        found.append(users[0])
        name = users[0].output[0]
    return found if found[-1].input[1] == found[-2].output[0] else None


def users_of(graph: GraphProto, name: str) -> list[NodeProto]:
    """Return the nodes that read a value."""
    return [node for node in graph.node if name in node.input]


def _needed(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> Iterator[NodeProto]:
    """Yield the nodes that outputs depend on, in their order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            wanted.update(_reads(node))
            kept.append(node)
    return reversed(kept)


def _reads(node: NodeProto) -> Iterator[str]:
    """Yield what a node reads; the branches of one also read from around it."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)
