"""The Open Inference Protocol without its transports: metadata, readiness, inference on raw tiles."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from intima import __version__
from intima.contracts.model import ModelVersion, Precision
from intima.errors import IntimaError, Invalid
from intima.registry import DEFAULT_MODEL, member_files, resolve
from intima.shared_runs import always
from intima.store import models
from intima.tile_inference import (
    TileAnswer,
    infer_tiles,
    largest_tile_px,
    require_rgb,
    require_tile_shape,
)
from intima.tiling import SIDE_MULTIPLE
from services.api.dependencies import State
from services.api.tensors import InferAnswer, InferQuestion, Parameter, TensorIn, TensorOut, to_float32
from services.api.turns import busy

SERVER = "intima"
EXTENSIONS = ("binary_tensor_data", "model_repository", "parameters")
PLATFORM = "onnxruntime_onnx"
INPUT = "tiles"
OUTPUTS: dict[str, str] = {"logits": "FP32", "probabilities": "FP32", "mask": "UINT8", "member_logits": "FP32"}
"""Type of each output, by name, in the order of answers."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
HINTS_ONLY = frozenset({"priority", "timeout"})
"""Parameters about scheduling that Triton's clients may send; requests run in the order they get a slot."""
MOST_ANSWER_BYTES = 256 * 2**20
LONGEST_ID = 256
SLOT_WAIT_S = 30.0


class TensorMetadata(BaseModel):
    """A tensor of a model; -1 stands for a size that varies."""

    name: str
    datatype: str
    shape: list[int]


class ServerMetadata(BaseModel):
    """Who answers, and which extensions of the protocol it speaks."""

    name: str
    version: str
    extensions: list[str]


class ModelMetadata(BaseModel):
    """Inputs and outputs of a model, and in ``properties`` what a client must know to fill them."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    properties: dict[str, str]


class ModelIndex(BaseModel):
    """A version of a model in the registry."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


def server_metadata() -> ServerMetadata:
    """Return name, version and extensions."""
    return ServerMetadata(name=SERVER, version=__version__, extensions=list(EXTENSIONS))


def server_is_ready(state: State) -> bool:
    """Tell whether the default model loads."""
    try:
        state.models.get(resolve(state.storage, DEFAULT_MODEL).ref)
    except IntimaError:
        return False
    return True


def find_model(state: State, name: str, version: str) -> ModelVersion:
    """Return a model by name and version; a version may be an alias, and a name may hold it as ``name@version``.

    Raises:
        NotFound: there is none.
        Invalid: two versions at once.
    """
    if version and "@" in name:
        raise Invalid(f"Got {name[:200]!r} and version {version[:100]!r}; give the version once.", code="two_versions")
    return resolve(state.storage, f"{name}@{version}" if version else name)


def missing_files(state: State, model: ModelVersion) -> str:
    """Return why a model cannot run, or "" where its files are there."""
    missing = [m.sha256 for m in member_files(model.card, "fp32") if not state.storage.blobs.exists(m.sha256)]
    return f"The file {missing[0]} is gone." if missing else ""


def model_metadata(state: State, name: str, version: str) -> ModelMetadata:
    """Return inputs, outputs and limits of a model. Raises NotFound."""
    model = find_model(state, name, version)
    with state.storage.reading() as connection:
        versions = [m.version for m in models.list_models(connection) if m.name == model.name]
    classes, members = len(model.card.classes), len(model.card.members)
    shapes = {
        "logits": [-1, classes, -1, -1],
        "probabilities": [-1, classes, -1, -1],
        "mask": [-1, -1, -1],
        "member_logits": [-1, members, classes, -1, -1],
    }
    return ModelMetadata(
        name=model.name,
        versions=versions,
        platform=PLATFORM,
        inputs=[TensorMetadata(name=INPUT, datatype="FP32", shape=[-1, 3, -1, -1])],
        outputs=[TensorMetadata(name=n, datatype=t, shape=shapes[n]) for n, t in OUTPUTS.items()],
        properties=_properties(state, model),
    )


