"""tus against a real server: the protocol, hostile clients, and a server that is killed in the middle."""

import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from access_tokens import bearer, make_token
from api_servers import http_server
from fastapi import FastAPI
from tus_client import PIECE, TusClient, metadata

from intima.contracts.access import Limits
from intima.store import audit, resumable
from services.api.app import create_app
from services.api.dependencies import State
from services.api.settings import Settings
from tests.builders import png

LIMIT = 4_000_000
SILENCE_S = 1.0
IMAGE = png(np.random.default_rng(7).integers(0, 255, (500, 700, 3), dtype=np.uint8))
SHA256 = hashlib.sha256(IMAGE).hexdigest()
ADMIN = "first-token-of-the-laboratory-0123456789"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    folder = tmp_path_factory.mktemp("data")
    settings = Settings(
        data=folder, port=59994, max_upload_bytes=300_000, max_resumable_bytes=LIMIT, silence_s=SILENCE_S
    )
    return create_app(settings)


@pytest.fixture(scope="module")
def host(app: FastAPI) -> Iterator[str]:
    with http_server(app) as found:
        yield found


@pytest.fixture
def state(app: FastAPI, host: str) -> State:
    found: State = app.state.intima
    return found


@pytest.fixture
def tus(host: str) -> TusClient:
    return TusClient(f"http://{host}")


def sum_of(data: bytes, algorithm: str = "sha1") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_server_says_what_it_can(host: str) -> None:
    answer = httpx.request("OPTIONS", f"http://{host}/v1/uploads")
    assert answer.status_code == 204
    said = {name: answer.headers[name] for name in ("tus-version", "tus-max-size", "tus-checksum-algorithm")}
    assert said == {"tus-version": "1.0.0", "tus-max-size": str(LIMIT), "tus-checksum-algorithm": "sha1,sha256"}
    assert set(answer.headers["tus-extension"].split(",")) == {"creation", "checksum", "expiration", "termination"}


def test_a_file_in_pieces_is_the_same_slide(tus: TusClient, state: State) -> None:
    assert len(IMAGE) > 300_000, "larger than one request may be"
    answer = tus.create(len(IMAGE), filename="a/b\\Präparat 7.png", mpp="0.5", subject="M1", sha256=SHA256)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "0")
    path = answer.headers["location"]
    assert re.fullmatch(r"/v1/uploads/upl_[0-9a-f]{32}", path)
    done = 0
    for size in (1, 70_000, 0, 400_000, len(IMAGE)):
        piece = IMAGE[done : done + size]
        answer = tus.patch(path, done, piece)
        done += len(piece)
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(done)), answer.text
        assert answer.headers["tus-resumable"] == "1.0.0"
        assert tus.offset(path) == done
    found = tus.ask("HEAD", path).headers
    assert (found["upload-length"], found["cache-control"]) == (str(len(IMAGE)), "no-store")
    assert "filename " in found["upload-metadata"]
    made = tus.slide(path)
    assert made.status_code == 201, made.text
    slide = made.json()
    assert (slide["name"], slide["sha256"], slide["mpp"], slide["mpp_from"]) == ("Präparat 7.png", SHA256, 0.5, "you")
    assert slide["subject"] == "M1"
    assert made.headers["location"] == f"/v1/slides/{slide['id']}"
    assert state.storage.blobs.read(SHA256) == IMAGE
    upload_id = path.rpartition("/")[2]
    assert not (state.storage.uploads.folder / upload_id).exists(), "its bytes are the blob's now"
    again = tus.slide(path)
    assert (again.status_code, again.json()) == (200, slide)
    assert code_of(tus.slide(path, mpp=0.25)) == (409, "already_stored")
    assert tus.offset(path) == len(IMAGE)
    assert code_of(tus.patch(path, len(IMAGE), b"")) == (409, "upload_complete")
    assert tus.ask("DELETE", path).status_code == 204
    assert httpx.get(f"{tus.base}/v1/slides/{slide['id']}").json() == slide


@pytest.mark.parametrize("length", ["", "-1", "1.5", "x", "1e3", "٣", "9" * 30, "0x10"])
def test_a_length_that_is_none_is_a_bad_request(host: str, length: str) -> None:
    head = {"Tus-Resumable": "1.0.0", "Upload-Length": length.encode()} if length else {"Tus-Resumable": "1.0.0"}
    answer = httpx.post(f"http://{host}/v1/uploads", headers=head)  # type: ignore[arg-type]
    assert code_of(answer) == (400, "bad_upload")


