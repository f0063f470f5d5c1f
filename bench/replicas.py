"""Two api replicas and three workers on one Redis, PostgreSQL and S3: ``python -m bench replicas``.

All slides are SYNTHETIC arteries. With tokens on. First the throughput of one inference worker and of three, on slides
of their own. Then slides and benchmarks at once, by eight clients that change replicas with every request, each
segmentation asked of both. Checked: every job succeeds, once; both replicas give the same bytes; some masks and scores
are those of one machine without Redis, PostgreSQL and S3; the audit log has one record for each request that
changes something, and is whole.
"""

import argparse
import itertools
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from bench._compose_jobs import ask, picture, sha256
from bench._replicas_stack import ADMIN, Fleet, fleet
from intima.phantom import draw_specs
from services.demo import dataset_zip
from services.local import Settings as LocalSettings
from services.local import running_stack

CLIENTS = 8
SIZE_PX = 512
MPP = 1.0
SAMPLED = 8
"""Slides and one benchmark that a single machine does again."""
REQUEST: dict[str, Any] = {"model": "phantom-unet@shipped", "uncertainty": {"sampler": "none"}}
SPEC: dict[str, Any] = {
    "architectures": [{"name": "unet_small", "weights": "random", "input_px": 64}],
    "protocols": [{"kind": "kfold", "k": 3}],
    "search": {"trials": 2},
    "members": 1,
    "preset": "quick",
}
_SUCCEEDED_TWICE = """SELECT count(*) FROM (
    SELECT job_id FROM events WHERE type = 'state' AND data::json->>'state' = 'succeeded'
    GROUP BY job_id HAVING count(*) > 1
) AS doubled"""


@dataclass(slots=True)
class Callers:
    """Clients of all replicas in turn, and how many requests they sent that change something."""

    urls: Sequence[str]
    tokens: dict[str, str]
    changes: int = 0
    _turn: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, method: str, path: str, *, scope: str = "read", replica: int | None = None, **sent: Any) -> Any:
        """Ask the next replica, or one; returns the answer, which is a success."""
        with self._lock:
            number = next(self._turn) if replica is None else replica
            self.changes += method != "GET"
        headers = {"Authorization": f"Bearer {self.tokens[scope]}"} | sent.pop("headers", {})
        url = self.urls[number % len(self.urls)]
        with httpx.Client(base_url=url, timeout=300.0) as client:
            return ask(client, method, path, headers=headers, **sent)


