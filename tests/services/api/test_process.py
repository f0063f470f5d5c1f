"""One process serves both doors of the api over one store, and stops when told."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from servers import free_port

from intima.store import ledger
from intima.store.storage import open_storage
from services.wire.v1 import open_inference_pb2 as pb
from services.wire.v1 import open_inference_pb2_grpc as pb_grpc
from services.wire.v1 import segmentation_pb2 as seg
from services.wire.v1 import segmentation_pb2_grpc as seg_grpc
from tests.builders import png

REPOSITORY = Path(__file__).resolve().parents[3]


def start(folder: Path, rest: int, rpc: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "INTIMA_DATA": str(folder / "data"),
        "INTIMA_PORT": str(rest),
        "INTIMA_GRPC_PORT": str(rpc),
        "PYTHONPATH": str(REPOSITORY),
    }
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "services.api"], env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            assert httpx.get(url, timeout=10).status_code == 200
            return
        except httpx.TransportError:
            assert process.poll() is None, "the service ended"
            assert time.monotonic() < deadline, "the service did not start"
            time.sleep(0.1)


def test_rest_and_grpc_in_one_process_give_the_same_tensors(tmp_path: Path) -> None:
    rest, rpc = free_port(), free_port()
    process = start(tmp_path, rest, rpc)
    try:
        wait_until_ready(f"http://127.0.0.1:{rest}/v2/health/ready", process)
        tiles = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
        tensor = {"name": "tiles", "datatype": "FP32", "shape": list(tiles.shape), "data": tiles.ravel().tolist()}
        url = f"http://127.0.0.1:{rest}/v2/models/phantom-unet/infer"
        answer = httpx.post(url, json={"inputs": [tensor], "outputs": [{"name": "logits"}]}, timeout=60)
        by_rest = np.array(answer.raise_for_status().json()["outputs"][0]["data"], np.float32)
        message = pb.ModelInferRequest(model_name="phantom-unet", raw_input_contents=[tiles.tobytes()])
        message.inputs.add(name="tiles", datatype="FP32", shape=tiles.shape)
        message.outputs.add(name="logits")
        with grpc.insecure_channel(f"127.0.0.1:{rpc}") as channel:
            found = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=60)
        assert found.raw_output_contents[0] == by_rest.tobytes()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_a_taken_port_ends_the_start(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        process = start(tmp_path, free_port(), holder.getsockname()[1])
        try:
            assert process.wait(90) != 0
        finally:
            process.kill()
            process.wait()
    assert "INTIMA_GRPC_PORT" in (tmp_path / "log").read_text()


def test_a_stop_gives_work_back_and_cancels_nothing(tmp_path: Path) -> None:
    rest, rpc = free_port(), free_port()
    process = start(tmp_path, rest, rpc)
    image = png(np.random.default_rng(0).integers(0, 255, (8000, 128, 3), np.uint8))

    def chunks() -> Iterator[seg.SegmentChunk]:
        sampling = seg.UncertaintySpec(sampler="ensemble", passes=4)
        yield seg.SegmentChunk(header=seg.SegmentHeader(name="a.png", mpp=1.5, uncertainty=sampling))
        yield from (seg.SegmentChunk(data=image[i : i + 2**20]) for i in range(0, len(image), 2**20))

    try:
        wait_until_ready(f"http://127.0.0.1:{rest}/readyz", process)
        with grpc.insecure_channel(f"127.0.0.1:{rpc}") as channel:
            call = seg_grpc.SegmentationServiceStub(channel).Segment(chunks(), timeout=120)
            progress = next(e.progress for e in call if e.progress.state == "running")
            process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.RpcError) as caught:
                list(call)
        assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    storage = open_storage(tmp_path / "data")
    with storage.reading() as connection:
        assert [u.state for u in ledger.read_units(connection, progress.job)] == ["ready"]
        assert ledger.read_job(connection, progress.job).state not in {"canceled", "failed", "succeeded"}
    storage.close()
