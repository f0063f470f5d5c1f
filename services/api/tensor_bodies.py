"""Bodies of POST /v2/.../infer: JSON, alone or followed by raw tensors (the binary tensor data extension).

Nothing a body states is believed: lengths are compared with what arrived, and what is packed is unpacked up to a limit.
"""

import gzip
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from intima.arrays import Json
from intima.errors import Invalid
from services.api.tensors import MOST_DIMENSIONS, InferAnswer, InferQuestion, Parameter, TensorIn, TensorOut

HEADER_LENGTH = "Inference-Header-Content-Length"
MOST_JSON_BYTES = 32 * 2**20
"""Of a request; larger tensors go as binary data."""
MOST_JSON_VALUES = 4_000_000
"""Of an answer; more go as binary data."""
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_LARGEST_SIZE = 2**31
_DIGITS = re.compile(r"[0-9]{1,18}")
_FAST = 1


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Input(_Strict):
    name: str
    datatype: str
    shape: list[int] = Field(max_length=MOST_DIMENSIONS)
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class _Output(_Strict):
    name: str
    parameters: dict[str, Any] = {}


class _Body(_Strict):
    id: str = ""
    parameters: dict[str, bool | int | float | str] = {}
    inputs: list[_Input] = Field(min_length=1, max_length=16)
    outputs: list[_Output] = Field(default=[], max_length=16)


@dataclass(frozen=True, slots=True)
class ReadBody:
    """A request, and which of its outputs it wants as binary data."""

    question: InferQuestion
    binary: Mapping[str, bool]
    binary_by_default: bool


def unpack(data: bytes, encoding: str, *, most_bytes: int) -> bytes:
    """Return a body without its Content-Encoding.

    Raises:
        Invalid: an encoding other than gzip and deflate, a broken stream, or more than ``most_bytes`` unpacked.
    """
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return data
    if name not in _WINDOWS:
        raise Invalid(
            f"Got Content-Encoding {encoding[:50]!r}; gzip and deflate are read here.", code="unsupported_media_type"
        )
    stream = zlib.decompressobj(_WINDOWS[name])
    try:
        out = stream.decompress(data, most_bytes)
    except zlib.error as error:
        raise Invalid(f"The body is no {name} stream: {error}", code="bad_body") from error
    if stream.unconsumed_tail:
        raise Invalid(f"The body unpacks to more than {most_bytes} bytes.", code="too_large")
    if not stream.eof or stream.unused_data:
        raise Invalid(f"The {name} stream is cut off, or more follows it.", code="bad_body")
    return out


def pack(data: bytes, accepted: str) -> tuple[bytes, str]:
    """Return an answer's body in an encoding that the client accepts, and its name; "" where it stays as it is."""
    tokens = {part.partition(";")[0].strip().lower() for part in accepted.split(",") if ";q=0" not in part}
    if "gzip" in tokens:
        return gzip.compress(data, _FAST, mtime=0), "gzip"
    if "deflate" in tokens:
        return zlib.compress(data, _FAST), "deflate"
    return data, ""


def read_body(data: bytes, header_length: str | None, *, model: str, version: str) -> ReadBody:
    """Return the request that a body holds.

    Args:
        data: the body, unpacked.
        header_length: as the header states it; None where there is none and all of the body is JSON.
        model: from the path.
        version: from the path, or "".

    Raises:
        Invalid: broken JSON, a length that is not true, a tensor with both or neither of JSON and binary data.
    """
    cut = _header_bytes(data, header_length)
    body = _parse(data[:cut])
    raw = memoryview(data)[cut:]
    inputs = []
    for place, tensor in enumerate(body.inputs):
        size = _binary_size(tensor, place, present=header_length is not None, left=len(raw))
        values = (tensor.data or []) if size is None else bytes(raw[:size])
        raw = raw[size or 0 :]
        _check_sizes(tensor, place)
        inputs.append(TensorIn(tensor.name, tensor.datatype, tuple(tensor.shape), values))
    if len(raw):
        raise _bad(f"{len(raw)} bytes of binary data belong to no input.", "/inputs")
    question = InferQuestion(
        model=model,
        version=version,
        id=body.id,
        inputs=tuple(inputs),
        outputs=tuple(output.name for output in body.outputs),
        parameters=body.parameters,
    )
    default = _flag(body.parameters.get("binary_data_output", False), "/parameters/binary_data_output")
    return ReadBody(question=question, binary=_binary_outputs(body, default=default), binary_by_default=default)


