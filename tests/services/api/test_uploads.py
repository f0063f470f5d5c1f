"""Uploads to a real server: what is refused, when, and that nothing of it stays on disk or in memory."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from api_rpc import DEADLINE_S, rpc_server
from api_servers import http_server
from fastapi import FastAPI

from intima.store import blobs as blobs_module
from services.api.app import create_app
from services.api.dependencies import State
from services.api.settings import Settings
from services.api.turns import busy
from services.wire.v1 import segmentation_pb2 as pb
from services.wire.v1 import segmentation_pb2_grpc as pb_grpc
from tests.builders import COLORS, png, publish_color_model, rings

LIMIT = 3_000_000
SILENCE_S = 1.0
IMAGE = png(COLORS[rings()])
HEAD = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
BODY = HEAD + IMAGE + b"\r\n--edge--\r\n"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    settings = Settings(
        data=tmp_path_factory.mktemp("data"), port=59995, max_upload_bytes=LIMIT, silence_s=SILENCE_S, grpc_port=0
    )
    return create_app(settings)


@pytest.fixture(scope="module")
def host(app: FastAPI) -> Iterator[str]:
    with http_server(app) as found:
        publish_color_model(app.state.intima.storage, name="color-net", mpp=2.0)
        yield found


@pytest.fixture
def state(app: FastAPI, host: str) -> State:
    found: State = app.state.intima
    return found


@pytest.fixture(autouse=True)
def nothing_stays(state: State) -> Iterator[None]:
    yield
    deadline = time.monotonic() + 10
    while left := leftovers(state):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def leftovers(state: State) -> list[str]:
    return [p.name for p in (state.settings.data / "blobs" / "aside").glob("*")]


@contextmanager
def connected(host: str) -> Iterator[socket.socket]:
    name, port = host.split(":")
    with socket.create_connection((name, int(port)), timeout=30) as connection:
        yield connection


def request_head(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: multipart/form-data; boundary=edge", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def answer(connection: socket.socket) -> tuple[int, str]:
    """Return the status of the next answer and the code of its problem."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length"))
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1]), json.loads(body).get("code", "")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def test_a_body_in_chunks_of_any_size_is_the_same_slide(host: str, state: State) -> None:
    for sizes in ([1] * 400, [len(BODY)], [7, 100, 1, 65536]):
        with connected(host) as connection:
            connection.sendall(request_head("/v1/slides", "Transfer-Encoding: chunked"))
            start = 0
            for size in [*sizes, len(BODY)]:
                if piece := BODY[start : start + size]:
                    connection.sendall(chunk(piece))
                start += size
            connection.sendall(b"0\r\n\r\n")
            assert answer(connection)[0] == 201
    items = httpx.get(f"http://{host}/v1/slides").json()["items"]
    assert {i["sha256"] for i in items} == {hashlib.sha256(IMAGE).hexdigest()}
    assert state.storage.blobs.read(items[0]["sha256"]) == IMAGE


@pytest.mark.parametrize("sent", [0, 10, len(HEAD) + 5, len(BODY) - 1])
@pytest.mark.parametrize("path", ["/v1/slides", "/v1/segment", "/v1/datasets", "/v1/models"])
def test_a_client_that_leaves_in_the_middle_leaves_nothing(host: str, state: State, path: str, sent: int) -> None:
    before = httpx.get(f"http://{host}/v1/slides").json()
    with connected(host) as connection:
        connection.sendall(request_head(path, f"Content-Length: {len(BODY)}") + BODY[:sent])
        deadline = time.monotonic() + 10
        while not leftovers(state):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert httpx.get(f"http://{host}/v1/slides").json() == before


def test_a_client_that_says_no_more_is_left(host: str) -> None:
    with connected(host) as connection:
        connection.sendall(request_head("/v1/slides", f"Content-Length: {len(BODY)}") + BODY[:200])
        assert answer(connection) == (408, "request_timeout")


