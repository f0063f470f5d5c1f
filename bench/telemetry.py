"""What being observed costs: ``python -m bench telemetry``.

A light route (GET /v1/architectures) on real uvicorn servers, asked by one client process on one connection, in turn:
bare (without the middleware that observes), observed (id, log line, metrics), scraped (observed, and its metrics read
once a second, counts of the ledger included); and a route that is traced, with and without spans that a collector
takes. Medians of the ratios of processor time within a round: a busy machine disturbs them little. And one scrape, and
one look at a ledger of many units.
"""

import argparse
import asyncio
import logging
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from intima.contracts.benchmark import UnitPlan
from intima.store import ledger
from intima.store.storage import Storage
from services.api.app import create_app
from services.api.dependencies import open_state
from services.api.settings import Settings
from services.telemetry import doors, traces, units
from services.telemetry.exposition import serve_metrics
from services.telemetry.ledger_state import LedgerMetrics
from services.telemetry.logs import configure_logs
from services.telemetry.requests import Observed
from services.telemetry.settings import TelemetrySettings

HEAD = "| requests a second | server's µs of processor a request |"
LIGHT, TRACED = "/v1/architectures", "/v1/models"
WARM_UP = 50
CLIENT = """
import socket, sys, time
WARM_UP = int(sys.argv[4])
port, path, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
ask = f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode()
s = socket.create_connection(("127.0.0.1", port)); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
def once():
    s.sendall(ask); got = b""
    while b"\\r\\n\\r\\n" not in got: got += s.recv(65536)
    head, _, body = got.partition(b"\\r\\n\\r\\n"); assert b" 200 " in head[:20], head
    length = int(next(l for l in head.lower().split(b"\\r\\n") if l.startswith(b"content-length")).split(b":")[1])
    while len(body) < length: body += s.recv(65536)
for _ in range(WARM_UP): once()
n, end = 0, time.perf_counter() + seconds
while time.perf_counter() < end: once(); n += 1
print(n)
"""


@contextmanager
def served(app: FastAPI) -> Iterator[int]:
    """Serve an app from a thread of this process; yields the port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def ask(port: int, path: str, seconds: float) -> tuple[float, float]:
    """Return requests a second, and the processor time of this process per request in microseconds."""
    started = time.process_time()
    run = subprocess.run(
        [sys.executable, "-c", CLIENT, str(port), path, str(seconds), str(WARM_UP)], capture_output=True, check=True
    )
    number = int(run.stdout) + WARM_UP
    return int(run.stdout) / seconds, 1e6 * (time.process_time() - started) / number


@contextmanager
def scraping(url: str, every_s: float) -> Iterator[list[float]]:
    """Read metrics again and again; yields how long each took."""
    stop, took = threading.Event(), list[float]()

    def loop() -> None:
        while not stop.wait(every_s):
            started = time.perf_counter()
            httpx.get(url).raise_for_status()
            took.append(time.perf_counter() - started)

    thread = threading.Thread(target=loop)
    thread.start()
    yield took
    stop.set()
    thread.join()


@contextmanager
def collector() -> Iterator[str]:
    """Take spans and forget them."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fill(storage: Storage, *, jobs: int, width: int) -> None:
    """Put many ready units into the ledger."""
    for _ in range(jobs):
        plans = [UnitPlan(key=f"u{n}", kind="trial", queue="training", payload={}) for n in range(width)]
        with storage.writing() as connection:
            ledger.create_job(connection, kind="benchmark", units=plans, payload={}, result_url=None)


