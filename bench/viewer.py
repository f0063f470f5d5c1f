"""What somebody who looks at a large slide waits for: first paint, tiles while an inference job runs, memory.

``python -m bench viewer`` writes three SYNTHETIC slides of 20,000 x 20,000 pixels (with levels; without, in tiles and
in strips), serves them by the real local stack and looks at them over six connections, as a browser does: first the
whole slide in a window of 1366 x 768 pixels, then windows at random places and resolutions, every tile twice. Then the
same while the stack segments the slide with levels. Times are those of one tile from its request to its last byte,
with waiting for turns. ``--side`` and ``--windows`` make it smaller.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
from playwright.sync_api import sync_playwright

from bench._viewer_slides import write_slides
from intima.deepzoom import DeepZoom
from intima.geometry import Size
from intima.registry import DEFAULT_MODEL
from services.api.site import STATIC
from services.demo import say
from services.local import LocalStack, Settings

_CONNECTIONS = 6
_WINDOW = Size(1366, 768)
_TILE_PX = 254
_POLL_S = 0.05
_WARM_UP_S = 5.0
_MIB = 2**20


@dataclass
class Viewer:
    """A browser without a screen and without a cache."""

    client: httpx.Client
    slide: str
    zoom: DeepZoom
    pool: ThreadPoolExecutor

    def look(self, places: Sequence[tuple[int, int, int]]) -> list[float]:
        """Fetch tiles over all connections and return seconds of each."""
        return list(self.pool.map(self._tile, places))

    def _tile(self, place: tuple[int, int, int]) -> float:
        started = time.perf_counter()
        level, column, row = place
        answer = self.client.get(f"/v1/slides/{self.slide}/deepzoom_files/{level}/{column}_{row}.jpeg")
        answer.raise_for_status()
        return time.perf_counter() - started

    def first_paint(self) -> float:
        """Return seconds for the descriptor and every tile of the whole slide in the window."""
        started = time.perf_counter()
        self.client.get(f"/v1/slides/{self.slide}/deepzoom.dzi").raise_for_status()
        shown = min(_WINDOW.width / self.zoom.size.width, _WINDOW.height / self.zoom.size.height)
        level = next(n for n in range(99) if self.zoom.level_size(n).width >= shown * self.zoom.size.width)
        columns, rows = self.zoom.tiles(level)
        self.look([(level, column, row) for column in range(columns) for row in range(rows)])
        return time.perf_counter() - started

    def windows(self, count: int, *, seed: int) -> Iterator[list[tuple[int, int, int]]]:
        """Yield the tiles of windows at random places, on levels from full resolution to a 32nd."""
        rng = np.random.default_rng(seed)
        for _ in range(count):
            level = self.zoom.last_level - int(rng.integers(0, 6))
            columns, rows = self.zoom.tiles(level)
            across, down = min(columns, -(-_WINDOW.width // _TILE_PX)), min(rows, -(-_WINDOW.height // _TILE_PX))
            left, top = int(rng.integers(0, columns - across + 1)), int(rng.integers(0, rows - down + 1))
            yield [(level, left + x, top + y) for y in range(down) for x in range(across)]


@dataclass
class Memory:
    """Resident bytes of a process and of its children, the most at one time."""

    own: int = 0
    all_together: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self, pid: int) -> Iterator[None]:
        """Look at them until the block ends."""
        thread = threading.Thread(target=self._watch, args=(psutil.Process(pid),))
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _watch(self, root: psutil.Process) -> None:
        while not self._over.wait(_POLL_S):
            held = [_resident(p) for p in (root, *root.children(recursive=True))]
            self.own = max(self.own, held[0])
            self.all_together = max(self.all_together, sum(held))


def _resident(process: psutil.Process) -> int:
    """Return the bytes that are a process's alone: forked children share the rest."""
    try:
        full = process.memory_full_info()
        return int(full.pss)
    except psutil.Error:
        return 0


