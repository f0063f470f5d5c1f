"""Tensors of the Open Inference Protocol as both doors have them: what a request says, what an answer holds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from intima.errors import Invalid

DTYPES: dict[str, str] = {"FP32": "<f4", "UINT8": "|u1"}
"""Tensor types of the protocol that occur here, little-endian as the protocol wants."""
MOST_DIMENSIONS = 8

Values: TypeAlias = bytes | Sequence[object] | NDArray[np.float32]
"""Raw bytes, JSON (nested or flat), or values that are typed already."""
Parameter: TypeAlias = bool | int | float | str


@dataclass(frozen=True, slots=True)
class TensorIn:
    """An input of a request, not checked yet."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Values


@dataclass(frozen=True, slots=True)
class InferQuestion:
    """A request for inference, whichever door it came through."""

    model: str
    version: str
    """"" for the newest; digits or an alias else."""
    id: str
    inputs: tuple[TensorIn, ...]
    outputs: tuple[str, ...]
    """Names of the outputs wanted; empty for all."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TensorOut:
    """An output of an answer."""

    name: str
    datatype: str
    values: NDArray[np.float32] | NDArray[np.uint8]

    def raw(self) -> bytes:
        """Return the values row by row, little-endian."""
        return np.ascontiguousarray(self.values, dtype=DTYPES[self.datatype]).tobytes()


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """What a model answered."""

    model: str
    version: str
    id: str
    parameters: Mapping[str, Parameter]
    outputs: tuple[TensorOut, ...]


def to_float32(tensor: TensorIn, *, pointer: str) -> NDArray[np.float32]:
    """Return the values of an FP32 input in its shape.

    The size is compared with the shape before anything is copied; a shape that lies allocates nothing.

    Raises:
        Invalid: another number of values than the shape says, a ragged list, or something that is no number.
    """
    wanted = math.prod(tensor.shape)
    if isinstance(tensor.values, bytes):
        if len(tensor.values) != 4 * wanted:
            raise _size(f"Got {len(tensor.values)} bytes; shape {list(tensor.shape)} of FP32 needs {4 * wanted}.")
        return np.frombuffer(tensor.values, "<f4").reshape(tensor.shape)
    flat = tensor.values if isinstance(tensor.values, np.ndarray) else _flat(tensor, pointer)
    if len(flat) != wanted:
        raise _size(f"Got {len(flat)} values; shape {list(tensor.shape)} needs {wanted}.")
    return flat.reshape(tensor.shape)


def _size(message: str) -> Invalid:
    return Invalid(message, code="tensor_size", pointer="/inputs/0")


def _flat(tensor: TensorIn, pointer: str) -> NDArray[np.float32]:
    """Return JSON values in one row. Nested lists have the stated shape; numbers stay numbers."""
    assert not isinstance(tensor.values, bytes | np.ndarray)
    level: list[object] = list(tensor.values)
    sizes = [len(level)]
    while level and all(isinstance(part, list) for part in level):
        lengths = {len(part) for part in level}  # type: ignore[arg-type]
        sizes.append(lengths.pop())
        if lengths or len(sizes) > MOST_DIMENSIONS:
            raise Invalid("Got nested lists that are no array.", code="bad_tensor", pointer=f"{pointer}/data")
        level = list(chain.from_iterable(level))  # type: ignore[arg-type]
    if len(sizes) > 1 and tuple(sizes) != tensor.shape:
        raise _size(f"Got lists nested as {sizes}; the shape is {list(tensor.shape)}.")
    if not {type(value) for value in level} <= {int, float}:
        raise Invalid("Got values that are no numbers.", code="bad_tensor", pointer=f"{pointer}/data")
    return _narrowed(level, pointer)


def _narrowed(numbers: list[object], pointer: str) -> NDArray[np.float32]:
    try:
        wide = np.array(numbers, np.float64)
    except OverflowError as error:
        raise Invalid("Got a number beyond float64.", code="not_finite", pointer=f"{pointer}/data") from error
    if wide.size and not np.abs(wide).max() <= np.finfo(np.float32).max:
        raise Invalid("Got NaN, infinity or a number beyond FP32.", code="not_finite", pointer=f"{pointer}/data")
    return wide.astype(np.float32)
