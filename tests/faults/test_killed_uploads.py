"""An api that is killed while two clients write one upload, again and again: what counts is the file's own start."""

import base64
import hashlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from servers import free_port
from tus_client import PIECE, TusClient

from tests.builders import png

pytestmark = pytest.mark.faults
KILLS = int(os.environ.get("INTIMA_TEST_KILLS", "30"))
WRITERS = 2


@contextmanager
def api(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"INTIMA_DATA": str(folder), "INTIMA_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "services.api"], env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def begin(port: int, path: str, data: bytes, *, offset: int, checked: bool) -> socket.socket:
    """Send a piece, all but its last byte where it is checked, so that it is open when the server dies."""
    total = base64.b64encode(hashlib.sha256(data).digest()).decode()
    head = f"PATCH {path} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n"
    head += f"Upload-Checksum: sha256 {total}\r\n" if checked else ""
    head += f"Content-Type: {PIECE}\r\nContent-Length: {len(data)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    with suppress(OSError):  # the second writer is refused while it sends
        connection.sendall(head.encode() + (data[:-1] if checked else data))
    return connection


def test_no_kill_mixes_or_loses_a_byte_that_counted(tmp_path: Path) -> None:
    dice = random.Random(18)
    whole = png(np.random.default_rng(18).integers(0, 255, (3000, 3000, 3), dtype=np.uint8))
    folder, port, path, counted, grown = tmp_path / "data", free_port(), "", 0, 0
    client = TusClient(f"http://127.0.0.1:{port}", timeout=60)
    for _ in range(KILLS):
        with api(folder, port) as process:
            path = path or client.begin(len(whole), filename="noise.png", mpp="1")
            offset = client.offset(path)
            assert offset >= counted, "what counted once counts"
            stored = (folder / "uploads" / path.rpartition("/")[2]).read_bytes()
            assert stored[:offset] == whole[:offset], "no writer's bytes are mixed with another's"
            grown += offset > counted
            counted = offset
            checked = dice.random() < 0.4
            share = dice.randrange(100_000, 1_500_000)
            piece = whole[offset : min(offset + share, len(whole) - 100_000)]
            if not piece:
                break
            open_ones = [begin(port, path, piece, offset=offset, checked=checked) for _ in range(WRITERS)]
            time.sleep(dice.random() * 0.1)
            process.kill()
            process.wait()
            for one in open_ones:
                one.close()
    with api(folder, port):
        offset = client.offset(path)
        assert client.patch(path, offset, whole[offset:]).status_code == 204
        slide = client.slide(path).json()
    assert slide["sha256"] == hashlib.sha256(whole).hexdigest()
    assert (folder / "blobs" / slide["sha256"][:2] / slide["sha256"]).read_bytes() == whole
    assert grown > KILLS // 10, "the kills met writers"