def main() -> None:
    """Print one line per slide and load."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="intima-viewer-", dir=options.folder) as folder:
        paths = write_slides(Path(folder), options.side)
        os.environ["INTIMA_MAX_UPLOAD_BYTES"] = str(4096 * _MIB)
        stack = LocalStack(Settings(data=Path(folder) / "data", port=options.port))
        stack.start()
        try:
            _measure(stack, paths, options)
        finally:
            stack.stop()


def _measure(stack: LocalStack, paths: dict[str, Path], options: argparse.Namespace) -> None:
    limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
    memory = Memory()
    with (
        httpx.Client(base_url=stack.url, timeout=600, limits=limits) as client,
        ThreadPoolExecutor(_CONNECTIONS) as pool,
        memory.watching(stack._processes["api"].pid),
    ):
        say(f"api at rest: {psutil.Process(stack._processes['api'].pid).memory_full_info().pss / _MIB:.0f} MiB")
        slides = {name: _uploaded(client, path) for name, path in paths.items()}
        say("| slide | load | first paint s | again s | cold p50 ms | p95 | max | warm p50 ms | p95 | tiles |")
        zoom = DeepZoom(Size(options.side, options.side), tile_px=_TILE_PX, overlap_px=1)
        viewers = {name: Viewer(client, slide, zoom, pool) for name, slide in slides.items()}
        for name, viewer in viewers.items():
            _report(name, "none", viewer, options.windows, seed=1)
        job = _start(client, slides["pyramid"])
        for name, viewer in viewers.items():
            _report(name, "inference", viewer, options.windows, seed=2)
            say(f"(the job is {client.get(f'/v1/jobs/{job}').json()['state']})")
        _in_browser(stack.url, slides)
        client.post(f"/v1/jobs/{job}/cancel")
    say(f"most memory: api {memory.own / _MIB:.0f} MiB, with its children {memory.all_together / _MIB:.0f} MiB")


def _in_browser(url: str, slides: dict[str, str]) -> None:
    """Say how long Chromium takes from the address to the whole slide on the screen, its own caches empty."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None or not (STATIC / "index.html").is_file():
        say("No Chromium or no built viewer here: first paint in a browser was not measured.")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for name, slide in slides.items():
            page = browser.new_context(viewport={"width": _WINDOW.width, "height": _WINDOW.height}).new_page()
            started = time.perf_counter()
            page.goto(f"{url}/slides/{slide}")
            page.wait_for_selector("[data-loaded=true]", state="attached", timeout=120_000)
            say(f"in Chromium, {name}: {time.perf_counter() - started:.1f} s to the whole slide")
        browser.close()


def _report(name: str, load: str, viewer: Viewer, windows: int, *, seed: int) -> None:
    paint, again = viewer.first_paint(), viewer.first_paint()
    cold, warm = [], []
    for places in viewer.windows(windows, seed=seed):
        cold += viewer.look(places)
        warm += viewer.look(places)
    said = [
        f"{paint:.2f}",
        f"{again:.2f}",
        *_quantiles(cold),
        f"{max(cold) * 1e3:.0f}",
        *_quantiles(warm),
        str(len(cold)),
    ]
    say(f"| {name} | {load} | {' | '.join(said)} |")


def _quantiles(seconds: Sequence[float]) -> list[str]:
    cuts = statistics.quantiles(seconds, n=20)
    return [f"{statistics.median(seconds) * 1e3:.0f}", f"{cuts[-1] * 1e3:.0f}"]


def _uploaded(client: httpx.Client, path: Path) -> str:
    with path.open("rb") as file:
        answer = client.post("/v1/slides", files={"file": (path.name, file)})
    answer.raise_for_status()
    return str(answer.json()["id"])


def _start(client: httpx.Client, slide: str) -> str:
    """Start to segment a slide and return the job once it computes."""
    body = {"model": DEFAULT_MODEL, "background": "segment"}
    job = str(client.post(f"/v1/slides/{slide}/segmentations", json=body).raise_for_status().json()["job"])
    while (view := client.get(f"/v1/jobs/{job}").json())["state"] != "running":
        if view["state"] not in ("queued", "validating"):
            raise RuntimeError(f"The job has ended: {view}")
        time.sleep(0.2)
    time.sleep(_WARM_UP_S)
    return job


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--windows", type=int, default=30)
    parser.add_argument("--port", type=int, default=8625)
    parser.add_argument("--folder", default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