def report(name: str, found: list[tuple[float, float]], base: list[tuple[float, float]]) -> None:
    """Print one line."""
    rates, cpu = zip(*found, strict=True)
    ratios = sorted(a / b for (_, a), (_, b) in zip(found, base, strict=True))
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    middle = statistics.median(ratios)
    print(f"| {name} | {statistics.median(rates):.0f} | {statistics.median(cpu):.0f} | {middle:.2f} ({spread}) |")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--units", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as log:
        sys.stderr = log
        configure_logs("json")
        state = open_state(Settings(data=Path(folder) / "data"))
        fill(state.storage, jobs=max(1, options.units // 1000), width=1000)
        compare(state, options)
        logging.getLogger().handlers.clear()
        sys.stderr = sys.__stderr__


def compare(state: object, options: argparse.Namespace) -> None:
    """Ask the servers in turn."""
    settings = state.settings  # type: ignore[attr-defined]
    observed, bare = (create_app(settings, state=state) for _ in range(2))  # type: ignore[arg-type]
    bare.user_middleware = [m for m in bare.user_middleware if m.cls is not Observed]
    look = LedgerMetrics(state.storage, keep_s=0.0)  # type: ignore[attr-defined]
    shown = (doors.REGISTRY, units.REGISTRY, look)
    metrics = serve_metrics(TelemetrySettings(metrics_port=0), service="api", data=settings.data, collectors=shown)
    assert metrics is not None
    url = f"http://127.0.0.1:{metrics.port}/metrics"
    rates: dict[str, list[tuple[float, float]]] = {
        name: [] for name in ("bare", "observed", "scraped", "untraced", "traced")
    }
    scrapes: list[float] = []
    with collector() as endpoint, served(observed) as port, served(bare) as bare_port:
        for _ in range(options.rounds):
            rates["bare"].append(ask(bare_port, LIGHT, options.seconds))
            rates["observed"].append(ask(port, LIGHT, options.seconds))
            with scraping(url, 1.0) as took:
                rates["scraped"].append(ask(port, LIGHT, options.seconds))
            scrapes += took
        exporter = OTLPSpanExporter(f"{endpoint}/v1/traces")
        traces.export_to(exporter, service="bench")
        provider = traces._open[0]
        for _ in range(options.rounds):
            traces._open.clear()
            observed._telemetry["tracing"] = False
            rates["untraced"].append(ask(port, TRACED, options.seconds))
            traces._open.append(provider)
            observed._telemetry["tracing"] = True
            rates["traced"].append(ask(port, TRACED, options.seconds))
        traces.flush()
        provider.shutdown()
    metrics.stop()
    print(f"| GET {LIGHT} {HEAD} over bare |\n|---|---|---|---|")
    for name in ("bare", "observed", "scraped"):
        report(name, rates[name], rates["bare"])
    print(f"\n| GET {TRACED} {HEAD} over untraced |\n|---|---|---|---|")
    for name in ("untraced", "traced"):
        report(name, rates[name], rates["untraced"])
    for app in (observed, bare):
        app.state.intima = state
    for path in ("/livez", "/nowhere"):  # both without a thread; the second with a log line
        costs = [least_cpu(app, path, rounds=3 * options.rounds) for app in (bare, observed)]
        print(f"without server: {path}: bare {costs[0]:.0f}, observed {costs[1]:.0f} µs of processor at least")
    looks = [timed(lambda: list(look.collect())) for _ in range(9)]
    print(f"\nscrape under load: median {1000 * statistics.median(scrapes):.0f} ms, max {1000 * max(scrapes):.0f} ms")
    print(f"look at a ledger of {options.units} ready units: median {1000 * statistics.median(looks):.1f} ms")


def least_cpu(app: FastAPI, path: str, *, rounds: int, number: int = 300) -> float:
    """Return the least processor time of a request without server and client, in microseconds: noise only adds."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: object) -> None:
        pass

    async def loop() -> None:
        for _ in range(number):
            scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
            scope |= {"headers": [(b"host", b"x")], "http_version": "1.1", "scheme": "http", "root_path": ""}
            scope |= {"state": {"request_id": "req_0"}}
            await app(scope | {"server": ("x", 80), "client": ("y", 1)}, receive, send)  # type: ignore[arg-type]

    found = []
    for _ in range(rounds):
        started = time.process_time()
        asyncio.run(loop())
        found.append(1e6 * (time.process_time() - started) / number)
    return min(found)


def timed(action: object) -> float:
    """Return how long a call took."""
    started = time.perf_counter()
    action()  # type: ignore[operator]
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