def test_a_client_that_drips_is_left_too(host: str) -> None:
    with connected(host) as connection:
        connection.sendall(request_head("/v1/slides", f"Content-Length: {len(BODY)}"))
        started = time.monotonic()
        for byte in BODY[:20]:
            connection.sendall(bytes([byte]))
            time.sleep(SILENCE_S / 10)
            if time.monotonic() - started > 1.2 * SILENCE_S:
                break
        assert answer(connection) == (408, "request_timeout")
    assert time.monotonic() - started < 4 * SILENCE_S


def test_too_much_is_refused_by_its_length_and_else_where_it_passes_the_limit(host: str) -> None:
    with connected(host) as connection:
        connection.sendall(request_head("/v1/slides", f"Content-Length: {LIMIT + 1}"))
        assert answer(connection) == (413, "too_large")
    with connected(host) as connection:
        connection.sendall(request_head("/v1/slides", "Transfer-Encoding: chunked") + chunk(HEAD))
        connection.sendall(chunk(bytes(LIMIT)))
        assert answer(connection) == (413, "too_large")


EXPECTING = ("Expect: 100-continue", f"Content-Length: {len(BODY)}")


def test_without_room_no_body_is_asked_for(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": len(BODY) + blobs_module.FLOOR_BYTES - 1})
    with monkeypatch.context() as patch:
        patch.setattr(blobs_module.shutil, "disk_usage", lambda _path: usage)
        for path in ("/v1/slides", "/v1/segment", "/v1/datasets", "/v1/models"):
            with connected(host) as connection:
                connection.sendall(request_head(path, *EXPECTING))
                assert answer(connection) == (507, "storage_full"), path


def test_room_that_goes_while_a_body_comes_ends_it(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(host) as connection, monkeypatch.context() as patch:
        connection.sendall(request_head("/v1/slides", "Transfer-Encoding: chunked") + chunk(HEAD))
        time.sleep(0.3)
        patch.setattr(blobs_module.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 0}))
        connection.sendall(chunk(bytes(2**21)) + chunk(bytes(2**18)))
        assert answer(connection) == (507, "storage_full")


def test_a_full_queue_asks_for_no_body(host: str, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise busy()

    for turns in (state.segment_turns, state.infer_turns):
        monkeypatch.setattr(turns, "refuse_full", full)
    for path in ("/v1/segment", "/v2/models/color-net/infer"):
        with connected(host) as connection:
            connection.sendall(request_head(path, *EXPECTING))
            status, code = answer(connection)
            assert (status, code) == (503, "" if path.startswith("/v2") else "busy")
    with connected(host) as connection:
        connection.sendall(request_head("/v1/slides", *EXPECTING))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 "), "uploads without a queue are asked for"
        connection.sendall(BODY)
        assert answer(connection)[0] == 201


@pytest.mark.parametrize(
    ("files", "form", "status", "pointer"),
    [
        (None, {"mpp": "1"}, 422, "/file"),
        ({"other": ("a.png", IMAGE)}, {}, 422, "/file"),
        ({"file": ("a.png", b"")}, {}, 422, "/file"),
        ({"file": ("a.png", IMAGE)}, {"mpp": "-1"}, 422, "/mpp"),
        ({"file": ("a.png", IMAGE)}, {"mpp": "nan"}, 422, "/mpp"),
        ({"file": ("a.png", IMAGE), "mpp": ("b", b"1")}, {}, 422, "/mpp"),
        ({"file": ("a.png", IMAGE)}, {"subject": "m" * 201}, 422, "/subject"),
        ({"file": ("a.png", IMAGE)}, {"deidentify": "perhaps"}, 422, "/deidentify"),
        ({"file": ("a.png", IMAGE)}, {"subject": ["a", "b"]}, 422, "/subject"),
        ([("file", ("a.png", IMAGE)), ("file", ("b.png", IMAGE))], {}, 422, "/file"),
        ({"file": ("a.png", b"not an image")}, {}, 422, ""),
    ],
)
def test_what_cannot_be_stored_is_said_by_name(
    host: str, files: object, form: dict[str, str], status: int, pointer: str
) -> None:
    before = httpx.get(f"http://{host}/v1/slides").json()
    found = httpx.post(f"http://{host}/v1/slides", files=files, data=form)  # type: ignore[arg-type]
    assert found.status_code == status, found.text
    assert found.headers["content-type"] == "application/problem+json"
    assert found.headers["x-request-id"] == found.json()["request_id"]
    assert pointer in [e["pointer"] for e in found.json()["errors"]] or not pointer
    assert httpx.get(f"http://{host}/v1/slides").json() == before


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "", "application/x-www-form-urlencoded"])
def test_another_content_type_has_no_file(host: str, content_type: str) -> None:
    found = httpx.post(f"http://{host}/v1/slides", content=b"file=x", headers={"content-type": content_type})
    assert (found.status_code, found.json()["errors"][0]["pointer"]) == (422, "/file")


