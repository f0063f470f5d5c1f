"""P9 and P10: what the api adds to an upload and to a small image: ``python -m bench serving``.

P10: POST /v1/segment of a SYNTHETIC section of 1,024 px, a new one each time, over the same use case called in a
process without HTTP (``segment_slide``: inference, measures, artefacts); wall time, in turn, medians of pairwise
ratios.

P9: one multipart upload of a valid TIFF of random bytes to a stored, hashed slide (POST /v1/slides), over FastAPI's
UploadFile copied to a file and hashed, and over a raw socket written to a file; CPU seconds of the server with its
children, and the growth of its peak memory.
"""

import argparse
import io
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import tifffile
from PIL import Image

from bench._memory import resident_bytes
from intima.arrays import RgbImage
from intima.contracts.segmentation import SegmentationRequest, SlideInfo
from intima.inference import load_model
from intima.phantom import draw_specs, render
from intima.registry import DEFAULT_MODEL, publish_default, resolve
from intima.segmentation import plan_segmentation, segment_slide
from intima.slides.memory import slide_from_image
from intima.store.catalog import StoredSlide
from intima.store.storage import open_storage

_PEER = """
import hashlib, shutil, sys
import uvicorn
from fastapi import FastAPI, UploadFile
app = FastAPI()
@app.post("/upload")
def upload(file: UploadFile):
    digest = hashlib.sha256()
    with open(sys.argv[2], "wb") as out:
        while chunk := file.file.read(1 << 20):
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""


def main() -> int:
    """Print both. Returns 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, nargs="*", default=[100, 1000])
    options = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="intima-bench-") as name:
        folder = Path(name)
        with served(folder) as (url, process):
            missed += not overhead(url, folder, options.rounds)
            for megabytes in options.megabytes:
                missed += not uploads(url, process, folder, megabytes)
    return 1 if missed else 0


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run the api; yields its URL and process."""
    port = free_port()
    settings = {"INTIMA_DATA": str(folder / "data"), "INTIMA_PORT": str(port), "INTIMA_MAX_UPLOAD_BYTES": str(2**32)}
    process = subprocess.Popen([sys.executable, "-m", "services.api"], env=os.environ | settings)
    try:
        yield wait_for(f"http://127.0.0.1:{port}", "/readyz"), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """Return a port that nobody uses at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(url: str, path: str) -> str:
    """Return a URL once something answers there."""
    for _ in range(600):
        try:
            httpx.get(url + path, timeout=30)
        except httpx.TransportError:
            time.sleep(0.1)
            continue
        return url
    raise TimeoutError(url)


def overhead(url: str, folder: Path, rounds: int) -> bool:
    """Print P10 and tell whether it is met."""
    storage = open_storage(folder / "bare")
    publish_default(storage)
    version = resolve(storage, DEFAULT_MODEL)
    model = load_model(storage, version.ref)
    bare, asked = [], []
    for number in range(rounds + 1):
        image = render(draw_specs(seed=800 + number, subjects=1, size_px=1024, mpp=1.5)[0].spec).image
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        started = time.perf_counter()
        answer = httpx.post(
            f"{url}/v1/segment", files={"file": ("a.png", out.getvalue())}, data={"mpp": "1.5"}, timeout=600
        )
        answer.raise_for_status()
        asked.append(time.perf_counter() - started)
        info = SlideInfo(format="png", width=1024, height=1024, levels=1, mpp=1.5, vendor=None)
        stored = StoredSlide(
            id="s", sha256="0" * 64, name="a", info=info, mpp=None, subject=None, created_at="2026-01-01T00:00:00Z"
        )
        payload = plan_segmentation(stored, version, SegmentationRequest(model=version.ref))
        started = time.perf_counter()
        segment_slide(
            slide_from_image(image, info), storage, payload=payload, model=model, report=lambda _share, _text: None
        )
        bare.append(time.perf_counter() - started)
    storage.close()
    ratios = [a / b for a, b in zip(asked[1:], bare[1:], strict=True)]
    ratio = statistics.median(ratios)
    print(
        f"P10 POST /v1/segment of 1024 px, 8 passes: {statistics.median(asked[1:]):.2f} s over "
        f"{statistics.median(bare[1:]):.2f} s = {ratio:.2f} [{min(ratios):.2f}, {max(ratios):.2f}], "
        f"{'pass' if ratio <= 1.10 else 'FAIL'} at 1.10",
        flush=True,
    )
    return ratio <= 1.10


