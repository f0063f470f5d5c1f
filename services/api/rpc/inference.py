"""The Open Inference Protocol over gRPC: messages to what ``services.api.inferring`` understands, and back."""

import threading
from collections.abc import Iterator, Mapping

import grpc
import numpy as np

from intima.errors import IntimaError, Invalid, NotFound
from services.api.dependencies import State
from services.api.inferring import (
    find_model,
    infer,
    missing_files,
    model_metadata,
    repository_index,
    server_is_ready,
    server_metadata,
    slot,
)
from services.api.rpc.streams import incoming, one_stream
from services.api.tensors import MOST_DIMENSIONS, InferAnswer, InferQuestion, Parameter, TensorIn, Values
from services.rpc import refusals
from services.wire.v1 import open_inference_pb2 as pb
from services.wire.v1 import open_inference_pb2_grpc as pb_grpc

MOST_TENSORS = 16


class InferenceDoor(pb_grpc.GRPCInferenceServiceServicer):
    """Translate calls to use cases."""

    def __init__(self, state: State, streams: threading.BoundedSemaphore) -> None:
        self._state = state
        self._streams = streams

    def ServerLive(  # noqa: N802
        self, _request: pb.ServerLiveRequest, _context: grpc.ServicerContext
    ) -> pb.ServerLiveResponse:
        """GET /v2/health/live."""
        return pb.ServerLiveResponse(live=True)

    def ServerReady(  # noqa: N802
        self, _request: pb.ServerReadyRequest, _context: grpc.ServicerContext
    ) -> pb.ServerReadyResponse:
        """GET /v2/health/ready."""
        return pb.ServerReadyResponse(ready=server_is_ready(self._state))

    def ModelReady(  # noqa: N802
        self, request: pb.ModelReadyRequest, context: grpc.ServicerContext
    ) -> pb.ModelReadyResponse:
        """GET /v2/models/{name}/versions/{version}/ready."""
        with refusals(context):
            try:
                model = find_model(self._state, request.name, request.version)
            except NotFound:
                return pb.ModelReadyResponse(ready=False)
            return pb.ModelReadyResponse(ready=not missing_files(self._state, model))

    def ServerMetadata(  # noqa: N802
        self, _request: pb.ServerMetadataRequest, _context: grpc.ServicerContext
    ) -> pb.ServerMetadataResponse:
        """GET /v2."""
        return pb.ServerMetadataResponse(**server_metadata().model_dump())

    def ModelMetadata(  # noqa: N802
        self, request: pb.ModelMetadataRequest, context: grpc.ServicerContext
    ) -> pb.ModelMetadataResponse:
        """GET /v2/models/{name}/versions/{version}."""
        with refusals(context):
            found = model_metadata(self._state, request.name, request.version)
            return pb.ModelMetadataResponse(**found.model_dump())

    def RepositoryIndex(  # noqa: N802
        self, request: pb.RepositoryIndexRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryIndexResponse:
        """POST /v2/repository/index."""
        with refusals(context):
            found = repository_index(self._state, ready_only=request.ready)
            return pb.RepositoryIndexResponse(
                models=[pb.RepositoryIndexResponse.ModelIndex(**m.model_dump()) for m in found]
            )

    def ModelInfer(  # noqa: N802
        self, request: pb.ModelInferRequest, context: grpc.ServicerContext
    ) -> pb.ModelInferResponse:
        """POST /v2/models/{name}/versions/{version}/infer."""
        with refusals(context):
            return self._infer(request, context)

    def ModelStreamInfer(  # noqa: N802
        self, request_iterator: Iterator[pb.ModelInferRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.ModelStreamInferResponse]:
        """Answer one request after another; an error is the answer of its request."""
        with refusals(context), one_stream(self._streams):
            for request in incoming(request_iterator, silence_s=self._state.settings.silence_s):
                try:
                    answer = pb.ModelStreamInferResponse(infer_response=self._infer(request, context))
                except IntimaError as error:
                    failed = pb.ModelInferResponse(id=request.id[:256])
                    text = f"{error.message} {error.hint}".strip()
                    answer = pb.ModelStreamInferResponse(error_message=text, infer_response=failed)
                yield answer

    def _infer(self, request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:
        with slot(self._state):
            return _response(infer(self._state, _question(request), stays=context.is_active))


def _question(request: pb.ModelInferRequest) -> InferQuestion:
    if len(request.inputs) > MOST_TENSORS or len(request.outputs) > MOST_TENSORS:
        raise Invalid(f"Got {len(request.inputs)} inputs; at most {MOST_TENSORS}.", code="bad_input", pointer="/inputs")
    for place, output in enumerate(request.outputs):
        _refuse_parameters(output.parameters, f"/outputs/{place}")
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Invalid(
            f"Got {len(raw)} raw_input_contents for {len(request.inputs)} inputs.",
            code="tensor_size",
            pointer="/raw_input_contents",
        )
    return InferQuestion(
        model=request.model_name,
        version=request.model_version,
        id=request.id,
        inputs=tuple(_tensor(t, raw[i] if raw else None, f"/inputs/{i}") for i, t in enumerate(request.inputs)),
        outputs=tuple(output.name for output in request.outputs),
        parameters={name: _value(p, name) for name, p in request.parameters.items()},
    )


def _tensor(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None, pointer: str) -> TensorIn:
    _refuse_parameters(tensor.parameters, pointer)
    if len(tensor.shape) > MOST_DIMENSIONS or any(size < 0 for size in tensor.shape):
        raise Invalid("Got a shape with a negative size, or too many.", code="bad_shape", pointer=f"{pointer}/shape")
    values: Values = _typed(tensor, pointer) if raw is None else raw
    if raw is not None and tensor.HasField("contents"):
        raise Invalid("Got contents beside raw_input_contents.", code="bad_tensor", pointer=f"{pointer}/contents")
    return TensorIn(tensor.name, tensor.datatype, tuple(tensor.shape), values)


def _typed(tensor: pb.ModelInferRequest.InferInputTensor, pointer: str) -> Values:
    others = [field.name for field, _ in tensor.contents.ListFields() if field.name != "fp32_contents"]
    if others:
        raise Invalid(
            f"Got {others[0]}; FP32 has fp32_contents.", code="bad_datatype", pointer=f"{pointer}/contents/{others[0]}"
        )
    return np.array(tensor.contents.fp32_contents, np.float32)


def _refuse_parameters(parameters: Mapping[str, pb.InferParameter], pointer: str) -> None:
    if parameters:
        name = sorted(parameters)[0]
        raise Invalid(
            f"Got the parameter {name[:100]!r} of a tensor; there is none over gRPC.",
            code="unknown_parameter",
            pointer=f"{pointer}/parameters",
        )


def _value(parameter: pb.InferParameter, name: str) -> Parameter:
    kind = parameter.WhichOneof("parameter_choice")
    if kind is None:
        raise Invalid(f"The parameter {name[:100]!r} has no value.", code="bad_parameter", pointer="/parameters")
    value: Parameter = getattr(parameter, kind)
    return value


def _response(answer: InferAnswer) -> pb.ModelInferResponse:
    return pb.ModelInferResponse(
        model_name=answer.model,
        model_version=answer.version,
        id=answer.id,
        parameters={name: pb.InferParameter(string_param=str(value)) for name, value in answer.parameters.items()},
        outputs=[
            pb.ModelInferResponse.InferOutputTensor(name=o.name, datatype=o.datatype, shape=o.values.shape)
            for o in answer.outputs
        ],
        raw_output_contents=[out.raw() for out in answer.outputs],
    )
