"""ONNX files that reach outside, run without end or are no net of ours are refused before any runtime sees them."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from intima.errors import Invalid
from intima.packages.gate import check_network
from tests.builders import color_net

Spoil = Callable[[ModelProto], None]


def outside(name: str = "stolen", *, location: str = "secret.bin") -> TensorProto:
    """A tensor whose data lies in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def constant(**attribute: object) -> NodeProto:
    return helper.make_node("Constant", [], ["c"], **attribute)


def branch(inner: list[NodeProto], weights: list[TensorProto]) -> NodeProto:
    """An If whose branches hold nodes and weights."""
    graph = helper.make_graph(inner, "branch", [], [helper.make_empty_tensor_value_info("c")], weights)
    return helper.make_node("If", ["condition"], ["c"], then_branch=graph, else_branch=graph)


def sparse() -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.array([0], np.int64), "indices")
    return onnx.SparseTensorProto(values=outside("values"), indices=indices, dims=[4])


def entries_only(model: ModelProto) -> None:
    """Inline by its location, external by its entries."""
    tensor = model.graph.initializer.add(name="t", data_type=TensorProto.FLOAT, dims=[1], raw_data=b"\0" * 4)
    tensor.external_data.add(key="location", value="secret.bin")


def function(model: ModelProto) -> None:
    model.functions.append(
        helper.make_function("mine", "F", [], ["c"], [constant(value=outside())], [helper.make_opsetid("", 17)])
    )


def training(model: ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(outside())


def unknown(model: ModelProto) -> None:
    """A field no version of ONNX has."""
    model.graph.ParseFromString(model.graph.SerializeToString() + b"\xfa\x3f\x02hi")


def domain(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("EPContext", [], ["x"], domain="com.microsoft"))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


UNSAFE: dict[str, Spoil] = {
    "initializer": lambda m: m.graph.initializer.append(outside()),
    "initializer up": lambda m: m.graph.initializer.append(outside(location="../../etc/passwd")),
    "initializer absolute": lambda m: m.graph.initializer.append(outside(location="/etc/passwd")),
    "entries only": entries_only,
    "constant": lambda m: m.graph.node.append(constant(value=outside())),
    "attribute list": lambda m: (
        m.graph.node[0].attribute.add(name="x", type=onnx.AttributeProto.TENSORS).tensors.append(outside())
    ),
    "sparse initializer": lambda m: m.graph.sparse_initializer.append(sparse()),
    "sparse constant": lambda m: m.graph.node.append(constant(sparse_value=sparse())),
    "branch constant": lambda m: m.graph.node.append(branch([constant(value=outside())], [])),
    "branch initializer": lambda m: m.graph.node.append(branch([], [outside("c")])),
    "branch of branch": lambda m: m.graph.node.append(branch([branch([], [outside("c")])], [])),
    "function": function,
    "training": training,
    "unknown field": unknown,
    "loop": lambda m: m.graph.node.append(helper.make_node("Loop", [], ["x"])),
    "loop in branch": lambda m: m.graph.node.append(branch([helper.make_node("Loop", [], ["x"])], [])),
    "scan": lambda m: m.graph.node.append(helper.make_node("Scan", [], ["x"])),
    "sequence map": lambda m: m.graph.node.append(helper.make_node("SequenceMap", [], ["x"])),
    "unknown operator": lambda m: m.graph.node.append(helper.make_node("Steal", [], ["x"])),
    "domain": domain,
    "domain without opset": lambda m: m.graph.node.append(helper.make_node("F", [], ["x"], domain="mine")),
    "old opset": lambda m: setattr(m.opset_import[0], "version", 7),
    "future opset": lambda m: setattr(m.opset_import[0], "version", 99),
    "opset twice": lambda m: m.opset_import.append(helper.make_opsetid("", 17)),
}


def rename(which: str) -> Spoil:
    return lambda m: setattr(getattr(m.graph, which)[0], "name", "other")


def dimension(which: str, axis: int, size: int) -> Spoil:
    return lambda m: setattr(getattr(m.graph, which)[0].type.tensor_type.shape.dim[axis], "dim_value", size)


BAD: dict[str, Spoil] = {
    "input name": rename("input"),
    "output name": rename("output"),
    "grey input": dimension("input", 1, 1),
    "fixed batch": dimension("input", 0, 1),
    "fixed size": dimension("input", 2, 512),
    "other classes": dimension("output", 1, 5),
    "half input": lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.FLOAT16),
    "no shape": lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"),
    "two inputs": lambda m: m.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])),
    "no outputs": lambda m: m.graph.output.pop() and None,
    "input is a weight": lambda m: m.graph.initializer.append(numpy_helper.from_array(np.zeros(1), "tiles")),
}


def spoiled(spoil: Spoil) -> bytes:
    model = onnx.load_from_string(color_net())
    spoil(model)
    return model.SerializeToString()


def test_a_good_net_passes():
    check_network(color_net(), classes=4)


@pytest.mark.parametrize("name", UNSAFE)
def test_what_reaches_outside_or_never_ends_is_unsafe(name):
    with pytest.raises(Invalid) as caught:
        check_network(spoiled(UNSAFE[name]), classes=4)
    assert caught.value.code == "unsafe_model"


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_net_from_tiles_to_logits_is_bad(name):
    with pytest.raises(Invalid) as caught:
        check_network(spoiled(BAD[name]), classes=4)
    assert caught.value.code == "bad_model"


@pytest.mark.parametrize("data", [b"", b"\x80\x02}q\x00.", b"PK\x03\x04" + b"\0" * 40, b"ORTM" * 20, color_net()[:-9]])
def test_other_files_are_refused(data):
    with pytest.raises(Invalid):
        check_network(data, classes=4)


def test_a_file_that_onnx_runtime_would_load_in_its_own_format_is_unsafe():
    """Four bytes decide for ONNX Runtime; this one is a net in both formats, and the gate would read the wrong one."""
    both = b"\x08\x08\x12\x04ORTM" + color_net()
    onnx.checker.check_model(both)
    with pytest.raises(Invalid) as caught:
        check_network(both, classes=4)
    assert caught.value.code == "unsafe_model"


def test_nothing_is_loaded_to_decide(monkeypatch):
    """The gate touches no runtime and no file."""
    monkeypatch.setattr("onnxruntime.InferenceSession", None)
    monkeypatch.setattr("builtins.open", None)
    check_network(color_net(), classes=4)
