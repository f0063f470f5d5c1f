"""Tokens at the gRPC doors."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import pytest
from access_tokens import make_token
from api_rpc import refused, rpc_server
from fastapi.testclient import TestClient
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from intima.contracts.access import Limits
from intima.store import audit
from intima.store.storage import Storage
from services.access.calls import TokenInterceptor
from services.stats.rpc import create_server as create_stats_server
from services.wire.v1 import comparison_pb2, comparison_pb2_grpc, open_inference_pb2, open_inference_pb2_grpc
from services.wire.v1 import segmentation_pb2 as pb
from services.wire.v1 import segmentation_pb2_grpc as pb_grpc
from tests.builders import COLORS, png, rings


@pytest.fixture(scope="module")
def channel(api: TestClient) -> Iterator[grpc.Channel]:
    state = api.app.state.intima  # type: ignore[attr-defined]
    with rpc_server(state) as address, grpc.insecure_channel(address) as opened:
        yield opened


def metadata(token: str, **more: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}"), *((k.replace("_", "-"), v) for k, v in more.items())]


def chunks(data: bytes) -> Iterator[pb.SegmentChunk]:
    yield pb.SegmentChunk(header=pb.SegmentHeader(name="a.png", mpp=2.0))
    for first in range(0, len(data), 1000):
        yield pb.SegmentChunk(data=data[first : first + 1000])


def test_health_needs_no_token(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    assert (
        open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        .ServerLive(open_inference_pb2.ServerLiveRequest())
        .live
    )


def test_watches_of_health_hold_no_thread(api: TestClient) -> None:
    few = replace(api.app.state.intima, settings=api.app.state.intima.settings.model_copy(update={"grpc_workers": 2}))  # type: ignore[attr-defined]
    with rpc_server(few) as address, grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watches = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(6)]
        assert all(next(watch).status == health_pb2.HealthCheckResponse.SERVING for watch in watches)
        assert (
            health.Check(health_pb2.HealthCheckRequest(), timeout=20).status == health_pb2.HealthCheckResponse.SERVING
        )
        for watch in watches:
            watch.cancel()


def test_reflection_takes_a_token(channel: grpc.Channel, held: Mapping[str, str]) -> None:
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    assert refused(reflection.ServerReflectionInfo, iter([asked]))[0] == grpc.StatusCode.UNAUTHENTICATED
    (answer,) = reflection.ServerReflectionInfo(iter([asked]), metadata=metadata(held["read"]))
    assert answer.list_services_response.service


def test_calls_of_each_kind_need_a_token_of_their_scope(channel: grpc.Channel, held: Mapping[str, str]) -> None:
    stub = pb_grpc.SegmentationServiceStub(channel)
    missing = pb.SegmentationRef(id="seg_" + "0" * 32)
    calls: list[tuple[Any, Any, str]] = [
        (stub.GetSegmentation, lambda: missing, "read"),
        (stub.WatchSegmentation, lambda: missing, "read"),
        (stub.StartSegmentation, lambda: pb.StartSegmentationRequest(slide="x"), "segment"),
        (stub.Segment, lambda: chunks(b"x"), "segment"),
    ]
    for call, message, scope in calls:
        status, text, problem = refused(call, message())
        assert (status, problem["code"]) == (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"), text
        status, text, _ = refused(call, message(), metadata=metadata("intima_" + "0" * 64))
        assert status == grpc.StatusCode.UNAUTHENTICATED, text
        for name, token in held.items():
            status, text, _ = refused(call, message(), metadata=metadata(token))
            may = name == "admin" or scope in {"read", name}
            assert (status == grpc.StatusCode.PERMISSION_DENIED) != may, (scope, name, status, text)
            assert status != grpc.StatusCode.UNAUTHENTICATED


def test_what_is_started_by_a_call_is_written_down(
    channel: grpc.Channel, storage: Storage, held: Mapping[str, str]
) -> None:
    refused(pb_grpc.SegmentationServiceStub(channel).Segment, chunks(b"no"), metadata=metadata(held["segment"]))
    with storage.reading() as connection:
        last = audit.list_records(connection, after=0, limit=1000)[-1]
    assert (last.name, last.operation) == ("segment", "intima.v1.SegmentationService/Segment")


def test_bytes_of_a_stream_are_announced_and_held_to(channel: grpc.Channel, storage: Storage) -> None:
    token = make_token(storage, "segment", limits=Limits(upload_bytes_per_day=200_000))
    stub, data = pb_grpc.SegmentationServiceStub(channel), png(COLORS[rings()])
    assert 10_000 > len(data) > 1_000
    status, _, problem = refused(stub.Segment, chunks(data), metadata=metadata(token))
    assert (status, problem["code"]) == (grpc.StatusCode.INVALID_ARGUMENT, "length_required")
    status, _, problem = refused(stub.Segment, chunks(data), metadata=metadata(token, intima_bytes="1000"))
    assert (status, problem["code"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_large")
    for size in ("-1", "10" * 20, "9" * 5000, "x"):
        status, _, problem = refused(stub.Segment, chunks(data), metadata=metadata(token, intima_bytes=size))
        assert (status, problem["code"]) == (grpc.StatusCode.INVALID_ARGUMENT, "length_required")
    status, _, problem = refused(stub.Segment, chunks(data), metadata=metadata(token, intima_bytes="199500"))
    assert (status, problem["code"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "quota_exceeded")
    assert float(problem["retry_after_s"]) > 80_000


def test_the_stats_door_asks_too_and_more_under_a_plan(stats: TestClient, held: Mapping[str, str]) -> None:
    door = create_stats_server(stats.app.state.intima)  # type: ignore[attr-defined]
    door.server.start()
    with grpc.insecure_channel(f"127.0.0.1:{door.port}") as channel:
        stub = comparison_pb2_grpc.ComparisonStub(channel)
        side = comparison_pb2.Contender(scores=[0.8, 0.9, 0.85], subjects=["a", "b", "c"])
        margin = comparison_pb2.Margin(value=0.02)
        free = comparison_pb2.ComparisonRequest(a=side, b=side, margin=margin)
        assert refused(stub.Compare, free)[0] == grpc.StatusCode.UNAUTHENTICATED
        assert stub.Compare(free, metadata=metadata(held["read"])).verdict
        plan = comparison_pb2.PlanRequest(margin=margin)
        assert refused(stub.LockPlan, plan, metadata=metadata(held["read"]))[0] == grpc.StatusCode.PERMISSION_DENIED
        locked = stub.LockPlan(plan, metadata=metadata(held["train"]))
        under = comparison_pb2.ComparisonRequest(a=side, b=side, plan=locked.id)
        assert refused(stub.Compare, under, metadata=metadata(held["read"]))[0] == grpc.StatusCode.PERMISSION_DENIED
        assert stub.Compare(under, metadata=metadata(held["train"])).n_units == 3
    door.stop(None)


def test_a_method_in_no_rule_is_for_administrators(held: Mapping[str, str], api: TestClient) -> None:
    interceptor = TokenInterceptor(api.app.state.gate, {})  # type: ignore[attr-defined]
    server = grpc.server(ThreadPoolExecutor(2), interceptors=[interceptor])
    handler = grpc.unary_unary_rpc_method_handler(
        lambda request, _context: request,
        pb.SegmentationRef.FromString,
        pb.SegmentationRef.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("new.Service", {"Do": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        do = channel.unary_unary("/new.Service/Do", pb.SegmentationRef.SerializeToString, pb.SegmentationRef.FromString)
        message = pb.SegmentationRef(id="x")
        for scope in ("read", "segment", "train"):
            assert refused(do, message, metadata=metadata(held[scope]))[0] == grpc.StatusCode.PERMISSION_DENIED
        assert do(message, metadata=metadata(held["admin"])).id == "x"
    server.stop(None).wait()
