"""Bodies of inference requests against a generator of lies: an answer, or Invalid; never anything else."""

import json
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intima.errors import Invalid
from services.api.tensor_bodies import pack, read_body, unpack, write_body
from services.api.tensors import InferAnswer, TensorOut, to_float32

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("tiles") | json_values,
        "datatype": st.just("FP32") | json_values,
        "shape": st.lists(st.integers(-2, 4) | st.integers(), max_size=5) | json_values,
        "data": st.lists(st.floats(0, 1) | st.integers(-1, 2), max_size=9) | json_values,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-4, 40) | json_values})
        | json_values,
    },
)
bodies = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=2) | json_values},
    optional={"id": json_values, "parameters": json_values, "outputs": json_values},
)


@given(head=bodies, tail=st.binary(max_size=24), shift=st.integers(-3, 3) | st.none())
def test_no_body_is_a_defect(head: object, tail: bytes, shift: int | None) -> None:
    text = json.dumps(head).encode()
    stated = None if shift is None else str(len(text) + shift)
    with suppress(Invalid):
        read = read_body(text + tail, stated, model="m", version="")
        for tensor in read.question.inputs:
            values = to_float32(tensor, pointer="/inputs/0")
            assert values.shape == tensor.shape
            assert values.dtype == np.float32


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br", "", "GZIP"]))
def test_no_packed_body_is_a_defect(data: bytes, coding: str) -> None:
    with suppress(Invalid):
        assert len(unpack(data, coding, most_bytes=1000)) <= 1000


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "deflate", "gzip, deflate, br", "", "br", "gzip;q=0"]))
def test_what_is_packed_unpacks(data: bytes, accepted: str) -> None:
    packed, coding = pack(data, accepted)
    assert unpack(packed, coding, most_bytes=2000) == data
    assert coding in {"gzip", "deflate", ""}
    assert (coding == "") == (accepted in {"", "br", "gzip;q=0"})
    with pytest.raises(Invalid):
        unpack(zlib.compress(data + b"xy"), "deflate", most_bytes=len(data) + 1)


@given(st.lists(st.floats(0, 1, width=32), min_size=12, max_size=12))
def test_binary_and_json_values_are_the_same(values: list[float]) -> None:
    head = {"name": "tiles", "datatype": "FP32", "shape": [1, 3, 2, 2]}
    as_json = json.dumps({"inputs": [head | {"data": values}]}).encode()
    text = json.dumps({"inputs": [head | {"parameters": {"binary_data_size": 48}}]}).encode()
    found = [
        to_float32(read_body(body, stated, model="m", version="").question.inputs[0], pointer="")
        for body, stated in ((as_json, None), (text + struct.pack("<12f", *values), str(len(text))))
    ]
    np.testing.assert_array_equal(*found)
    assert found[0].ravel().tolist() == values


def test_large_answers_are_binary_only() -> None:
    values = np.zeros((1, 2, 2001, 1000), np.float32)
    answer = InferAnswer("m", "v", "", {}, (TensorOut("logits", "FP32", values),))
    body = b'{"inputs": [{"name": "tiles", "datatype": "FP32", "shape": [1], "data": [1]}]%s}'
    plain = read_body(body % b"", None, model="m", version="")
    with pytest.raises(Invalid, match="4002000 values"):
        write_body(answer, plain)
    binary = read_body(body % b', "parameters": {"binary_data_output": true}', None, model="m", version="")
    content, length = write_body(answer, binary)
    assert length is not None
    assert len(content) == length + values.nbytes
    assert json.loads(content[:length])["outputs"][0]["parameters"] == {"binary_data_size": values.nbytes}


def test_oversized_json_is_refused_before_it_is_parsed() -> None:
    body = b'{"inputs": [' + b" " * (32 * 2**20) + b"]}"
    with pytest.raises(Invalid, match="at most 33554432"):
        read_body(body, None, model="m", version="")