def _properties(state: State, model: ModelVersion) -> dict[str, str]:
    card = model.card
    return {
        "version": model.version,
        "aliases": ",".join(model.aliases),
        "classes": ",".join(c.name for c in card.classes),
        "members": str(len(card.members)),
        "precisions": ",".join(card.precisions),
        "mpp": "" if card.mpp is None else f"{card.mpp:g}",
        "tile_px": str(card.tile_px),
        "halo_px": str(card.halo_px),
        "input_range": "0..1",
        "side_multiple": str(SIDE_MULTIPLE),
        "largest_tile_px": str(largest_tile_px(card)),
        "largest_request_px": str(state.settings.max_request_work_px // len(card.members)),
        "synthetic": str(card.synthetic).lower(),
    }


def repository_index(state: State, *, ready_only: bool) -> list[ModelIndex]:
    """Return every version of every model, newest first."""
    with state.storage.reading() as connection:
        known = models.list_models(connection)
    reasons = [(m, missing_files(state, m)) for m in known]
    return [
        ModelIndex(name=m.name, version=m.version, state="UNAVAILABLE" if reason else "READY", reason=reason)
        for m, reason in reasons
        if not (ready_only and reason)
    ]


def infer(state: State, question: InferQuestion, *, stays: Callable[[], bool] = always) -> InferAnswer:
    """Run a model over the tiles of a request, as long as its caller ``stays``.

    Raises:
        NotFound: no such model.
        Invalid: tensors or parameters that cannot be used, or too much work for one request.
        Unavailable: the caller left.
    """
    model = find_model(state, question.model, question.version)
    precision = _precision(question.parameters)
    member_files(model.card, precision)
    wanted = _wanted(question.outputs)
    if len(question.id) > LONGEST_ID:
        raise Invalid(f"Got an id of {len(question.id)} characters; at most {LONGEST_ID}.", pointer="/id")
    tensor = _only_input(question.inputs)
    require_tile_shape(tensor.shape, card=model.card, most_work_px=state.settings.max_request_work_px)
    _require_small_answer(model, tensor.shape, wanted)
    tiles = to_float32(tensor, pointer="/inputs/0")
    require_rgb(tiles)
    ready = state.models.ready(model.ref, precision=precision)
    answer = infer_tiles(ready.model, tiles, shared=ready.shared, stays=stays)
    return InferAnswer(
        model=model.name,
        version=model.version,
        id=question.id,
        parameters={"precision": precision},
        outputs=tuple(_output(answer, name) for name in wanted),
    )


@contextmanager
def slot(state: State) -> Iterator[None]:
    """Hold one of the slots in which requests compute. Raises Unavailable where none becomes free in time."""
    if not state.slots.acquire(timeout=SLOT_WAIT_S):
        raise busy()
    try:
        yield
    finally:
        state.slots.release()


def _precision(parameters: Mapping[str, Parameter]) -> Precision:
    unknown = sorted(set(parameters) - {"precision", "binary_data_output"} - HINTS_ONLY)
    if unknown:
        raise Invalid(
            f"Got the parameter {unknown[0][:100]!r}, which nothing here understands.",
            code="unknown_parameter",
            hint="Known are precision and binary_data_output; priority and timeout are taken and change nothing.",
            pointer="/parameters",
        )
    asked = parameters.get("precision", "fp32")
    for precision in PRECISIONS:
        if asked == precision:
            return precision
    raise Invalid(
        f"Got precision {str(asked)[:50]!r}; need one of {', '.join(PRECISIONS)}.",
        code="bad_precision",
        pointer="/parameters/precision",
    )


def _wanted(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown or len(set(names)) != len(names):
        what = f"the output {unknown[0][:100]!r}" if unknown else "an output twice"
        raise Invalid(f"Got {what}; there are {', '.join(OUTPUTS)}.", code="bad_output", pointer="/outputs")
    return names or tuple(OUTPUTS)


def _only_input(inputs: tuple[TensorIn, ...]) -> TensorIn:
    if len(inputs) != 1 or inputs[0].name != INPUT:
        names = ", ".join(repr(t.name[:100]) for t in inputs[:5]) or "none"
        raise Invalid(f"Got the inputs {names}; need exactly one, {INPUT!r}.", code="bad_input", pointer="/inputs")
    if inputs[0].datatype != "FP32":
        raise Invalid(
            f"Got {INPUT} as {inputs[0].datatype[:20]!r}; need FP32.", code="bad_datatype", pointer="/inputs/0/datatype"
        )
    return inputs[0]


def _require_small_answer(model: ModelVersion, shape: tuple[int, ...], wanted: tuple[str, ...]) -> None:
    pixels, classes = shape[0] * shape[2] * shape[3], len(model.card.classes)
    values = {"mask": 1, "logits": 4 * classes, "probabilities": 4 * classes}
    values["member_logits"] = 4 * classes * len(model.card.members)
    size = sum(values[name] for name in wanted) * pixels
    if size > MOST_ANSWER_BYTES:
        raise Invalid(
            f"The answer would have {size} bytes; at most {MOST_ANSWER_BYTES}.",
            code="answer_too_large",
            hint="Ask for fewer outputs, or send fewer tiles at a time.",
            pointer="/outputs",
        )


def _output(answer: TileAnswer, name: str) -> TensorOut:
    values: dict[str, NDArray[np.float32] | NDArray[np.uint8]] = {
        "logits": answer.logits,
        "probabilities": answer.probabilities,
        "mask": answer.mask,
        "member_logits": answer.member_logits,
    }
    return TensorOut(name=name, datatype=OUTPUTS[name], values=values[name])
