"""What an ONNX file from outside may hold, decided before any runtime sees it.

ONNX Runtime reads files of the working directory for tensors with external data even when it loads from bytes, and
runs an endless ``Loop`` for ever. So the whole message tree is walked: every tensor wherever it hides (initialisers,
attributes, sparse tensors, subgraphs), every node, and fields this version of ``onnx`` does not know.
"""

from collections.abc import Iterator

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, TrainingInfoProto, ValueInfoProto, defs

from intima.errors import Invalid

INPUT, OUTPUT = "tiles", "logits"
OPSETS = range(11, 26)
"""Versions of the standard operators that may be asked for."""
_STANDARD = {"", "ai.onnx"}
_ORT_MARK = b"ORTM"
"""Bytes 4 to 8 of a flatbuffer of ONNX Runtime. A file can be that and an ONNX message at once."""
_REFUSED = {
    "Loop",
    "Scan",
    "SequenceMap",
    "ImageDecoder",
    "RegexFullMatch",
    "StringConcat",
    "StringNormalizer",
    "StringSplit",
    "TfIdfVectorizer",
}
"""Operators without a bound on their time, and those no segmentation net has a use for."""


def check_network(data: bytes, *, classes: int) -> None:
    """Refuse a file that is no self-contained net from tiles to logits, without running anything of it.

    Raises:
        Invalid: "unsafe_model" for what could reach outside or run without end, "bad_model" for what is no such net.
    """
    model = _parse(data)
    _check_opsets(model)
    for message in _messages(model):
        _check_message(message)
    _check_ends(model, classes=classes)


def _parse(data: bytes) -> ModelProto:
    if data[4:8] == _ORT_MARK:
        raise _unsafe("the mark of ONNX Runtime's own format, which no check here reads")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise Invalid("The file is not ONNX: it cannot be parsed.", code="bad_model") from error
    return model


def _messages(message: Message) -> Iterator[Message]:
    """Yield a message and all messages inside it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in (value,) if isinstance(value, Message) else value:
                yield from _messages(inner)


def _check_message(message: Message) -> None:
    if len(UnknownFieldSet(message)):
        raise _unsafe(f"fields in {type(message).__name__} that this version of ONNX does not know")
    if isinstance(message, FunctionProto | TrainingInfoProto):
        raise _unsafe(f"a {type(message).__name__}")
    if isinstance(message, TensorProto):
        _check_tensor(message)
    if isinstance(message, NodeProto):
        _check_node(message)


def _check_tensor(tensor: TensorProto) -> None:
    if tensor.data_location != TensorProto.DEFAULT or len(tensor.external_data):
        raise _unsafe(f"tensor {tensor.name[:80]!r} with data outside the file")


def _check_node(node: NodeProto) -> None:
    if node.domain not in _STANDARD:
        raise _unsafe(f"operator {node.op_type[:80]!r} of domain {node.domain[:80]!r}")
    if node.op_type in _REFUSED or not defs.has(node.op_type):
        raise _unsafe(f"operator {node.op_type[:80]!r}")


def _check_opsets(model: ModelProto) -> None:
    found = [(o.domain, o.version) for o in model.opset_import]
    if len(found) != 1 or found[0][0] not in _STANDARD or found[0][1] not in OPSETS:
        raise _unsafe(f"opsets {found[:5]}", need=f"the standard one, {OPSETS.start} to {OPSETS.stop - 1}")


def _check_ends(model: ModelProto, *, classes: int) -> None:
    """Check names, type and shape of input and output."""
    weights = {t.name for t in model.graph.initializer} | {t.values.name for t in model.graph.sparse_initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    for ends, name, channels in ((inputs, INPUT, {3}), (model.graph.output, OUTPUT, {0, classes})):
        if [e.name for e in ends] != [name]:
            raise _bad(f"{[e.name[:40] for e in ends][:5]}", f"one tensor named {name!r}")
        shape = _shape(ends[0])
        if ends[0].type.tensor_type.elem_type != TensorProto.FLOAT or shape is None or len(shape) != 4:
            raise _bad(f"{name!r} of shape {shape}", "float32 with four axes")
        if shape[1] not in channels or any(shape[axis] for axis in (0, 2, 3)):
            raise _bad(f"{name!r} of shape {shape}", f"free batch, height and width and {max(channels)} channels")


def _shape(end: ValueInfoProto) -> list[int] | None:
    """Return the shape with 0 for free axes; None where the file states none."""
    kind = end.type.tensor_type
    return [d.dim_value for d in kind.shape.dim] if kind.HasField("shape") else None


def _unsafe(found: str, *, need: str = "a self-contained net of standard operators") -> Invalid:
    return Invalid(f"The network has {found}; need {need}.", code="unsafe_model", pointer="/file")


def _bad(found: str, need: str) -> Invalid:
    return Invalid(f"The network has {found}; need {need}.", code="bad_model", pointer="/file")