def uploads(url: str, process: psutil.Process, folder: Path, megabytes: int) -> bool:
    """Print P9 of one size and tell whether it is met."""
    path = folder / "upload.tiff"
    write_noise(path, megabytes)
    port, sink_port = free_port(), free_port()
    peer = subprocess.Popen([sys.executable, "-c", _PEER, str(port), str(folder / "peer")])
    sink = subprocess.Popen([sys.executable, "-m", "bench.serving", "--sink", str(sink_port), str(folder / "sink")])
    try:
        theirs = wait_for(f"http://127.0.0.1:{port}", "/docs")
        before = resident_bytes("VmHWM", process.pid)
        ours_s = server_cpu_s(process, lambda: post(f"{url}/v1/slides", path))
        grown = (resident_bytes("VmHWM", process.pid) - before) / 2**20
        peer_s = server_cpu_s(psutil.Process(peer.pid), lambda: post(f"{theirs}/upload", path))
        sink_s = server_cpu_s(psutil.Process(sink.pid), lambda: send_raw(sink_port, path))
    finally:
        for child in (peer, sink):
            child.terminate()
            child.wait(30)
    met = peer_s / ours_s >= 1.5 and sink_s / ours_s >= 0.35 and grown < 16
    print(
        f"P9 {megabytes} MB: {ours_s:.2f} CPU s; {peer_s / ours_s:.2f} x UploadFile (goal 1.5), {sink_s / ours_s:.2f} "
        f"of a raw socket (goal .35), peak memory + {grown:.0f} MB (goal 16): {'pass' if met else 'FAIL'}",
        flush=True,
    )
    return met


def write_noise(path: Path, megabytes: int) -> None:
    """Write a tiled TIFF of random pixels of about a size; no two uploads are the same."""
    side = int((megabytes * 1e6 / 3) ** 0.5) // 256 * 256
    random = np.random.default_rng(time.time_ns())

    def tiles() -> Iterator[RgbImage]:
        for _ in range((side // 256) ** 2):
            yield random.integers(0, 256, (256, 256, 3), np.uint8)

    tifffile.imwrite(path, tiles(), shape=(side, side, 3), dtype=np.uint8, tile=(256, 256), photometric="rgb")


def post(url: str, path: Path) -> None:
    """Upload a file as multipart."""
    with path.open("rb") as file:
        httpx.post(url, files={"file": (path.name, file)}, timeout=600).raise_for_status()


def send_raw(port: int, path: Path) -> None:
    """Send a file over a socket and wait until it is taken."""
    with connected(port) as connection, path.open("rb") as file:
        connection.sendfile(file)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def connected(port: int) -> socket.socket:
    """Connect once somebody listens."""
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise TimeoutError(port)


def server_cpu_s(process: psutil.Process, call: Callable[[], None]) -> float:
    """Return the CPU seconds that a process and the children it waits for spend on a call."""
    before = cpu_s(process)
    call()
    time.sleep(0.3)
    return cpu_s(process) - before


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds of a process, of ended children, and of running ones with theirs."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        times = each.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def take_raw(port: int, path: Path) -> None:
    """Write what comes over a socket into a file: the limit."""
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            buffer = memoryview(bytearray(1 << 20))
            with connection, path.open("wb", buffering=0) as out:
                while count := connection.recv_into(buffer):
                    out.write(buffer[:count])
                connection.sendall(b"!")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--sink"]:
        take_raw(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(main())