def test_what_cannot_be_a_slide_is_refused_before_its_bytes(tus: TusClient) -> None:
    assert code_of(tus.create(LIMIT + 1)) == (413, "too_large")
    assert code_of(tus.create(0)) == (422, "empty_file")
    for pairs, pointer in (
        ({"mpp": "-1"}, "/mpp"),
        ({"mpp": "nan"}, "/mpp"),
        ({"mpp": "half"}, "/mpp"),
        ({"subject": "m" * 201}, "/subject"),
        ({"deidentify": "perhaps"}, "/deidentify"),
        ({"sha256": "00"}, "/sha256"),
    ):
        answer = tus.create(5, **pairs)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), pairs
        assert answer.headers["tus-resumable"] == "1.0.0"
    for header in (
        "filename !!!",
        "filename YQ,filename YQ==",
        "filename /w==",
        "a" * 9000,
    ):
        answer = tus.ask("POST", "/v1/uploads", Upload_Length="5", Upload_Metadata=header)
        assert code_of(answer) == (400, "bad_upload"), header[:50]


def test_another_version_is_refused_on_every_verb(tus: TusClient) -> None:
    path = tus.begin(5)
    for method, where in (("POST", "/v1/uploads"), ("HEAD", path), ("PATCH", path), ("DELETE", path)):
        for version in ("0.2.2", "", "1.0"):
            answer = tus.ask(method, where, Tus_Resumable=version)
            assert answer.status_code == 412, (method, version)
            assert answer.headers["tus-resumable"] == "1.0.0"
    assert tus.offset(path) == 0


def test_a_piece_that_does_not_fit_changes_nothing(tus: TusClient) -> None:
    path = tus.begin(10)
    assert tus.patch(path, 0, b"01234").status_code == 204
    for offset in (0, 4, 6, 10, 11):
        assert code_of(tus.patch(path, offset, b"x")) == (409, "wrong_offset"), offset
    assert code_of(tus.patch(path, 5, b"x" * 6)) == (413, "too_large")
    assert code_of(tus.patch(path, 5, b"56789", Content_Type="text/plain")) == (415, "unsupported_media_type")
    assert code_of(tus.patch(path, -5, b"56789")) == (400, "bad_upload")
    assert tus.offset(path) == 5
    assert code_of(tus.slide(path)) == (409, "upload_incomplete")


def chunked(host: str, path: str, *pieces: bytes, offset: int, end: bool) -> int:
    """Send a body in chunks by hand; return the status, or 0 where the client left before there was one."""
    name, port = host.split(":")
    lines = [f"PATCH {path} HTTP/1.1", "Host: x", "Tus-Resumable: 1.0.0", f"Upload-Offset: {offset}"]
    lines += [f"Content-Type: {PIECE}", "Transfer-Encoding: chunked", "", ""]
    with socket.create_connection((name, int(port)), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode())
        for piece in pieces:
            connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if not end:
            return 0
        connection.sendall(b"0\r\n\r\n")
        return int(connection.recv(100).split()[1])


def test_a_body_without_length_is_held_to_the_announced_one(host: str, tus: TusClient) -> None:
    path = tus.begin(10)
    assert chunked(host, path, b"01", b"23", offset=0, end=True) == 204
    assert chunked(host, path, b"4567", b"89ab", offset=4, end=True) == 413
    assert tus.offset(path) == 4, "nothing of what is too long is kept"
    assert chunked(host, path, b"4567", b"89", offset=4, end=True) == 204


