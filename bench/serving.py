"""P9 and P10: what the api adds to an upload and to a small image: ``python -m bench serving``.

P10: POST /v1/segment of a SYNTHETIC section of 1,024 px, a new one each time, over the same use case called in a
process without HTTP (``segment_slide``: inference, measures, artefacts); wall time, in turn, medians of pairwise
ratios.

P9: multipart uploads of a valid TIFF of random bytes, a new one each time, to a stored, hashed slide (POST /v1/slides);
over FastAPI's UploadFile copied to a file and hashed, over a raw socket written to a file, and over the same socket
written and hashed, which is what a perfect server would spend. CPU seconds of each server with its children, in turn,
medians and medians of ratios within rounds; wall time beside them, which for the slide includes fsync; and the growth
of the api's peak memory over all rounds.
"""

import argparse
import hashlib
import io
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
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
    parser.add_argument("--goals", nargs="*", choices=["P9", "P10"], default=["P9", "P10"])
    options = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="intima-bench-") as name:
        folder = Path(name)
        with served(folder) as (url, process):
            if "P10" in options.goals:
                missed += not overhead(url, folder, options.rounds)
            for megabytes in options.megabytes if "P9" in options.goals else ():
                missed += not uploads(url, process, folder, megabytes=megabytes, rounds=options.rounds)
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


@dataclass(frozen=True, slots=True)
class Side:
    """A server and how it is sent a file."""

    process: psutil.Process
    send: Callable[[Path], None]


@dataclass(slots=True)
class Spent:
    """What a side spent, per round."""

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)


def uploads(url: str, process: psutil.Process, folder: Path, *, megabytes: int, rounds: int) -> bool:
    """Print P9 of one size and tell whether it is met."""
    path = folder / "upload.tiff"
    write_noise(path, megabytes)
    with peers(folder) as others:
        sides = {"ours": Side(process, partial(store, url, folder)), **others}
        take_turns(sides, path)
        before = resident_bytes("VmHWM", process.pid)
        spent = {name: Spent() for name in sides}
        for _ in range(rounds):
            for name, (cpu, wall) in take_turns(sides, path).items():
                spent[name].cpu_s.append(cpu)
                spent[name].wall_s.append(wall)
        grown_mb = (resident_bytes("VmHWM", process.pid) - before) / 2**20
    return report(megabytes, spent, grown_mb)


def take_turns(sides: Mapping[str, Side], path: Path) -> dict[str, tuple[float, float]]:
    """Send a new file to every side, one after the other; returns CPU and wall seconds of each."""
    renew(path)
    return {name: spent_on(side.process, partial(side.send, path)) for name, side in sides.items()}


def report(megabytes: int, spent: Mapping[str, Spent], grown_mb: float) -> bool:
    """Print one size and tell whether its goals are met."""
    for name, side in spent.items():
        print(
            f"P9 {megabytes} MB, {name}: {statistics.median(side.cpu_s):.3f} CPU s, "
            f"{statistics.median(side.wall_s):.2f} s wall"
        )
    over = {name: ratios(side.cpu_s, spent["ours"].cpu_s) for name, side in spent.items()}
    middle = {name: statistics.median(found) for name, found in over.items()}
    met = middle["UploadFile"] >= 1.5 and middle["socket"] >= 0.35 and grown_mb < 16
    shown = {name: f"{middle[name]:.2f} [{min(found):.2f}, {max(found):.2f}]" for name, found in over.items()}
    print(
        f"P9 {megabytes} MB: {shown['UploadFile']} x UploadFile (goal 1.5), "
        f"{shown['socket']} of a raw socket (goal .35), "
        f"{shown['hashing socket']} of one that hashes, peak memory + {grown_mb:.0f} MB (goal 16): "
        f"{'pass' if met else 'FAIL'}",
        flush=True,
    )
    return met


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Return what they spent over what we spent, round by round."""
    return [a / b for a, b in zip(theirs, ours, strict=True)]


@contextmanager
def peers(folder: Path) -> Iterator[dict[str, Side]]:
    """Start what an upload is compared with."""
    ports = [free_port() for _ in range(3)]
    commands = (
        ["-c", _PEER, str(ports[0]), str(folder / "peer")],
        ["-m", "bench.serving", "--sink", str(ports[1]), str(folder / "sink")],
        ["-m", "bench.serving", "--hashing-sink", str(ports[2]), str(folder / "hashing-sink")],
    )
    children = [subprocess.Popen([sys.executable, *command]) for command in commands]
    try:
        theirs = wait_for(f"http://127.0.0.1:{ports[0]}", "/docs")
        found = [psutil.Process(child.pid) for child in children]
        yield {
            "UploadFile": Side(found[0], partial(upload_file, f"{theirs}/upload")),
            "socket": Side(found[1], partial(send_raw, ports[1])),
            "hashing socket": Side(found[2], partial(send_raw, ports[2])),
        }
    finally:
        for child in children:
            child.terminate()
            child.wait(30)


def store(url: str, folder: Path, path: Path) -> None:
    """Upload a slide, and take its bytes out of the store again so that many rounds fit the disk."""
    name = post(f"{url}/v1/slides", path).json()["sha256"]
    (folder / "data" / "blobs" / name[:2] / name).unlink()


def write_noise(path: Path, megabytes: int) -> None:
    """Write a tiled TIFF of random pixels of about a size; no two uploads are the same."""
    side = int((megabytes * 1e6 / 3) ** 0.5) // 256 * 256
    random = np.random.default_rng(time.time_ns())

    def tiles() -> Iterator[RgbImage]:
        for _ in range((side // 256) ** 2):
            yield random.integers(0, 256, (256, 256, 3), np.uint8)

    tifffile.imwrite(path, tiles(), shape=(side, side, 3), dtype=np.uint8, tile=(256, 256), photometric="rgb")


def renew(path: Path) -> None:
    """Change some pixels in the middle, so that the store has not seen the file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(64))


def upload_file(url: str, path: Path) -> None:
    """Upload a file to the peer."""
    post(url, path)


def post(url: str, path: Path) -> httpx.Response:
    """Upload a file as multipart."""
    with path.open("rb") as file:
        return httpx.post(url, files={"file": (path.name, file)}, timeout=600).raise_for_status()


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


def spent_on(process: psutil.Process, call: Callable[[], None]) -> tuple[float, float]:
    """Return the CPU seconds that a process and the children it waits for spend on a call, and the wall seconds."""
    before, started = cpu_s(process), time.perf_counter()
    call()
    wall_s = time.perf_counter() - started
    time.sleep(0.3)
    return cpu_s(process) - before, wall_s


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds of a process, of ended children, and of running ones with theirs."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        times = each.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def take_raw(port: int, path: Path, passed_on: Callable[[memoryview], None]) -> None:
    """Write what comes over a socket into a file: the limit."""
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            buffer = memoryview(bytearray(1 << 20))
            with connection, path.open("wb", buffering=0) as out:
                while count := connection.recv_into(buffer):
                    out.write(buffer[:count])
                    passed_on(buffer[:count])
                connection.sendall(b"!")


SINKS = {"--sink": lambda: lambda _data: None, "--hashing-sink": lambda: hashlib.sha256().update}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in SINKS:
        take_raw(int(sys.argv[2]), Path(sys.argv[3]), SINKS[sys.argv[1]]())
    else:
        sys.exit(main())