def main() -> int:
    """Print what was seen. Returns 1 where something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m bench replicas", description=__doc__)
    parser.add_argument("--slides", type=int, default=200)
    parser.add_argument("--benchmarks", type=int, default=4)
    parser.add_argument("--timed", type=int, default=40, help="slides of each throughput run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="intima-replicas-") as folder, fleet(Path(folder)) as machines:
        stats_url = machines.start_stats()
        for name in ("api0", "api1"):
            machines.start_api(name, stats_url)
        callers = Callers(machines.api_urls, {"admin": ADMIN})
        for scope in ("read", "segment", "train"):
            body = {"name": f"synthetic {scope}", "scopes": [scope]}
            callers.tokens[scope] = callers.send("POST", "/v1/tokens", scope="admin", json=body).json()["token"]
        _throughput(machines, callers, options.timed)
        machines.start_trainer()
        segmented, benchmarks = _load(callers, options.slides, options.benchmarks)
        wrong = _check(machines, callers, segmented, benchmarks)
    for line in wrong:
        print("WRONG", line)
    print("all held" if not wrong else f"{len(wrong)} do not hold")
    return 1 if wrong else 0


def _throughput(machines: Fleet, callers: Callers, count: int) -> None:
    rates = []
    for workers, first in ((1, 10_000), (3, 20_000)):
        for number in range(workers):
            if f"inference{number}" not in machines.processes:
                machines.start_inference(number)
        _segment(callers, [first - 1])  # so that every process has loaded what it needs
        slides = _parallel(lambda seed: _upload(callers, seed), range(first, first + count))
        started, cpu = time.monotonic(), machines.cpu_s()
        jobs = _parallel(lambda slide: _start(callers, slide)["job"], slides)
        _await(callers, jobs)
        took = time.monotonic() - started
        rates.append(3600 * count / took)
        share = (machines.cpu_s() - cpu) / took
        told = f"{count} slides of {SIZE_PX} px in {took:.1f} s, {rates[-1]:.0f} an hour"
        print(f"{workers} worker(s): {told}; {share:.2f} cores")
    print(f"three workers against one: {rates[1] / rates[0]:.2f} x")


def _load(callers: Callers, slides: int, benchmarks: int) -> tuple[dict[int, dict[str, str]], list[dict[str, Any]]]:
    """Do everything at once; returns segmentations by seed and benchmarks. Every two benchmarks ask for the same."""
    started = time.monotonic()
    with ThreadPoolExecutor(2) as sides:
        trained = sides.submit(lambda: [_benchmark(callers, n) for n in range(benchmarks)])
        segmented = sides.submit(lambda: _segment(callers, range(slides)))
        jobs = [b["job"] for b in trained.result()]
        found = segmented.result()
    print(f"{slides} slides by {CLIENTS} clients over 2 replicas: {time.monotonic() - started:.1f} s")
    _await(callers, jobs)
    print(f"... and {benchmarks} benchmarks: {time.monotonic() - started:.1f} s")
    return found, trained.result()


def _segment(callers: Callers, seeds: Sequence[int]) -> dict[int, dict[str, str]]:
    """Upload and segment, each asked of both replicas at once; returns what both answered, by seed."""

    def both(seed: int) -> dict[str, str]:
        slide = _upload(callers, seed)
        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(lambda replica: _start(callers, slide, replica=replica), (0, 1))
        if (one["id"], one["job"]) != (other["id"], other["job"]):
            raise SystemExit(f"two answers for slide {seed}: {one} and {other}")
        return {"slide": slide, "segmentation": one["id"], "job": one["job"]}

    found = dict(zip(seeds, _parallel(both, seeds), strict=True))
    _await(callers, [f["job"] for f in found.values()])
    return found


def _upload(callers: Callers, seed: int) -> str:
    files = {"file": (f"synthetic-{seed}.png", picture(seed, size_px=SIZE_PX, mpp=MPP), "image/png")}
    answer = callers.send("POST", "/v1/slides", scope="segment", files=files, data={"mpp": str(MPP)})
    return str(answer.json()["id"])


def _start(callers: Callers, slide: str, *, replica: int | None = None) -> dict[str, Any]:
    path = f"/v1/slides/{slide}/segmentations"
    started: dict[str, Any] = callers.send("POST", path, scope="segment", replica=replica, json=REQUEST).json()
    return started


def _benchmark(callers: Callers, number: int) -> dict[str, Any]:
    bundle = _dataset(number // 2)
    dataset = callers.send("POST", "/v1/datasets", scope="train", files={"file": ("d.zip", bundle)}).json()["id"]
    headers = {"idempotency-key": f"synthetic-{number}"}
    body = SPEC | {"dataset": dataset}
    started: dict[str, Any] = callers.send("POST", "/v1/benchmarks", scope="train", json=body, headers=headers).json()
    return started


def _dataset(number: int) -> bytes:
    return dataset_zip(draw_specs(seed=50 + number, subjects=6, size_px=128, mpp=6.0), name=f"synthetic {number}")


def _await(callers: Callers, jobs: Sequence[str], *, patience_s: float = 3600.0) -> None:
    deadline = time.monotonic() + patience_s
    waiting = list(dict.fromkeys(jobs))
    while waiting:
        view = callers.send("GET", f"/v1/jobs/{waiting[0]}").json()
        if view["state"] in {"failed", "canceled"}:
            raise SystemExit(f"{waiting[0]} ended as {view['state']}: {view['error']}")
        if view["state"] == "succeeded":
            waiting.pop(0)
            continue
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(waiting)} jobs are not done, the first is {view}")
        time.sleep(0.2)


def _parallel(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(work, items))


def _check(
    machines: Fleet, callers: Callers, segmented: dict[int, dict[str, str]], benchmarks: list[dict[str, Any]]
) -> list[str]:
    wrong = _check_ledger(machines, expected=len(segmented) + len(benchmarks))
    hashes = dict(
        zip(segmented, _parallel(lambda seed: _hashes(callers, segmented[seed]), list(segmented)), strict=True)
    )
    wrong += [f"the replicas differ on slide {seed}" for seed, (one, other) in hashes.items() if one != other]
    scores = [
        [sha256(callers.send("GET", f"/v1/benchmarks/{b['id']}/scores.csv", replica=r).content) for r in (0, 1)]
        for b in benchmarks
    ]
    wrong += [f"the replicas differ on benchmark {n}" for n, (one, other) in enumerate(scores) if one != other]
    chain = callers.send("GET", "/v1/audit/check", scope="admin").json()
    if not chain["intact"] or chain["records"] != callers.changes:
        wrong.append(f"{callers.changes} requests change something; the audit log says {chain}")
    print(f"audit log: {chain['records']} records for {callers.changes} changing requests, intact: {chain['intact']}")
    sample = dict(itertools.islice(((seed, one) for seed, (one, _) in hashes.items()), SAMPLED))
    return wrong + _check_alone(sample, scores[0][0] if scores else None)


def _hashes(callers: Callers, found: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    one, other = (
        {
            name: sha256(
                callers.send("GET", f"/v1/segmentations/{found['segmentation']}/artefacts/{name}", replica=r).content
            )
            for name in ("mask.png", "measures.json")
        }
        for r in (0, 1)
    )
    return one, other


def _check_ledger(machines: Fleet, *, expected: int) -> list[str]:
    address = machines.database_url.replace("+psycopg", "")
    with psycopg.connect(address) as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        tries = dict(connection.execute("SELECT attempt, count(*) FROM units GROUP BY attempt").fetchall())
        doubled = connection.execute(_SUCCEEDED_TWICE).fetchone()
    print(f"ledger: jobs {states}, units by attempts {tries}, jobs that succeeded twice {doubled}")
    wrong = [f"jobs: {states}"] if set(states) != {"succeeded"} or states["succeeded"] < expected else []
    return wrong + ([f"units by attempts: {tries}"] if set(tries) != {1} or doubled != (0,) else [])


def _check_alone(sample: dict[int, dict[str, str]], scores: str | None) -> list[str]:
    """Do some of it again on one machine with the embedded defaults; returns where the bytes differ."""
    wrong = []
    with (
        tempfile.TemporaryDirectory(prefix="intima-alone-") as folder,
        running_stack(LocalSettings(data=Path(folder), port=_two_free_ports())) as stack,
    ):
        alone = Callers([stack.url], dict.fromkeys(("read", "segment", "train"), "none"))
        found = _segment_alone(alone, list(sample))
        for seed, one in sample.items():
            mine = alone.send("GET", f"/v1/segmentations/{found[seed]}/artefacts/mask.png").content
            if sha256(mine) != one["mask.png"]:
                wrong.append(f"slide {seed} has another mask on one machine")
        if scores is not None:
            benchmark = _benchmark(alone, 0)
            _await(alone, [benchmark["job"]])
            mine = alone.send("GET", f"/v1/benchmarks/{benchmark['id']}/scores.csv").content
            if sha256(mine) != scores:
                wrong.append("the scores of a benchmark are others on one machine")
    print(f"one machine with SQLite and folders: {len(sample)} masks and the scores of a benchmark compared")
    return wrong


def _two_free_ports() -> int:
    """Return a port that is free together with the next: the local stack wants both."""
    while True:
        with socket.socket() as one, socket.socket() as other, suppress(OSError):
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            other.bind(("127.0.0.1", port + 1))
            return port


def _segment_alone(alone: Callers, seeds: Sequence[int]) -> dict[int, str]:
    started = {seed: _start(alone, _upload(alone, seed)) for seed in seeds}
    _await(alone, [s["job"] for s in started.values()])
    return {seed: s["id"] for seed, s in started.items()}


if __name__ == "__main__":
    sys.exit(main())
