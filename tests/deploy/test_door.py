"""nginx with the configuration that is deployed, in front of a small app: what it does to files, bodies and events."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from api_servers import http_server
from fastapi import FastAPI, Request, Response
from servers import free_port
from starlette.responses import StreamingResponse

from services.api.site import Site

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "export const said = 'the same again and again';\n" * 200


def app(folder: Path) -> FastAPI:
    (folder / "assets").mkdir()
    (folder / "index.html").write_text("<!doctype html><title>Intima</title>")
    (folder / "assets" / "index-1a2b.js").write_text(SCRIPT)
    behind = FastAPI(docs_url=None)

    @behind.patch("/v1/uploads/{upload}")
    async def append(upload: str, request: Request) -> Response:
        size = sum([len(chunk) async for chunk in request.stream()])
        offset = int(request.headers["upload-offset"]) + size
        return Response(status_code=204, headers={"Upload-Offset": str(offset), "Tus-Resumable": "1.0.0"})

    @behind.get("/v1/jobs/{job}/events")
    def events(job: str) -> StreamingResponse:
        async def told() -> AsyncIterator[bytes]:
            yield b"event: job\ndata: 1\n\n"
            await asyncio.sleep(20)

        return StreamingResponse(told(), media_type="text/event-stream")

    behind.router.default = Site(folder, otherwise=behind.router.default)
    return behind


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the door."""
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("no nginx (apt-get install nginx-light)")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    with http_server(app(tmp_path_factory.mktemp("site"))) as behind:
        alone = "daemon off; user root;" if os.getuid() == 0 else "daemon off;"
        process = subprocess.Popen([nginx, "-c", _configuration(folder, port, behind), "-g", alone])
        try:
            _await(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _configuration(folder: Path, port: int, behind: str) -> Path:
    """Write the deployed files with the addresses and folders of this test."""
    moved = {
        "http://api:8000": f"http://{behind}",
        "listen 8080;": f"listen 127.0.0.1:{port};",
        " /tmp/": f" {folder}/",
        "/etc/intima/": f"{folder}/",
        "/dev/stdout": f"{folder}/access.log",
    }
    for name in ("nginx.conf", "door.conf"):
        text = (ROOT / "deploy" / "nginx" / name).read_text()
        for old, new in moved.items():
            text = text.replace(old, new)
        (folder / name).write_text(text)
    return folder / "nginx.conf"


def _await(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx did not answer within 10 s")


def test_the_viewer_comes_through_with_its_policy(door: str) -> None:
    answer = httpx.get(f"{door}/slides/sld_1", headers={"accept": "text/html"})
    assert (answer.status_code, "<title>Intima" in answer.text) == (200, True)
    assert answer.headers.get_list("content-security-policy")[0].startswith("default-src 'self'")
    for name in ("content-security-policy", "x-content-type-options", "referrer-policy", "x-frame-options"):
        assert len(answer.headers.get_list(name)) == 1, name
    assert answer.headers["cache-control"] == "no-cache"


def test_scripts_are_packed_and_kept(door: str) -> None:
    answer = httpx.get(f"{door}/assets/index-1a2b.js")
    assert (answer.text, answer.headers["content-encoding"]) == (SCRIPT, "gzip")
    assert int(answer.headers.get("content-length", 0)) < len(SCRIPT) // 10
    assert "immutable" in answer.headers["cache-control"]
    assert "Accept-Encoding" in answer.headers["vary"]


def test_parts_of_uploads_come_through(door: str) -> None:
    answer = httpx.patch(f"{door}/v1/uploads/u", content=b"x" * 9_000_000, headers={"Upload-Offset": "5"})
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "9000005")


def test_an_event_comes_at_once(door: str) -> None:
    started = time.monotonic()
    with httpx.stream("GET", f"{door}/v1/jobs/j/events", timeout=10) as stream:
        first = next(stream.iter_lines())
    assert (first, time.monotonic() - started < 5) == ("event: job", True)