def until(tus: TusClient, path: str, wanted: int) -> None:
    deadline = time.monotonic() + 10
    while (found := tus.offset(path)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def test_what_came_before_a_client_left_stays(host: str, tus: TusClient) -> None:
    path = tus.begin(len(IMAGE))
    chunked(host, path, IMAGE[:100_000], IMAGE[100_000:123_456], offset=0, end=False)
    until(tus, path, 123_456)
    assert tus.patch(path, 123_456, IMAGE[123_456:]).status_code == 204
    assert tus.slide(path, sha256=SHA256).json()["sha256"] == SHA256


def test_a_client_that_says_no_more_keeps_what_came_and_loses_its_place(host: str, tus: TusClient) -> None:
    path = tus.begin(10)
    name, port = host.split(":")
    with socket.create_connection((name, int(port)), timeout=30) as silent:
        head = f"PATCH {path} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        silent.sendall(f"{head}Content-Type: {PIECE}\r\nContent-Length: 10\r\n\r\n0123".encode())
        time.sleep(0.3)
        busy = tus.patch(path, 0, b"0123")
        assert code_of(busy) == (409, "upload_busy")
        assert busy.headers["retry-after"] == "1"
        assert silent.recv(100).split()[1] == b"408"
    until(tus, path, 4)
    assert tus.patch(path, 4, b"456789").status_code == 204


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_checksum_holds_its_whole_piece(host: str, tus: TusClient, algorithm: str) -> None:
    path = tus.begin(10)
    assert tus.patch(path, 0, b"012", Upload_Checksum=sum_of(b"012", algorithm)).status_code == 204
    assert code_of(tus.patch(path, 3, b"345", Upload_Checksum=sum_of(b"34x", algorithm))) == (460, "checksum_mismatch")
    assert tus.offset(path) == 3
    for header in ("md5 " + "A" * 24, algorithm, f"{algorithm} !", f"{algorithm} AAAA", ""):
        assert code_of(tus.patch(path, 3, b"345", Upload_Checksum=header)) == (400, "bad_upload"), header
    assert tus.patch(path, 3, b"3456789", Upload_Checksum=sum_of(b"3456789", algorithm)).status_code == 204


def test_of_many_writers_one_writes(tus: TusClient) -> None:
    path = tus.begin(len(IMAGE))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: tus.patch(path, 0, IMAGE[:200_000]), range(8)))
    assert sorted(a.status_code for a in answers) == [204] + 7 * [409]
    assert tus.offset(path) == 200_000
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: tus.patch(path, 200_000, IMAGE[200_000:]), range(8)))
    assert [a.status_code for a in answers].count(204) == 1
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: tus.slide(path, sha256=SHA256, subject="many"), range(4)))
    good = [a.json()["id"] for a in made if a.status_code in (200, 201)]
    assert len(set(good)) == 1
    assert {a.status_code for a in made} <= {200, 201, 409}


@pytest.mark.parametrize(
    "name",
    ["x", "..", "%2e%2e", "upl_" + "0" * 31, "upl_" + "0" * 33, "upl_" + "A" * 32, "upl_" + "0" * 32, "..%2f..%2fetc",
     "upl_" + "0" * 32 + ".json", "upl_" + "0" * 32 + "%00", "upl_" + "٠" * 32, "slide"],
)  # fmt: skip
def test_an_id_that_is_none_of_ours_is_found_nowhere(tus: TusClient, name: str) -> None:
    for method in ("HEAD", "PATCH", "DELETE"):
        answer = tus.ask(method, f"/v1/uploads/{name}", Content_Type=PIECE, Upload_Offset="0")
        assert answer.status_code in (404, 405), (method, answer.status_code)
    for path in (f"/v1/uploads/{name}", f"/v1/uploads/{name}/slide"):
        answer = httpx.request("GET" if path.endswith(name) else "POST", tus.base + path)
        assert answer.status_code in (404, 405), path


def test_a_file_that_was_stated_otherwise_is_no_slide(tus: TusClient) -> None:
    before = httpx.get(f"{tus.base}/v1/slides?search=stated").json()
    path = tus.begin(len(IMAGE), filename="stated.png", sha256="0" * 64)
    tus.patch(path, 0, IMAGE)
    answer = tus.slide(path)
    assert code_of(answer) == (422, "sha256_mismatch")
    assert SHA256 in answer.json()["detail"]
    assert httpx.get(f"{tus.base}/v1/slides?search=stated").json() == before
    form = {"file": ("a.png", IMAGE[:1000])}
    answer = httpx.post(f"{tus.base}/v1/slides", files=form, data={"sha256": "0" * 64})
    assert code_of(answer) == (422, "sha256_mismatch")


def test_a_broken_file_is_said_so_and_can_be_tried_otherwise_or_removed(tus: TusClient, state: State) -> None:
    path = tus.begin(12, filename="a.svs")
    tus.patch(path, 0, b"not a slide!")
    for _ in range(2):
        assert code_of(tus.slide(path)) == (422, "unknown_format")
    assert httpx.get(tus.base + path).json()["state"] == "received"
    assert tus.ask("DELETE", path).status_code == 204
    assert tus.ask("HEAD", path).status_code == 404
    assert code_of(tus.slide(path)) == (404, "upload_not_found")
    assert [p.name for p in state.storage.uploads.folder.glob(f"{path.rpartition('/')[2]}*")] == []


