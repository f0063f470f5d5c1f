"""``make compose-test``: the compose stack, built and started, used through its one door, killed part by part.

From outside over HTTP: a first mask, a slide with progress and measures, a benchmark on nine synthetic subjects with a
published model, a verdict. Meanwhile one container of each kind is killed and started again, and processes crash
inside. Then everything goes down and comes up again; every result must have the same hash. The first thing that does
not hold ends it.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from bench import _compose_jobs as jobs
from bench._compose_slow import try_slow_clients
from bench._compose_stack import Stack, start_rig

KINDS = ("redis", "trainer", "inference", "stats", "postgres", "api", "nginx")
CRASHED = ("trainer", "inference", "api", "stats")
AWAY_S = 3.0
"""A killed container stays away this long before it is started again."""
PATIENCE_S = 400.0
"""Long, for a busy machine: a worker that loses its broker first ends the unit in hand."""
SLOW_CLIENTS = 200
MOST_HELD_S = 20.0


@dataclass(slots=True)
class Transcript:
    """What was done, with seconds; printed as it comes and kept."""

    started: float = field(default_factory=time.monotonic)
    lines: list[dict[str, object]] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)

    def say(self, what: str, *, took_s: float | None = None) -> None:
        """Write one line."""
        at = time.monotonic() - self.started
        self.lines.append({"at_s": round(at, 1), "what": what, "took_s": None if took_s is None else round(took_s, 1)})
        took = "" if took_s is None else f"  ({took_s:.1f} s)"
        print(f"{at:7.1f}  {what}{took}", flush=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Time a block and write one line about it."""
        started = time.monotonic()
        yield
        self.say(what, took_s=time.monotonic() - started)

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"lines": self.lines, "figures": self.figures}, indent=1) + "\n")


def main() -> int:
    """Run the whole test; returns 0 where everything held."""
    options = _options()
    told = Transcript()
    host = None
    if options.rig:
        with told.step("engine and stand-ins by the rig"):
            host = start_rig(Path(options.rig))
    stack = Stack(options.project, options.port, docker_host=host)
    try:
        stack.compose("--profile", "*", "down", "--volumes", "--remove-orphans")
        if not options.no_build:
            with told.step("images built"):
                stack.compose("build")
        _run(stack, told, clients=options.slow_clients)
    finally:
        told.save(Path(options.out))
        if not options.keep:
            stack.compose("--profile", "*", "down", "--volumes", "--remove-orphans")
    print(f"All held. {options.out}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rig", default="", help="script that starts an engine with stand-ins for public images")
    parser.add_argument("--project", default="intima-test")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--out", default="build/compose-test.json")
    parser.add_argument("--slow-clients", type=int, default=SLOW_CLIENTS)
    parser.add_argument("--no-build", action="store_true", help="take the images that are there")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    return parser.parse_args()


def _run(stack: Stack, told: Transcript, *, clients: int) -> None:
    told.figures["image_bytes"] = stack.image_bytes()
    with told.step("up from nothing until every health check says yes"):
        stack.up()
    with httpx.Client(base_url=stack.url, timeout=120.0) as client:
        with told.step("J1: first mask"):
            mask = jobs.first_mask(client)
        told.figures["memory_idle"] = stack.memory()
        _watched(stack, told)
        segmentation, benchmark = _work_through_kills(stack, told, client)
        _after_the_work(stack, told, client, segmentations=segmentation, benchmark=benchmark, mask=mask)
        _slow(stack, told, clients)
    _tokens(stack, told)


def _watched(stack: Stack, told: Transcript) -> None:
    """Start Prometheus of the profile observability; it must find every process."""
    stack.compose("--profile", "observability", "up", "-d", "--wait", "prometheus")
    jobs_there = {"api", "stats", "inference", "trainer", "prometheus"}
    seconds = jobs.wait_until(
        lambda: stack.watched() == dict.fromkeys(jobs_there, "up"), patience_s=90, what="every target up"
    )
    told.say("profile observability: Prometheus reads the metrics of every process", took_s=seconds)


def _work_through_kills(stack: Stack, told: Transcript, client: httpx.Client) -> tuple[list[str], str]:
    """J2 and J3 while each part is killed once and processes crash; returns segmentations and the benchmark."""
    benchmark = jobs.start_benchmark(client)
    told.say(f"J3: nine subjects uploaded, benchmark of two nets started, {benchmark['units']} units")
    benching = _Following(stack, benchmark["job"])
    segmentations = []
    for number, service in enumerate(KINDS):
        segmentations.append(jobs.start_segmentation(client, seed=100 + number))
        stack.kill(service)
        time.sleep(AWAY_S)
        stack.start(service)
        seconds = jobs.wait_until(
            lambda: all(state == "healthy" for state in stack.health().values()),
            patience_s=PATIENCE_S,
            what="all healthy",
        )
        told.say(f"{service} killed, started after {AWAY_S:.0f} s; everything healthy again", took_s=seconds)
    for service in CRASHED:
        segmentations.append(jobs.start_segmentation(client, seed=200 + len(segmentations)))
        restarts = stack.restarts(service)
        stack.crash(service)
        seconds = jobs.wait_until(
            lambda s=service, r=restarts: stack.restarts(s) > r and set(stack.health().values()) == {"healthy"},
            patience_s=PATIENCE_S,
            what=f"{service} back by its restart policy",
        )
        told.say(f"every process in {service} killed; back by the restart policy and healthy", took_s=seconds)
    with told.step(f"J2: {len(segmentations)} slides uploaded in between are segmented"):
        for one in segmentations:
            jobs.succeed(client, one["job"])
    with told.step("J3: the benchmark has succeeded"):
        events, connections = benching.join()
    told.say(f"its progress by server-sent events: {events} events, {connections} connections and tries")
    return [one["id"] for one in segmentations], str(benchmark["id"])