def test_malformed_forms_are_bad_requests(host: str) -> None:
    for body in (BODY[:-9], b"x" + BODY, HEAD.replace(b'name="file"; ', b"") + BODY, b""):
        headers = {"content-type": "multipart/form-data; boundary=edge"}
        found = httpx.post(f"http://{host}/v1/slides", content=body, headers=headers)
        assert (found.status_code, found.json()["code"]) == (400, "bad_request"), body[:99]


def test_many_uploads_at_once_are_each_their_own(host: str, state: State) -> None:
    def send(number: int) -> tuple[str, str]:
        image = COLORS[rings()]
        image[0, 0] = (number, 1, 2)
        data = png(image)
        found = httpx.post(f"http://{host}/v1/slides", files={"file": (f"{number}.png", data)}, timeout=60)
        assert found.status_code == 201, found.text
        return found.json()["sha256"], hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, range(40)))
    assert all(stored == sent for stored, sent in answers)
    assert len({stored for stored, _ in answers}) == 40


def test_a_stream_over_grpc_is_refused_where_the_store_is_full(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 0})
    messages = [pb.SegmentChunk(header=pb.SegmentHeader(name="a.png")), pb.SegmentChunk(data=IMAGE)]
    with rpc_server(state) as rpc, grpc.insecure_channel(rpc) as channel, monkeypatch.context() as patch:
        patch.setattr(blobs_module.shutil, "disk_usage", lambda _path: usage)
        with pytest.raises(grpc.RpcError) as caught:
            list(pb_grpc.SegmentationServiceStub(channel).Segment(iter(messages), timeout=DEADLINE_S))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "must stay free" in caught.value.details()


def resident_peak_bytes(pid: int) -> int:
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to count memory")
def test_the_server_holds_no_upload_in_memory(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings = {"INTIMA_DATA": str(tmp_path), "INTIMA_PORT": str(port), "INTIMA_MAX_UPLOAD_BYTES": str(2**30)}
    process = subprocess.Popen([sys.executable, "-m", "services.api"], env=os.environ | settings)
    try:
        url = f"http://127.0.0.1:{port}/v1/slides"
        deadline = time.monotonic() + 60
        while True:
            try:
                assert httpx.post(url, files={"file": ("a.png", IMAGE)}, timeout=60).status_code == 201
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        before = resident_peak_bytes(process.pid)
        noise = os.urandom(2**20)
        with (tmp_path / "large").open("wb+") as file:
            for _ in range(200):
                file.write(noise)
            file.seek(0)
            found = httpx.post(url, files={"file": ("large", file)}, timeout=120)
        assert (found.status_code, found.json()["code"]) == (422, "unknown_format")
        assert resident_peak_bytes(process.pid) - before < 16 * 2**20
        assert list((tmp_path / "blobs" / "aside").glob("*")) == []
    finally:
        process.terminate()
        process.wait(30)


def test_a_client_that_is_slow_but_steady_is_served(host: str) -> None:
    image = png(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    body = HEAD + image + b"\r\n--edge--\r\n"
    piece = len(body) // 8 + 1
    assert piece > 1024
    with connected(host) as connection:
        connection.sendall(request_head("/v1/slides", f"Content-Length: {len(body)}"))
        for start in range(0, len(body), piece):
            connection.sendall(body[start : start + piece])
            time.sleep(SILENCE_S / 4)
        assert answer(connection)[0] == 201