def test_a_pixel_size_is_given_afterwards_without_the_bytes(tus: TusClient) -> None:
    path = tus.begin(len(IMAGE), filename="unknown.png")
    tus.patch(path, 0, IMAGE)
    slide = tus.slide(path).json()
    assert (slide["mpp"], slide["mpp_from"]) == (None, None)
    url = f"{tus.base}/v1/slides/{slide['id']}"
    changed = httpx.patch(url, json={"mpp": 0.5}).json()
    assert changed == slide | {"mpp": 0.5, "mpp_from": "you"} | {"warnings": []}
    assert httpx.patch(url, json={"subject": "S"}).json() == changed | {"subject": "S"}
    assert httpx.patch(url, json={}).json()["mpp"] == 0.5
    for body in ({"mpp": 0}, {"mpp": "x"}, {"name": "y"}, {"subject": "s" * 201}):
        assert httpx.patch(url, json=body).status_code == 422, body
    assert httpx.get(url).json() == changed | {"subject": "S"}
    assert httpx.get(f"{tus.base}/v1/slides", params={"search": "UNKNOWN"}).json()["items"] == [httpx.get(url).json()]


def test_without_label_the_upload_goes_too(tus: TusClient, state: State, shared_data: Path) -> None:
    data = (shared_data / "wsi" / "svs" / "CMU-1-Small-Region.svs").read_bytes()
    path = tus.begin(len(data), filename="Mrs Miller.svs", deidentify="true")
    assert tus.patch(path, 0, data).status_code == 204
    slide = tus.slide(path).json()
    assert (slide["name"], slide["associated"]) == ("deidentified.svs", ["thumbnail"])
    assert not state.storage.blobs.exists(hashlib.sha256(data).hexdigest())
    assert not (state.storage.uploads.folder / path.rpartition("/")[2]).exists()


def full(_path: object) -> object:
    return type("Usage", (), {"free": 10_000})


