"""The Open Inference Protocol over gRPC: the public tritonclient against a real server, and hostile messages."""

import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import grpc
import numpy as np
import pytest
import triton_session
from api_rpc import DEADLINE_S, refused, rpc_server
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intima.inference import load_model
from intima.registry import DEFAULT_MODEL, resolve
from services.api.dependencies import State, open_state
from services.api.rpc.server import INFERENCE, SEGMENTATION
from services.api.settings import Settings
from services.wire.v1 import open_inference_pb2 as pb
from services.wire.v1 import open_inference_pb2_grpc as pb_grpc
from services.wire.v1 import segmentation_pb2, segmentation_pb2_grpc
from tests.builders import publish_color_model

RANDOM = np.random.default_rng(11)
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    found = open_state(Settings(data=tmp_path_factory.mktemp("data"), max_request_work_px=1_000_000))
    yield found
    found.close()


@pytest.fixture(scope="module")
def model(state: State) -> str:
    return publish_color_model(state.storage, name="color-net", mpp=2.0, members=3, precisions=("fp32", "fp16"))


@pytest.fixture(scope="module")
def address(state: State, model: str) -> Iterator[str]:
    with rpc_server(state) as found:
        yield found


@pytest.fixture(scope="module")
def channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as found:
        yield found


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> pb_grpc.GRPCInferenceServiceStub:
    return pb_grpc.GRPCInferenceServiceStub(channel)


