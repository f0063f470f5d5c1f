"""A service that is told to stop: requests in work end, and what takes too long is told so."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from servers import free_port
from toy_jobs import child_environment

SLOW = """
import asyncio, sys
from fastapi import FastAPI
from services.http import install_problem_handlers
from services.serving import serve_http
app = FastAPI()
install_problem_handlers(app)
@app.get("/sleep")
async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"
def tell() -> None:
    print("told", flush=True)
serve_http(app, host="127.0.0.1", port=int(sys.argv[1]), grace_s=float(sys.argv[2]), on_stop=tell)
"""


@contextmanager
def serving(grace_s: float) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    port = free_port()
    command = [sys.executable, "-c", SLOW, str(port), str(grace_s)]
    process = subprocess.Popen(command, env=child_environment(), stdout=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{url}/sleep?seconds=0", timeout=5)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline, "it did not start"
                time.sleep(0.1)
        yield url, process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("seconds", "grace_s", "status"), [(2, 20, 200), (60, 1, 503)])
def test_a_request_in_work_is_ended_or_told(seconds: int, grace_s: float, status: int) -> None:
    with serving(grace_s) as (url, process), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.get, f"{url}/sleep?seconds={seconds}", timeout=60)
        time.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "told\n"
        assert answer.result(60).status_code == status
        if status == 503:
            assert answer.result().json()["code"] == "stopping"
            assert answer.result().headers["Retry-After"]
        process.wait(30)


def test_a_port_that_is_taken_ends_the_process(tmp_path: Path) -> None:
    with serving(1) as (url, _):
        again = [sys.executable, "-c", SLOW, url.rpartition(":")[2], "1"]
        assert subprocess.run(again, env=child_environment(), check=False, capture_output=True, timeout=60).returncode
