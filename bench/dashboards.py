"""Pictures of the dashboards with real data: ``python -m bench dashboards FOLDER``.

Starts the local stack and Debian's Prometheus, which reads it with our rules, drives it over HTTP for some minutes on
SYNTHETIC arteries (segmentations in requests and in jobs, readers, refusals), and draws every query of every dashboard.
Grafana is not needed: matplotlib stands in for it, panel by panel, with the same queries.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, date2num

from intima.phantom import draw_specs, phantom_cases
from services.demo import png
from services.local import LocalStack, Settings

ROOT = Path(__file__).resolve().parents[1]
BOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
JOBS = ("api", "stats", "runner")
STEP_S = 5
SHAPES = {"s": "{:.3g} s", "bytes": "{:.3g} B", "percentunit": "{:.1%}", "reqps": "{:.3g} /s"}


@contextmanager
def prometheus(folder: Path, first_port: int, port: int) -> Iterator[httpx.Client]:
    """Run Prometheus over the three processes of a local stack; yields a client of its API."""
    scrapes = [
        {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{first_port + place}"]}]}
        for place, name in enumerate(JOBS)
    ]
    # The local runner stands for both workers.
    scrapes[2]["job_name"] = "inference"
    rules = [str(ROOT / "deploy" / "prometheus" / "intima.rules.yml")]
    timing = {"scrape_interval": f"{STEP_S}s", "evaluation_interval": f"{STEP_S}s"}
    (folder / "prometheus.json").write_text(
        json.dumps({"global": timing, "rule_files": rules, "scrape_configs": scrapes})
    )
    command = ["prometheus", f"--config.file={folder / 'prometheus.json'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


def drive(url: str, *, seconds: float) -> None:
    """Ask for things over HTTP until the time is over."""
    specs = draw_specs(seed=7, subjects=12, size_px=384, mpp=1.0)
    images = [png(phantom.image) for _, phantom in phantom_cases(specs)]
    until = time.monotonic() + seconds
    with httpx.Client(base_url=url, timeout=300) as client, ThreadPoolExecutor(4) as pool:
        for asked in (slides(client, images, until), requests(client, images, until), lookers(client, until)):
            pool.submit(list, asked)
        pool.submit(list, strays(client, until))


def slides(client: httpx.Client, images: list[bytes], until: float) -> Iterator[None]:
    """Put jobs into the queue in bursts."""
    number = 0
    while time.monotonic() < until:
        for _ in range(6):
            number += 1
            body = {"model": "phantom-unet", "uncertainty": {"sampler": "none", "seed": number}, "force": True}
            sent = client.post("/v1/slides", files={"file": ("a.png", images[number % 12])}, data={"mpp": "1.0"})
            client.post(f"/v1/slides/{sent.json().get('id')}/segmentations", json=body)
            yield
        time.sleep(20)


def requests(client: httpx.Client, images: list[bytes], until: float) -> Iterator[None]:
    """Segment small images in requests."""
    number = 0
    while time.monotonic() < until:
        number += 1
        told = {"mpp": "1.0", "uncertainty": json.dumps({"sampler": "ensemble", "seed": number})}
        client.post("/v1/segment", files={"file": ("b.png", images[number % 12])}, data=told)
        time.sleep(3)
        yield


def lookers(client: httpx.Client, until: float) -> Iterator[None]:
    """Read as a viewer does."""
    while time.monotonic() < until:
        for path in ("/v1/jobs", "/v1/segmentations", "/v1/models", "/readyz"):
            client.get(path)
        client.post("/v1/intervals", json={"scores": [0.8, 0.7, 0.9, 0.75, 0.85, 0.8]})
        time.sleep(0.5)
        yield


def strays(client: httpx.Client, until: float) -> Iterator[None]:
    """Ask for what is not there, and send what is no image."""
    while time.monotonic() < until:
        client.get("/v1/jobs/job_nobody")
        client.get("/favicon.ico")
        client.post("/v1/slides", files={"file": ("c.png", b"no image")})
        time.sleep(2)
        yield


def draw(board: dict[str, Any], source: httpx.Client, *, start: float, end: float, path: Path) -> list[str]:
    """Draw one dashboard; return the titles of panels without data."""
    panels = board["panels"]
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels)
    figure = plt.figure(figsize=(18, rows * 0.42 + 0.6), dpi=80)
    grid = figure.add_gridspec(rows, 24, left=0.03, right=0.99, top=0.93, bottom=0.03, hspace=4.0, wspace=3.0)
    empty = []
    for panel in panels:
        place = panel["gridPos"]
        axes = figure.add_subplot(
            grid[place["y"] : place["y"] + place["h"] - 1, place["x"] : place["x"] + place["w"] - 1]
        )
        found = [s for t in panel["targets"] for s in series(source, t, start=start, end=end)]
        axes.set_title(panel["title"], fontsize=10, loc="left")
        unit = panel["fieldConfig"]["defaults"]["unit"]
        (_numbers if panel["type"] == "stat" else _lines)(axes, found, unit)
        empty += [] if found else [panel["title"]]
    figure.suptitle(board["title"], fontsize=13)
    figure.savefig(path)
    plt.close(figure)
    return empty


def series(source: httpx.Client, target: dict[str, str], *, start: float, end: float) -> list[tuple[str, list[Any]]]:
    """Return the lines of one query: legend and points."""
    query = target["expr"].replace("$__rate_interval", "1m")
    asked = {"query": query, "start": start, "end": end, "step": STEP_S}
    answer = source.get("/api/v1/query_range", params=asked).json()
    assert answer["status"] == "success", (query, answer)
    legend = target["legendFormat"]
    found = []
    for one in answer["data"]["result"]:
        name = re.sub(r"{{(\w+)}}", lambda m, one=one: one["metric"].get(m.group(1), ""), legend)
        found.append((name, [(t, float(v)) for t, v in one["values"] if v != "NaN"]))
    return [(name, points) for name, points in found if points]


def _numbers(axes: Axes, found: list[tuple[str, list[Any]]], unit: str) -> None:
    axes.axis("off")
    shape = SHAPES.get(unit, "{:g}")
    text = "\n".join(f"{name}  {shape.format(points[-1][1])}" for name, points in found) or "no data"
    axes.text(0.02, 0.5, text, fontsize=11, va="center", transform=axes.transAxes)


def _lines(axes: Axes, found: list[tuple[str, list[Any]]], unit: str) -> None:
    for name, points in found[:12]:
        times = [date2num(_utc(t)) for t, _ in points]
        axes.plot(times, [v for _, v in points], linewidth=1.2, label=name[:48])
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M:%S"))
    axes.tick_params(labelsize=7)
    axes.set_ylabel(unit, fontsize=7)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if found:
        axes.legend(fontsize=6.5, loc="upper left", framealpha=0.6)
    else:
        axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes, color="gray")


def _utc(seconds: float) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


def main() -> int:
    """Run, drive, draw; returns 1 where there is no Prometheus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--port", type=int, default=18100)
    options = parser.parse_args()
    if shutil.which("prometheus") is None:
        print("no prometheus on this machine (Debian: apt-get install prometheus)")
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    metrics_port = options.port + 10
    os.environ["INTIMA_SLOTS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Settings(data=Path(folder) / "data", port=options.port, metrics_port=metrics_port))
        with prometheus(Path(folder), metrics_port, options.port + 20) as source:
            stack.start()
            start = time.time()
            try:
                drive(stack.url, seconds=options.seconds)
                draw_all(source, options.folder, start=start, end=time.time())
            finally:
                with suppress(OSError):
                    stack.stop()
    return 0


def draw_all(source: httpx.Client, folder: Path, *, start: float, end: float) -> None:
    """Draw all dashboards and say which panels are empty and which alerts fire."""
    for path in BOARDS:
        board = json.loads(path.read_text())
        empty = draw(board, source, start=start, end=end, path=folder / f"{path.stem}.png")
        print(f"{path.stem}.png: {len(board['panels'])} panels, without data: {', '.join(empty) or 'none'}")
    firing = source.get("/api/v1/query", params={"query": 'ALERTS{alertstate="firing"}'}).json()["data"]["result"]
    print("alerts that fire:", ", ".join(sorted({a["metric"]["alertname"] for a in firing})) or "none")


if __name__ == "__main__":
    sys.exit(main())