def test_a_full_volume_refuses_and_what_came_goes_on_later(
    tus: TusClient, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tus.begin(len(IMAGE))
    tus.patch(path, 0, IMAGE[:1000])
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", full)
        assert code_of(tus.create(1_000_000)) == (507, "storage_full")
        assert code_of(tus.patch(path, 1000, IMAGE[1000:])) == (507, "storage_full")
        assert tus.offset(path) == 1000
    assert tus.patch(path, 1000, IMAGE[1000:]).status_code == 204


def test_an_upload_that_is_left_alone_is_gone(tus: TusClient, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tus.begin(10)
    file = state.storage.uploads.folder / path.rpartition("/")[2]
    assert tus.ask("HEAD", path).headers["upload-expires"].endswith("GMT")
    past = time.time() - state.settings.upload_hours * 3600 - 10
    os.utime(file, (past, past))
    assert tus.ask("HEAD", path).status_code == 410
    assert code_of(tus.patch(path, 0, b"x")) == (410, "upload_expired")
    assert path.rpartition("/")[2] not in httpx.get(f"{tus.base}/v1/uploads").text
    monkeypatch.setattr(resumable, "_SWEEP_S", 0.0)
    tus.begin(10)
    assert not file.exists(), "the next upload sweeps, once a minute"
    assert tus.ask("HEAD", path).status_code == 404


@contextmanager
def api_process(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], TusClient]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = os.environ | {"INTIMA_DATA": str(folder), "INTIMA_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "services.api"], env=environment, stderr=subprocess.DEVNULL)
    try:
        client = TusClient(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 60
        while True:
            try:
                assert httpx.get(f"{client.base}/livez").status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield process, client
    finally:
        process.kill()
        process.wait()


def drip(client: TusClient, path: str, data: bytes, *, offset: int, checksum: str | None) -> socket.socket:
    """Send most of a piece and hold the rest back."""
    port = int(client.base.rpartition(":")[2])
    head = f"PATCH {path} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n"
    head += "" if checksum is None else f"Upload-Checksum: {checksum}\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(f"{head}Content-Type: {PIECE}\r\nContent-Length: {len(data)}\r\n\r\n".encode())
    connection.sendall(data[: len(data) * 9 // 10])
    return connection


def kill_while_it_writes(process: subprocess.Popen[bytes], data: Path, *, start: int) -> int:
    deadline = time.monotonic() + 30
    while data.stat().st_size <= start:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return data.stat().st_size


def test_a_server_that_is_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path) -> None:
    noise = png(np.random.default_rng(3).integers(0, 255, (2000, 2000, 3), dtype=np.uint8))
    path, start = "", 0
    for checked in (False, True):
        with api_process(tmp_path) as (process, client):
            path = path or client.begin(len(noise), filename="noise.png", mpp="1")
            assert client.offset(path) == start
            piece = noise[start : start + 6_000_000]
            data = tmp_path / "uploads" / path.rpartition("/")[2]
            with drip(client, path, piece, offset=start, checksum=sum_of(piece) if checked else None):
                size = kill_while_it_writes(process, data, start=start)
            assert size > start
            start = start if checked else size
    with api_process(tmp_path) as (_, client):
        assert client.offset(path) == start, "what was not checked does not count"
        assert client.patch(path, start, noise[start:], Upload_Checksum=sum_of(noise[start:])).status_code == 204
        slide = client.slide(path).json()
    assert slide["sha256"] == hashlib.sha256(noise).hexdigest()
    assert (tmp_path / "blobs" / slide["sha256"][:2] / slide["sha256"]).read_bytes() == noise


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, State]]:
    folder = tmp_path_factory.mktemp("guarded")
    app = create_app(Settings(data=folder, port=59993, auth="tokens", admin_token=ADMIN))  # type: ignore[arg-type]
    with http_server(app) as host:
        yield f"http://{host}", app.state.intima


def test_an_upload_is_its_makers_alone(guarded: tuple[str, State]) -> None:
    base, state = guarded
    ann, bob, reader = (
        TusClient(base, bearer(make_token(state.storage, scope))) for scope in ("segment", "segment", "read")
    )
    path = ann.begin(10)
    for other in (bob, TusClient(base, bearer(ADMIN))):
        assert other.ask("HEAD", path).status_code == 404
        assert code_of(other.patch(path, 0, b"x")) == (404, "upload_not_found")
        assert code_of(other.slide(path)) == (404, "upload_not_found")
        assert code_of(other.ask("DELETE", path)) == (404, "upload_not_found")
        assert httpx.get(f"{base}/v1/uploads", headers=dict(other.headers)).json() == {
            "items": [],
            "next_page_token": "",
        }
    assert code_of(reader.create(10)) == (403, "forbidden")
    for method in ("OPTIONS", "POST", "GET"):
        assert TusClient(base).ask(method, "/v1/uploads").status_code == 401, method
    for method in ("HEAD", "PATCH", "DELETE", "GET"):
        assert TusClient(base).ask(method, path).status_code == 401, method
        assert reader.ask(method, path).status_code == 403, method
    assert ann.offset(path) == 0


def test_the_announced_bytes_count_for_the_day_and_are_written_down(guarded: tuple[str, State]) -> None:
    base, state = guarded
    token = make_token(state.storage, "segment", limits=Limits(upload_bytes_per_day=1000))
    client = TusClient(base, bearer(token))
    assert code_of(client.ask("POST", "/v1/uploads")) == (411, "length_required")
    path = client.begin(900)
    for start in range(0, 900, 300):
        assert client.patch(path, start, bytes(300)).status_code == 204, "pieces are counted already"
    assert code_of(client.create(101)) == (429, "quota_exceeded")
    with state.storage.reading() as connection:
        records = audit.list_records(connection, after=0, limit=1000)
    mine = [r for r in records if r.operation == "create_upload" and r.bytes == 900]
    assert len(mine) == 1
    assert "append_to_upload" not in {r.operation for r in records}


def test_bytes_of_nobody_are_swept_after_an_hour(state: State) -> None:
    folder = state.storage.uploads.folder
    names = ["upl_" + c * 32 for c in "abc"]
    for name in names[:2]:
        (folder / name).write_bytes(b"x")
    (folder / f"{names[2]}.json.1234.new").write_bytes(b"{")
    (folder / "notes of the owner").write_bytes(b"x")
    old = time.time() - resumable._STRAY_S - 10
    for name in (names[0], f"{names[2]}.json.1234.new", "notes of the owner"):
        os.utime(folder / name, (old, old))
    assert state.storage.uploads.sweep() == 2
    left = {p.name for p in folder.iterdir()}
    assert left >= {names[1], "notes of the owner"}
    assert not left & {names[0], f"{names[2]}.json.1234.new"}


def test_the_official_client_gets_through(tus: TusClient, tmp_path: Path) -> None:
    tusclient = pytest.importorskip("tusclient.client", reason="needs tuspy (pip install tuspy)")
    file = tmp_path / "a.png"
    file.write_bytes(IMAGE)
    about = {"filename": "a.png", "filetype": "image/png"}
    with file.open("rb") as stream:
        client = tusclient.TusClient(f"{tus.base}/v1/uploads")
        uploader = client.uploader(file_stream=stream, chunk_size=100_000, metadata=about, upload_checksum=True)
        uploader.upload()
    path = httpx.URL(uploader.url).path
    assert tus.slide(path, sha256=SHA256, subject="official").status_code == 201
    assert metadata(filename="a.png") in tus.ask("HEAD", path).headers["upload-metadata"]


def test_a_repeated_finish_with_other_choices_is_no_success(tus: TusClient, shared_data: Path) -> None:
    data = (shared_data / "wsi" / "svs" / "CMU-1-Small-Region.svs").read_bytes()
    found = hashlib.sha256(data).hexdigest()
    for first, others in (
        ({}, ({"deidentify": True}, {"sha256": "0" * 64}, {"mpp": 3.0}, {"subject": "x"})),
        ({"deidentify": True}, ({"deidentify": False}, {"sha256": "0" * 64})),
    ):
        path = tus.begin(len(data), filename="Mrs Miller.svs")
        assert tus.patch(path, 0, data).status_code == 204
        made = tus.slide(path, **first)
        assert made.status_code == 201, made.text
        for same in ({}, first, {"sha256": found}, {"sha256": None}):
            again = tus.slide(path, **same)
            assert (again.status_code, again.json()) == (200, made.json()), (first, same)
        for other in others:
            assert code_of(tus.slide(path, **other)) == (409, "already_stored"), (first, other)


@pytest.mark.parametrize("deidentify", [False, True])
def test_a_kill_before_the_note_makes_no_second_slide(
    tus: TusClient, monkeypatch: pytest.MonkeyPatch, shared_data: Path, *, deidentify: bool
) -> None:
    data = (shared_data / "wsi" / "svs" / "CMU-1-Small-Region.svs").read_bytes()
    path = tus.begin(len(data), filename="killed.svs", subject=f"killed {deidentify}")
    assert tus.patch(path, 0, data).status_code == 204

    def die(*_args: object) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(resumable.Uploads, "become", die)
        with suppress(httpx.TransportError):
            assert tus.slide(path, deidentify=deidentify).status_code >= 500
    query = {"search": f"killed {deidentify}"}
    (slide,) = httpx.get(f"{tus.base}/v1/slides", params=query).json()["items"]
    assert httpx.patch(f"{tus.base}/v1/slides/{slide['id']}", json={"mpp": 2.5}).status_code == 200
    assert code_of(tus.slide(path, deidentify=not deidentify)) == (409, "already_stored")
    assert tus.slide(path, deidentify=deidentify).json()["id"] == slide["id"]
    assert len(httpx.get(f"{tus.base}/v1/slides", params=query).json()["items"]) == 1


@pytest.mark.parametrize("text", ["a\0b", "a\nb", "\x1b[2J", "\x7f"])
def test_a_control_character_is_in_no_name_and_no_subject(tus: TusClient, text: str) -> None:
    for pairs, pointer in (({"filename": f"{text}.png"}, "/filename"), ({"subject": text}, "/subject")):
        answer = tus.create(5, **pairs)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    path = tus.begin(len(IMAGE))
    tus.patch(path, 0, IMAGE)
    assert code_of(tus.slide(path, subject=text)) == (422, "invalid")
    slide = tus.slide(path).json()["id"]
    assert httpx.patch(f"{tus.base}/v1/slides/{slide}", json={"subject": text}).status_code == 422
    form = {"file": ("a.png", IMAGE[:1000])}
    answer = httpx.post(f"{tus.base}/v1/slides", files=form, data={"subject": text})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/subject")


@pytest.mark.parametrize("mpp", [True, False, "true", [], {}])
def test_a_pixel_size_is_a_number(tus: TusClient, mpp: object) -> None:
    path = tus.begin(len(IMAGE))
    tus.patch(path, 0, IMAGE)
    answer = tus.slide(path, mpp=mpp)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/mpp")
    slide = tus.slide(path, mpp="0.5").json()
    assert slide["mpp"] == 0.5
    assert httpx.patch(f"{tus.base}/v1/slides/{slide['id']}", json={"mpp": mpp}).status_code == 422


def test_finishes_that_hash_for_long_leave_room_for_everybody_else(
    tus: TusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tus.begin(3) for _ in range(45)]
    for path in paths:
        assert tus.patch(path, 0, b"abc").status_code == 204
    go_on, hashed = threading.Event(), []

    def slowly(_upload: resumable.OpenUpload) -> str:
        hashed.append(threading.current_thread())
        assert go_on.wait(60)
        return hashlib.sha256(b"abc").hexdigest()

    monkeypatch.setattr(resumable.OpenUpload, "sha256", slowly)
    with ThreadPoolExecutor(len(paths)) as pool:
        answers = [pool.submit(tus.slide, path) for path in paths]
        deadline = time.monotonic() + 30
        while not hashed:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(1)
        try:
            assert len(hashed) <= 4
            assert httpx.get(f"{tus.base}/v1/slides", timeout=10).status_code == 200
        finally:
            go_on.set()
        assert {code_of(a.result()) for a in answers} == {(422, "unknown_format")}


def test_one_slide_in_pieces_is_one_start_and_ones_own_can_always_go(guarded: tuple[str, State]) -> None:
    base, state = guarded
    limits = Limits(starts_per_day=2, upload_bytes_per_day=len(IMAGE) + 3)
    client = TusClient(base, bearer(make_token(state.storage, "segment", limits=limits)))
    path, other = client.begin(len(IMAGE)), client.begin(3)
    client.patch(path, 0, IMAGE)
    assert client.slide(path, mpp=0.5, subject="uncounted").status_code == 201
    assert code_of(client.create(1)) == (429, "quota_exceeded")
    for own in (path, other):
        assert client.ask("DELETE", own).status_code == 204, "what was begun can be taken back"
    with state.storage.reading() as connection:
        records = audit.list_records(connection, after=0, limit=1000)
    mine = [r.operation for r in records if path in r.target or other in r.target]
    assert mine == ["store_upload", "delete_upload", "delete_upload"], "written down all the same"


def test_every_answer_says_the_version(tus: TusClient, guarded: tuple[str, State]) -> None:
    base, state = guarded
    nobody, reader = TusClient(base), TusClient(base, bearer(make_token(state.storage, "read")))
    limited = make_token(state.storage, "segment", limits=Limits(upload_bytes_per_day=5, requests_per_minute=3))
    ann, path = TusClient(base, bearer(limited)), tus.begin(10)
    answers = {
        401: nobody.create(5),
        403: reader.create(5),
        411: ann.ask("POST", "/v1/uploads"),
        429: ann.create(6),
        405: tus.ask("PUT", path),
        400: tus.patch(path, "x", b""),
        413: tus.patch(path, 0, bytes(LIMIT + 1)),
        404: tus.ask("HEAD", "/v1/uploads/none"),
        204: tus.ask("DELETE", path),
    }
    assert {status: a.status_code for status, a in answers.items()} == {status: status for status in answers}
    for status, answer in answers.items():
        assert answer.headers.get_list("tus-resumable") == ["1.0.0"], status
    assert "tus-resumable" not in httpx.get(f"{tus.base}/v1/slides").headers
    assert "tus-resumable" not in httpx.get(f"{tus.base}/v1/uploadsx").headers


def test_uploads_come_in_pages(guarded: tuple[str, State]) -> None:
    base, state = guarded
    client = TusClient(base, bearer(make_token(state.storage, "segment")))
    made = {client.begin(5, filename=f"{n}.png").rpartition("/")[2] for n in range(5)}
    url, headers = f"{base}/v1/uploads", dict(client.headers)
    whole = httpx.get(url, headers=headers).json()
    assert ({u["id"] for u in whole["items"]}, whole["next_page_token"]) == (made, "")
    found: list[object] = []
    token = ""
    for size in (2, 2, 1):
        page = httpx.get(url, headers=headers, params={"page_size": "2", "page_token": token}).json()
        assert len(page["items"]) == size
        found += page["items"]
        token = page["next_page_token"]
    assert (found, token) == (whole["items"], "")
    for bad in ({"page_size": "0"}, {"page_size": "1001"}, {"page_token": "x"}):
        assert httpx.get(url, headers=headers, params=bad).status_code == 422, bad