@pytest.fixture(scope="module")
def user() -> Iterator[ProcessPoolExecutor]:
    """A process with the public client in it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as found:
        yield found


def random_tiles(*shape: int) -> np.ndarray:
    return RANDOM.random(shape, np.float32)


def test_the_public_client_finds_its_way(user: ProcessPoolExecutor, address: str, state: State, model: str) -> None:
    version = model.partition("@")[2]
    found = user.submit(triton_session.about, address, "color-net", version).result(60)
    assert (found["live"], found["ready"], found["model_ready"], found["nobody_ready"]) == (True, True, True, False)
    assert found["server"]["name"] == "intima"
    assert found["model"]["versions"] == [version]
    assert found["model"]["inputs"] == [{"name": "tiles", "datatype": "FP32", "shape": ["-1", "3", "-1", "-1"]}]
    assert [(o["name"], o["datatype"]) for o in found["model"]["outputs"]] == [
        ("logits", "FP32"),
        ("probabilities", "FP32"),
        ("mask", "UINT8"),
        ("member_logits", "FP32"),
    ]
    assert {f"{m['name']}@{m['version']}" for m in found["index"]} == {
        model,
        resolve(state.storage, DEFAULT_MODEL).ref,
    }


@pytest.mark.parametrize(
    ("name", "ref"),
    [("color-net", "color-net"), ("phantom-unet", DEFAULT_MODEL), ("phantom-unet@shipped", DEFAULT_MODEL)],
)
def test_the_public_client_gets_what_the_networks_say(
    user: ProcessPoolExecutor, address: str, state: State, name: str, ref: str
) -> None:
    tiles = random_tiles(2, 3, 64, 96)
    found, head = user.submit(triton_session.infer, address, name, tiles, request_id="7").result(60)
    nets = load_model(state.storage, ref).nets
    np.testing.assert_array_equal(found["member_logits"], np.stack([n.predict(tiles) for n in nets], axis=1))
    np.testing.assert_array_equal(found["mask"], found["probabilities"].argmax(1))
    assert found["mask"].dtype == np.uint8
    assert head["id"] == "7"
    assert head["version"] == resolve(state.storage, ref).version
    some, head = user.submit(triton_session.infer, address, name, tiles, ("mask", "logits")).result(60)
    assert head["names"] == ["mask", "logits"]
    np.testing.assert_array_equal(some["logits"], found["logits"])


def test_precision_compression_and_errors(user: ProcessPoolExecutor, address: str, state: State, model: str) -> None:
    tiles = random_tiles(1, 3, 32, 32)
    more = {"parameters": {"precision": "fp16"}, "compression_algorithm": "gzip", "model_version": model[-12:]}
    found, _ = user.submit(triton_session.infer, address, "color-net", tiles, **more).result(60)
    nets = load_model(state.storage, model, precision="fp16").nets
    np.testing.assert_array_equal(found["member_logits"], np.stack([n.predict(tiles) for n in nets], axis=1))
    for name, batch, kwargs, status, word in (
        ("nobody", tiles, {}, "StatusCode.NOT_FOUND", "no model"),
        ("color-net", tiles, {"model_version": "0" * 12}, "StatusCode.NOT_FOUND", "no model"),
        ("color-net", tiles * 255, {}, "StatusCode.INVALID_ARGUMENT", "0..1"),
        ("color-net", tiles[..., :31], {}, "StatusCode.INVALID_ARGUMENT", "multiples of 32"),
        ("color-net", np.full_like(tiles, np.nan), {}, "StatusCode.INVALID_ARGUMENT", "NaN"),
        ("color-net", tiles, {"parameters": {"precision": "int8"}}, "StatusCode.INVALID_ARGUMENT", "spoils"),
        ("color-net", tiles, {"parameters": {"speed": 7}}, "StatusCode.INVALID_ARGUMENT", "speed"),
        ("color-net", random_tiles(2, 3, 512, 512), {}, "StatusCode.INVALID_ARGUMENT", "1000000"),
    ):
        found_status, text = user.submit(triton_session.failure, address, name, batch, **kwargs).result(60)
        assert found_status == status
        assert word in text


def test_clients_at_once_get_the_same_bytes(user: ProcessPoolExecutor, address: str) -> None:
    batches = [random_tiles(2, 3, 64, 64) for _ in range(3)]
    answers = user.submit(triton_session.hammer, address, "phantom-unet", batches, 18).result(120)
    by_batch = [{content for n, content in answers if n == number} for number in range(3)]
    assert [len(contents) for contents in by_batch] == [1, 1, 1]


def test_a_stream_answers_in_order_and_survives_errors(
    user: ProcessPoolExecutor, address: str, state: State, model: str
) -> None:
    good = [random_tiles(1, 3, 32, 64) for _ in range(3)]
    batches = [good[0], good[1] * 2, good[1], good[2]]
    answers = user.submit(triton_session.stream, address, "color-net", batches).result(120)
    assert [kind for kind, _ in answers] == ["ok", "error", "ok", "ok"]
    assert "0..1" in str(answers[1][1])
    for (_, mask), tiles in zip([a for a in answers if a[0] == "ok"], good, strict=True):
        members = np.stack([n.predict(tiles) for n in load_model(state.storage, model).nets])
        np.testing.assert_array_equal(mask, members.mean(0).argmax(1))


def request(tiles: np.ndarray, *, typed: bool = False, **more: object) -> pb.ModelInferRequest:
    found = pb.ModelInferRequest(model_name="color-net", **more)  # type: ignore[arg-type]
    tensor = found.inputs.add(name="tiles", datatype="FP32", shape=tiles.shape)
    if typed:
        tensor.contents.fp32_contents.extend(tiles.ravel().tolist())
    else:
        found.raw_input_contents.append(tiles.tobytes())
    return found


def test_typed_and_raw_contents_are_the_same(stub: pb_grpc.GRPCInferenceServiceStub) -> None:
    tiles = random_tiles(1, 3, 32, 32)
    raw = stub.ModelInfer(request(tiles), timeout=DEADLINE_S)
    typed = stub.ModelInfer(request(tiles, typed=True), timeout=DEADLINE_S)
    assert raw == typed
    assert len(raw.raw_output_contents) == len(raw.outputs) == 4
    sizes = {o.name: (list(o.shape), len(c)) for o, c in zip(raw.outputs, raw.raw_output_contents, strict=True)}
    assert sizes["mask"] == ([1, 32, 32], 1024)
    assert sizes["member_logits"] == ([1, 3, 4, 32, 32], 4 * 3 * 4 * 1024)


def test_messages_that_lie_are_refused(stub: pb_grpc.GRPCInferenceServiceStub) -> None:
    tiles = random_tiles(1, 3, 32, 32)
    changes = {
        "too few bytes": lambda m: m.raw_input_contents.__setitem__(0, tiles.tobytes()[:-1]),
        "too many bytes": lambda m: m.raw_input_contents.__setitem__(0, tiles.tobytes() + b"x"),
        "two raw": lambda m: m.raw_input_contents.append(b""),
        "both": lambda m: m.inputs[0].contents.fp32_contents.extend([0.5]),
        "no input": lambda m: m.inputs.pop(),
        "another name": lambda m: setattr(m.inputs[0], "name", "image"),
        "another type": lambda m: setattr(m.inputs[0], "datatype", "UINT8"),
        "negative": lambda m: m.inputs[0].shape.__setitem__(0, -1),
        "two negatives": lambda m: m.inputs[0].shape.__setitem__(slice(None), [1, 3, -32, -32]),
        "overflow": lambda m: m.inputs[0].shape.__setitem__(slice(None), [2**62, 3, 2**62, 32]),
        "wraps to the size": lambda m: m.inputs[0].shape.__setitem__(slice(None), [2**32, 3, 2**32, 32]),
        "zero": lambda m: m.inputs[0].shape.__setitem__(0, 0),
        "rank": lambda m: m.inputs[0].shape.extend([1] * 20),
        "unknown output": lambda m: m.outputs.add(name="boxes"),
        "many outputs": lambda m: [m.outputs.add(name="mask") for _ in range(17)],
        "shared memory": lambda m: m.inputs[0].parameters["shared_memory_region"].__setattr__("string_param", "a"),
        "classification": lambda m: m.outputs.add(name="mask").parameters["classification"].SetInParent(),
        "no value": lambda m: m.parameters["precision"].SetInParent(),
        "long id": lambda m: setattr(m, "id", "x" * 257),
        "two versions": lambda m: [setattr(m, "model_name", "color-net@x"), setattr(m, "model_version", "y")],
    }
    for name, change in changes.items():
        message = request(tiles)
        change(message)
        status, text, problem = refused(stub.ModelInfer, message)
        assert status == INVALID, name
        assert text, name
        assert problem["request_id"].startswith("req_"), name
    ints = request(tiles, typed=True)
    ints.inputs[0].contents.int_contents.append(1)
    assert refused(stub.ModelInfer, ints)[0] == INVALID
    for bad in (np.nan, np.inf, -0.5):
        wrong = tiles.copy()
        wrong[0, 0, 0, 0] = bad
        assert refused(stub.ModelInfer, request(wrong, typed=True))[0] == INVALID
    assert stub.ModelInfer(request(tiles), timeout=DEADLINE_S).model_name == "color-net"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shape=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6),
    raw=st.lists(st.binary(max_size=64), max_size=3),
    name=st.text(max_size=8),
    datatype=st.sampled_from(["FP32", "UINT8", "", "BYTES"]),
    version=st.text(max_size=8),
)
def test_no_message_is_a_defect(
    stub: pb_grpc.GRPCInferenceServiceStub, shape: list[int], raw: list[bytes], name: str, datatype: str, version: str
) -> None:
    message = pb.ModelInferRequest(model_name="color-net", model_version=version, raw_input_contents=raw)
    message.inputs.add(name=name or "tiles", datatype=datatype, shape=shape)
    status, _, _ = refused(stub.ModelInfer, message)
    assert status in {INVALID, grpc.StatusCode.NOT_FOUND}


def test_garbage_and_oversize_are_refused(channel: grpc.Channel, state: State) -> None:
    call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
    assert refused(call, b"\xff\xfe garbage")[0] in {grpc.StatusCode.INTERNAL, INVALID}
    too_much = b"\x00" * (state.settings.max_message_bytes + 1)
    assert refused(call, too_much)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    packed = refused(call, too_much, compression=grpc.Compression.Gzip)
    assert packed[0] == grpc.StatusCode.RESOURCE_EXHAUSTED, "a few bytes that unpack to many"
    missing = channel.unary_unary(f"/{INFERENCE}/SystemSharedMemoryStatus")
    assert refused(missing, b"")[0] == grpc.StatusCode.UNIMPLEMENTED


def test_health_and_reflection(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", INFERENCE, SEGMENTATION):
        found = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=DEADLINE_S)
        assert found.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = reflection.ServerReflectionInfo(iter([asked]), timeout=DEADLINE_S)
    assert {INFERENCE, SEGMENTATION} <= {s.name for s in answer.list_services_response.service}


def test_streams_leave_room_for_short_calls(state: State, model: str) -> None:
    few = State(
        settings=state.settings.model_copy(update={"grpc_workers": 4}),
        storage=state.storage,
        models=state.models,
        send=state.send,
        gate=state.gate,
    )
    with rpc_server(few) as address, grpc.insecure_channel(address) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        release = threading.Event()

        def waiting() -> Iterator[pb.ModelInferRequest]:
            yield request(random_tiles(1, 3, 32, 32))
            release.wait(DEADLINE_S)

        opened = [stub.ModelStreamInfer(waiting(), timeout=DEADLINE_S) for _ in range(2)]
        for stream in opened:
            assert not next(stream).error_message
        status, _, problem = refused(lambda m, timeout: next(stub.ModelStreamInfer(m, timeout=timeout)), iter(()))
        assert (status, problem["code"]) == (grpc.StatusCode.UNAVAILABLE, "busy")
        assert stub.ServerLive(pb.ServerLiveRequest(), timeout=5).live
        release.set()
        assert [list(stream) for stream in opened] == [[], []]
        assert not list(stub.ModelStreamInfer(iter(()), timeout=DEADLINE_S))


def test_silent_streams_of_inference_end_and_leave_segmentations_their_places(state: State, model: str) -> None:
    few = State(
        settings=state.settings.model_copy(update={"grpc_workers": 4, "silence_s": 2.0}),
        storage=state.storage,
        models=state.models,
        send=state.send,
        gate=state.gate,
    )
    with rpc_server(few) as address, grpc.insecure_channel(address) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        segmentations = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        release = threading.Event()

        def silent() -> Iterator[pb.ModelInferRequest]:
            yield request(random_tiles(1, 3, 32, 32))
            release.wait(DEADLINE_S)

        started = time.monotonic()
        opened = [stub.ModelStreamInfer(silent(), timeout=DEADLINE_S) for _ in range(2)]
        for stream in opened:
            assert not next(stream).error_message
        missing = segmentation_pb2.SegmentationRef(id="seg_0")
        assert refused(segmentations.WatchSegmentation, missing)[0] == grpc.StatusCode.NOT_FOUND
        for stream in opened:
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - started < 20
        assert not list(stub.ModelStreamInfer(iter(()), timeout=DEADLINE_S)), "the places are free again"
        release.set()


def test_streams_of_segmentations_leave_room_for_short_calls(state: State) -> None:
    few = State(
        settings=state.settings.model_copy(update={"grpc_workers": 2}),
        storage=state.storage,
        models=state.models,
        send=state.send,
        gate=state.gate,
    )
    with rpc_server(few) as address, grpc.insecure_channel(address) as channel:
        release = threading.Event()

        def silent() -> Iterator[segmentation_pb2.SegmentChunk]:
            yield segmentation_pb2.SegmentChunk(header=segmentation_pb2.SegmentHeader(name="a.png"))
            release.wait(DEADLINE_S)

        def waiting() -> Iterator[pb.ModelInferRequest]:
            release.wait(DEADLINE_S)
            yield from ()

        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        segment = segmentation_pb2_grpc.SegmentationServiceStub(channel).Segment
        opened = [segment(silent(), timeout=DEADLINE_S), stub.ModelStreamInfer(waiting(), timeout=DEADLINE_S)]
        time.sleep(0.5)
        assert refused(segment, silent())[2]["code"] == "busy"
        assert stub.ServerLive(pb.ServerLiveRequest(), timeout=5).live
        release.set()
        for stream in opened:
            stream.cancel()


def test_more_calls_than_can_wait_are_refused_and_none_hangs(state: State, model: str) -> None:
    few = State(
        settings=state.settings.model_copy(update={"grpc_workers": 2}),
        storage=state.storage,
        models=state.models,
        send=state.send,
        gate=state.gate,
    )
    held = 0
    while few.slots.acquire(blocking=False):
        held += 1
    with rpc_server(few) as address, grpc.insecure_channel(address) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        message = request(random_tiles(1, 3, 32, 32))
        calls = [stub.ModelInfer.future(message, timeout=DEADLINE_S) for _ in range(20)]
        deadline = time.monotonic() + 20
        while sum(call.done() for call in calls) < 12:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for _ in range(held):
            few.slots.release()
        codes = [call.exception(DEADLINE_S) is None or call.code() for call in calls]
    assert set(codes) == {True, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes.count(True) == 8
