"""One server for both services of the api."""

import threading

from services.access.calls import TokenInterceptor
from services.api.dependencies import State
from services.api.rpc.inference import InferenceDoor
from services.api.rpc.segmentation import SegmentationDoor
from services.api.rules import CALL_RULES
from services.rpc import RpcDoor, bind, describe, new_server
from services.wire.v1 import open_inference_pb2_grpc, segmentation_pb2_grpc

INFERENCE = "inference.GRPCInferenceService"
SEGMENTATION = "intima.v1.SegmentationService"
_CALLS_PER_WORKER = 4
"""Running and waiting: each may hold one message in memory."""


def create_server(state: State) -> RpcDoor:
    """Return a gRPC server with health and reflection, bound but not started.

    Raises:
        Conflict: an address that other machines reach, without TLS and without a trusted proxy in front.
        Invalid: the TLS files cannot be used.
        Unavailable: the port is taken.
    """
    settings = state.settings
    places = settings.grpc_workers // 2
    server = new_server(
        workers=settings.grpc_workers + places,
        max_message_bytes=settings.max_message_bytes,
        most_calls=_CALLS_PER_WORKER * settings.grpc_workers,
        interceptors=[TokenInterceptor(state.gate, CALL_RULES)],
    )
    tensors, slides = threading.BoundedSemaphore(places), threading.BoundedSemaphore(places)
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(InferenceDoor(state, tensors), server)
    segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(SegmentationDoor(state, slides), server)
    port = bind(
        server,
        settings.host,
        settings.grpc_port,
        setting="INTIMA_GRPC_PORT",
        tls=settings.grpc_tls,
        behind_proxy=settings.behind_proxy,
    )
    return RpcDoor(server, port, describe(server, INFERENCE, SEGMENTATION))