class _Following:
    """Someone who watches a job from the start."""

    def __init__(self, stack: Stack, job: str) -> None:
        self._seen: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._follow, args=(stack.url, job), daemon=True)
        self._thread.start()

    def _follow(self, url: str, job: str) -> None:
        with httpx.Client(base_url=url, timeout=120.0) as client:
            self._seen = jobs.succeed(client, job)

    def join(self) -> tuple[int, int]:
        """Wait for the end; returns events and connections."""
        self._thread.join()
        if self._seen is None:
            raise SystemExit("the benchmark did not succeed")
        return self._seen


def _after_the_work(
    stack: Stack, told: Transcript, client: httpx.Client, *, segmentations: list[str], benchmark: str, mask: str
) -> None:
    told.say(f"J3: {jobs.publish(client, benchmark)} published")
    with told.step("J4: verdict over the two models"):
        verdict = jobs.verdict(client, benchmark)
    told.say(f"{verdict['verdict']}: {verdict['sentence']}")
    if verdict["verdict"] not in jobs.VERDICTS:
        raise SystemExit(f"no verdict: {verdict}")
    with told.step("a second, undisturbed run of the same benchmark"):
        again = jobs.start_benchmark(client, seed=3, key="undisturbed")
        jobs.succeed(client, again["job"])
    _same_scores(client, benchmark, again["id"])
    told.say("the scores of the disturbed run are those of the undisturbed one, to the last digit")
    before = jobs.snapshot(client, segmentations=segmentations, benchmarks=[benchmark, again["id"]])
    told.figures["hashes"] = len(before)
    told.figures["memory_after"] = stack.memory()
    with told.step("down, volumes kept"):
        stack.compose("--profile", "*", "down")
    with told.step("up again until healthy"):
        stack.up()
    after = jobs.snapshot(client, segmentations=segmentations, benchmarks=[benchmark, again["id"]])
    if lost := sorted(path for path in before if after.get(path) != before[path]):
        raise SystemExit(f"lost or changed: {lost}")
    told.say(f"{len(before)} hashes of results, tables, lists and packages are equal")
    if jobs.first_mask(client) != mask:
        raise SystemExit("the first mask is another one now")


def _same_scores(client: httpx.Client, one: str, other: str) -> None:
    tables = [jobs.ask(client, "GET", f"/v1/benchmarks/{b}/scores.csv").text for b in (one, other)]
    if tables[0] != tables[1]:
        raise SystemExit("the scores of the two runs differ")


def _slow(stack: Stack, told: Transcript, clients: int) -> None:
    results = try_slow_clients(stack.port, clients=clients)
    told.figures["slow"] = [asdict(one) for one in results]
    for one in results:
        told.say(
            f"{one.clients} clients with a {one.kind}: {one.open_after} open after 40 s, last closed at "
            f"{one.last_closed_s:.1f} s, /livez p99 {one.livez_p99_ms:.0f} ms"
        )
        if one.open_after or one.last_closed_s > MOST_HELD_S:
            raise SystemExit(f"slow clients are not closed: {one}")


def _tokens(stack: Stack, told: Transcript) -> None:
    """The same data with tokens asked for, and what is refused without them."""
    said = stack.fails("run", "--rm", "--no-deps", "-e", "INTIMA_PUBLISHED_ON=0.0.0.0", "api")
    if "open_bind" not in said and "Refusing to be published" not in said:
        raise SystemExit(f"the api should refuse to be published without tokens: {said}")
    told.say("published on 0.0.0.0 without tokens: the api refuses to start")
    locked = Stack(stack.project, stack.port, stack.docker_host, stack.variables | {"INTIMA_AUTH": "tokens"})
    with told.step("up with INTIMA_AUTH=tokens"):
        locked.up()
    token = locked.compose("exec", "-T", "api", "cat", "/run/secrets/intima_admin_token").strip()
    with httpx.Client(base_url=stack.url, timeout=120.0) as client:
        for path in ("/v1/models", "/v1/slides", "/v1/jobs", "/v1/measures.csv"):
            status = client.get(path).status_code
            if status != httpx.codes.UNAUTHORIZED:
                raise SystemExit(f"{path} without a token: {status}")
        if client.get("/metrics").status_code != httpx.codes.NOT_FOUND:
            raise SystemExit("/metrics is published")
        client.headers["authorization"] = f"Bearer {token}"
        jobs.first_mask(client)
        jobs.succeed(client, jobs.start_segmentation(client, seed=300)["job"])
        verdict = jobs.verdict(client, jobs.ids(jobs.ask(client, "GET", "/v1/benchmarks").json())[0])
    told.say(f"with the admin token: first mask, slide, verdict ({verdict['verdict']}); without: 401; /metrics: 404")


if __name__ == "__main__":
    sys.exit(main())
