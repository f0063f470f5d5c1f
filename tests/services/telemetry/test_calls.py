"""gRPC calls: counted by method and status, with an id and the client's trace in what they are refused with."""

from pathlib import Path

import grpc
import pytest
from api_rpc import refused, rpc_server

from services.api.dependencies import open_state
from services.api.settings import Settings
from services.telemetry import doors
from services.wire.v1 import segmentation_pb2 as pb
from services.wire.v1 import segmentation_pb2_grpc as pb_grpc

METHOD = "/intima.v1.SegmentationService/GetSegmentation"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def calls(status: str, method: str = METHOD) -> float:
    return doors.REGISTRY.get_sample_value("intima_rpc_calls_total", {"method": method, "status": status}) or 0.0


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    state = open_state(Settings(data=tmp_path_factory.mktemp("data"), grpc_port=0))
    with rpc_server(state) as found:
        yield found
    state.close()


def test_a_refused_call_names_the_trace_and_is_counted(address: str, tmp_path: Path) -> None:
    before, flying = calls("NOT_FOUND"), doors.REGISTRY.get_sample_value("intima_rpc_calls_in_flight")
    with grpc.insecure_channel(address) as channel:
        stub = pb_grpc.SegmentationServiceStub(channel)
        metadata = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),)
        status, _, problem = refused(stub.GetSegmentation, pb.SegmentationRef(id="seg_nobody"), metadata=metadata)
    assert status is grpc.StatusCode.NOT_FOUND
    assert problem["trace_id"] == TRACE
    assert problem["request_id"].startswith("req_")
    assert calls("NOT_FOUND") - before == 1
    assert doors.REGISTRY.get_sample_value("intima_rpc_calls_in_flight") == flying


def test_unknown_methods_make_no_series(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/intima.v1.SegmentationService/Nothing")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    methods = {s.labels.get("method") for m in doors.REGISTRY.collect() for s in m.samples}
    assert not [m for m in methods if m and "Nothing" in m]


def test_streams_are_counted_once(address: str) -> None:
    method = "/intima.v1.SegmentationService/FetchArtefact"
    before = calls("NOT_FOUND", method)
    with grpc.insecure_channel(address) as channel:
        stub = pb_grpc.SegmentationServiceStub(channel)
        refused(stub.FetchArtefact, pb.ArtefactRef(segmentation="seg_nobody", name="mask.png"))
    assert calls("NOT_FOUND", method) - before == 1