def _header_bytes(data: bytes, stated: str | None) -> int:
    length = len(data) if stated is None else int(stated) if _DIGITS.fullmatch(stated) else -1
    if not 0 < length <= len(data):
        raise _bad(f"{HEADER_LENGTH} is {(stated or '0')[:50]!r}; the body has {len(data)} bytes.", "")
    if length > MOST_JSON_BYTES:
        raise Invalid(
            f"Got {length} bytes of JSON; at most {MOST_JSON_BYTES}.",
            code="too_large",
            hint="Send tensors as binary data.",
        )
    return length


def _parse(text: bytes) -> _Body:
    try:
        return _Body.model_validate(json.loads(text, parse_constant=_refuse_constant))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        pointer = "".join(f"/{part}" for part in first["loc"])
        raise _bad(f"{pointer or 'body'}: {first['msg']}", pointer) from error
    except (ValueError, RecursionError) as error:
        raise _bad(f"The JSON cannot be read: {str(error)[:200]}", "") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON; tensors hold finite numbers")


def _binary_size(tensor: _Input, place: int, *, present: bool, left: int) -> int | None:
    """Return how many bytes of binary data an input has; None where it has JSON data."""
    pointer = f"/inputs/{place}"
    unknown = sorted(set(tensor.parameters) - {"binary_data_size"})
    if unknown:
        raise _bad(f"Got the parameter {unknown[0][:100]!r}; inputs have binary_data_size only.", pointer)
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        if tensor.data is None:
            raise _bad("Got neither data nor binary_data_size.", pointer)
        return None
    if tensor.data is not None or not present:
        raise _bad(f"binary_data_size needs the header {HEADER_LENGTH}, and no data beside it.", pointer)
    if type(size) is not int or not 0 <= size <= left:
        raise _bad(f"binary_data_size is {str(size)[:50]}; {left} bytes of binary data are left.", pointer)
    return size


def _check_sizes(tensor: _Input, place: int) -> None:
    if not all(0 <= size < _LARGEST_SIZE for size in tensor.shape):
        raise _bad("Got a shape with a negative or an impossible size.", f"/inputs/{place}/shape")


def _binary_outputs(body: _Body, *, default: bool) -> dict[str, bool]:
    found = {}
    for place, output in enumerate(body.outputs):
        pointer = f"/outputs/{place}"
        unknown = sorted(set(output.parameters) - {"binary_data"})
        if unknown:
            raise _bad(f"Got the parameter {unknown[0][:100]!r}; outputs have binary_data only.", pointer)
        found[output.name] = _flag(output.parameters.get("binary_data", default), f"{pointer}/parameters/binary_data")
    return found


def _flag(value: Parameter, pointer: str) -> bool:
    if not isinstance(value, bool):
        raise _bad(f"Got {str(value)[:50]!r}; need true or false.", pointer)
    return value


def _bad(message: str, pointer: str) -> Invalid:
    """Return the refusal; half a surrogate pair from the client's JSON is written out."""
    text, place = (part.encode("utf-8", "backslashreplace").decode() for part in (message, pointer))
    return Invalid(text, code="bad_body", pointer=place)


def write_body(answer: InferAnswer, asked: ReadBody) -> tuple[bytes, int | None]:
    """Return the body of an answer, and the length of its JSON where binary data follows.

    Raises:
        Invalid: more values as JSON than an answer holds.
    """
    binary = {out.name: asked.binary.get(out.name, asked.binary_by_default) for out in answer.outputs}
    values = sum(out.values.size for out in answer.outputs if not binary[out.name])
    if values > MOST_JSON_VALUES:
        raise Invalid(
            f"The answer would hold {values} values as JSON; at most {MOST_JSON_VALUES}.",
            code="answer_too_large",
            hint="Ask for binary data: parameters.binary_data_output true, or binary_data of an output.",
            pointer="/outputs",
        )
    raw = [out.raw() for out in answer.outputs if binary[out.name]]
    sizes = iter(raw)
    outputs = [_described(out, next(sizes) if binary[out.name] else None) for out in answer.outputs]
    head: Json = {"model_name": answer.model, "model_version": answer.version}
    head |= {"id": answer.id} if answer.id else {}
    head |= {"parameters": dict(answer.parameters), "outputs": outputs}
    text = json.dumps(head, allow_nan=False, separators=(",", ":")).encode()
    return b"".join([text, *raw]), len(text) if raw else None


def _described(out: TensorOut, raw: bytes | None) -> Json:
    head: Json = {"name": out.name, "datatype": out.datatype, "shape": list(out.values.shape)}
    if raw is not None:
        return head | {"parameters": {"binary_data_size": len(raw)}}
    return head | {"data": np.ravel(out.values).tolist()}
