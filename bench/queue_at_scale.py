"""A SIMULATED queue of 1,000 workers against a real Redis and a real PostgreSQL.

Workers are threads that take messages, claim, beat and publish by the functions of the ledger, as Celery's do;
their units sleep. So this measures what the queue costs and where it gives way, never how fast anything is segmented.

    python -m bench queue_at_scale                          1,000 workers, 3,000 units, some of them dying
    python -m bench queue_at_scale --part claims            claims and publications per second, without sleep
    python -m bench queue_at_scale --part messages          messages per second of Redis
"""

import argparse
import collections
import json
import multiprocessing
import random
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import redis
from sqlalchemy import create_engine, text

from bench._private_servers import Servers, private_servers
from bench._queue_workers import PROCESSES, UNACKED, UNACKED_INDEX, Place, Plan, Tally, run_workers
from intima.contracts.benchmark import UnitPlan
from intima.store import ledger
from intima.store.ledger import Claim, UnitRef
from intima.store.storage import Storage, attach_storage, open_storage
from services.messages import QUEUES, Send, open_send
from services.runner import sweep_once
from services.worker import BEAT_S, SWEEP_S


def run_sweepers(place: Place, plan: Plan, *, stop: Any) -> None:
    """Be the sweepers of all machines: one each, every few seconds, as a Celery worker's parent has."""
    storage, broker = attach_storage(place.data, place.database), redis.Redis.from_url(place.broker)
    send = open_send("celery", redis_url=place.broker)

    def sweep(first: float) -> None:
        stop.wait(first)
        while not stop.is_set():
            tags = [tag for tag, _ in broker.zscan_iter(UNACKED_INDEX)] if random.random() < SWEEP_S / BEAT_S else []
            if tags and first < SWEEP_S / 10:
                broker.zadd(UNACKED_INDEX, dict.fromkeys(tags, time.time()), xx=True)
            try:
                sweep_once(storage, send=send, queued={queue: int(broker.llen(queue)) for queue in QUEUES})
            except Exception as error:  # noqa: BLE001
                print("  a sweep failed:", type(error).__name__, str(error)[:100])
            stop.wait(SWEEP_S)

    threads = [threading.Thread(target=sweep, args=(SWEEP_S * n / plan.machines,)) for n in range(plan.machines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def submit(storage: Storage, plan: Plan, send: Send) -> int:
    """Store slides, one unit each, and one benchmark of all folds; return how many units there are."""
    chance = random.Random(plan.seed)

    def unit(key: str, kind: str, queue: str) -> UnitPlan:
        payload = {"sleep_s": chance.uniform(0.5, 1.5) * plan.sleep_s}
        return UnitPlan.model_validate({"key": key, "kind": kind, "queue": queue, "payload": payload})

    for first in range(0, plan.slides, 500):
        with storage.writing() as connection:
            for n in range(first, min(first + 500, plan.slides)):
                units = [unit("segment", "segment", "inference")]
                ledger.create_job(connection, kind="segmentation", units=units, payload={}, result_url=None, place=n)
            refs = ledger.take_unsent(connection)
        send(refs)
    if plan.folds:
        units = [unit(f"fold{n}", "fold", "training") for n in range(plan.folds)]
        with storage.writing() as connection:
            ledger.create_job(connection, kind="benchmark", units=units, payload={}, result_url=None)
        while True:
            with storage.writing() as connection:
                refs = ledger.take_unsent(connection)
            if not refs:
                break
            send(refs)
    return plan.slides + plan.folds


@dataclass
class Meter:
    """Counters of the servers, and CPU seconds of everything that takes part."""

    servers: Servers
    engine: Any
    broker: redis.Redis
    waits: list[int] = field(default_factory=list)
    connections: int = 0

    def read(self) -> dict[str, float]:
        with self.engine.connect() as connection:
            stats = "SELECT sum(xact_commit + xact_rollback), sum(tup_updated) FROM pg_stat_database"
            transactions, updated = connection.execute(text(stats)).one()
        commands = self.broker.info("stats")["total_commands_processed"]
        return {"transactions": float(transactions), "updated": float(updated), "commands": commands} | {
            f"cpu {name}": seconds for name, seconds in self.servers.cpu_seconds().items()
        }

    def look(self) -> None:
        """Note how many connections wait for a lock of another."""
        with self.engine.connect() as connection:
            query = "SELECT count(*) FILTER (WHERE wait_event_type = 'Lock'), count(*) FROM pg_stat_activity"
            waiting, all_of_them = connection.execute(text(query)).one()
        self.waits.append(int(waiting))
        self.connections = max(self.connections, int(all_of_them))


def quantiles(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    p50, p95, most = np.percentile(seconds, [50, 95, 100]) * 1000
    return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, worst {most:.0f} ms ({len(seconds)})"


def simulate(data: Path, servers: Servers, plan: Plan) -> None:
    place = Place(data, servers.database, servers.broker)
    storage, send = open_storage(data, place.database, floor_bytes=0), open_send("celery", redis_url=place.broker)
    meter = Meter(servers, create_engine(place.database), redis.Redis.from_url(place.broker))
    total = submit(storage, plan, send)
    context = multiprocessing.get_context("spawn")
    stop, out = context.Event(), context.Queue()
    shared = {"stop": stop, "out": out}
    processes = [
        context.Process(target=run_workers, args=(place, plan, number), kwargs=shared) for number in range(PROCESSES)
    ]
    processes.append(context.Process(target=run_sweepers, args=(place, plan), kwargs={"stop": stop}))
    for process in processes:
        process.start()
    time.sleep(3)
    before, started = meter.read(), time.monotonic()
    seconds = wait_until_done(storage, meter, total, started)
    after = meter.read()
    stop.set()
    tallies = [out.get(timeout=120) for _ in range(PROCESSES)]
    for process in processes:
        process.join(60)
    print(f"SIMULATED: {plan}")
    report_units(storage, tallies, total)
    print(f"time: {seconds:.0f} s; the sleep alone, shared out evenly: {total * plan.sleep_s / plan.workers:.0f} s")
    report_load(tallies, {k: (after[k] - before[k]) / seconds for k in after}, meter)


def wait_until_done(storage: Storage, meter: Meter, total: int, started: float) -> float:
    shown = 0.0
    while True:
        time.sleep(1)
        meter.look()
        with storage.reading() as connection:
            count = dict(connection.execute(text("SELECT state, count(*) FROM units GROUP BY state")).all())
        now = time.monotonic() - started
        if now - shown > 15:
            shown = now
            print(f"  {now:4.0f} s: {count}", flush=True)
        if count.get("done", 0) + count.get("failed", 0) == total or now > 1200:
            return now


def report_units(storage: Storage, tallies: Sequence[Tally], total: int) -> None:
    published = collections.Counter(unit for tally in tallies for unit in tally.published)
    final = "SELECT count(*) FROM events WHERE type = 'state' AND data ->> 'state' IN ('succeeded', 'failed')"
    with storage.reading() as connection:
        found = connection.execute(text("SELECT state, count(*) FROM units GROUP BY state")).all()
        attempts = connection.execute(text("SELECT sum(attempt) FROM units")).scalar_one()
        ended = connection.execute(text(final)).scalar_one()
    done = dict(row for row in found).get("done", 0)
    twice = sum(1 for count in published.values() if count > 1)
    counts = {name: sum(getattr(tally, name) for tally in tallies) for name in ("died", "refused", "lost")}
    print(f"units: {total}; done {done}, not done {total - done}, published twice {twice}; attempts {attempts}")
    print(f"final states of jobs: {ended}; workers that died, claims refused, claims lost: {counts}")
    print("errors:", dict(sum((tally.errors for tally in tallies), collections.Counter[str]())))


def report_load(tallies: Sequence[Tally], rates: dict[str, float], meter: Meter) -> None:
    for name in ("claim_s", "beat_s", "publish_s", "beat_gap_s"):
        print(f"{name[:-2]}: {quantiles([s for tally in tallies for s in getattr(tally, name)])}")
    print(
        f"PostgreSQL: {rates['transactions']:.0f} transactions/s, {rates['updated']:.0f} rows updated/s, up to "
        f"{meter.connections} connections; of them waiting for a lock: median {np.median(meter.waits):.0f}, "
        f"most {max(meter.waits)}; Redis: {rates['commands']:.0f} commands/s"
    )
    print("cores in use: " + ", ".join(f"{k[4:]} {v:.2f}" for k, v in rates.items() if k.startswith("cpu")))


def claims(data: Path, servers: Servers, count: int, threads: int) -> None:
    """Claim, beat and publish without sleep: slides, each a job; folds, all of one job; and behind a long queue."""
    for name, slides, folds, behind in (
        ("slides, a job each", count, 0, 0),
        ("folds of one job", 0, count, 0),
        ("slides before 20,000 that wait", count, 0, 20_000),
    ):
        storage = open_storage(data, servers.database, floor_bytes=0)
        with storage.writing() as connection:
            connection.execute(text("TRUNCATE units, jobs, events, unit_needs CASCADE"))
        submit(storage, Plan(threads, slides + behind, folds, 0.0, 1e9, 0.0, 1, 0), lambda _refs: None)
        with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
        held: list[Claim] = []
        queue = ["inference" if slides else "training"]
        for what, do in (
            ("claim", partial(claim_one, storage, queue, held)),
            ("heartbeat", beat_one),
            ("publish", end_one),
        ):
            call = do if what == "claim" else partial(do, storage)
            measure(servers, f"{name}: {what}", call, list(held) or [None] * count, threads=threads)
        storage.close()


def measure(servers: Servers, name: str, call: Any, given: Sequence[Claim | None], *, threads: int) -> None:
    before, started, count = servers.cpu_seconds(), time.perf_counter(), len(given)
    with ThreadPoolExecutor(threads) as pool:
        deque(pool.map(call, given), 0)
    took = time.perf_counter() - started
    used = {k: 1000 * (v - before[k]) / count for k, v in servers.cpu_seconds().items()}
    shown = ", ".join(f"{k} {v:.2f}" for k, v in used.items())
    print(f"{name}: {count / took:.0f}/s by {threads} threads of one process; ms of CPU each: {shown}", flush=True)


def claim_one(storage: Storage, queue: list[str], held: list[Claim], _: None) -> None:
    with storage.writing() as connection:
        claim = ledger.claim_next(connection, owner="sim", queues=queue, lease_s=3600)
    assert claim is not None
    held.append(claim)


def beat_one(storage: Storage, claim: Claim) -> None:
    with storage.writing() as connection:
        assert ledger.heartbeat(connection, claim, lease_s=3600, fraction=0.5, message="asleep") == "go_on"


def end_one(storage: Storage, claim: Claim) -> None:
    with storage.writing() as connection:
        assert ledger.publish(connection, claim, result={})


def messages(servers: Servers, count: int) -> None:
    """Send by Celery, and take as kombu does, one client each."""
    url = servers.broker
    send, broker = open_send("celery", redis_url=url), redis.Redis.from_url(url)
    before, started = servers.cpu_seconds(), time.perf_counter()
    send([UnitRef(f"unit_{n:032x}", "inference") for n in range(count)])
    sent = time.perf_counter() - started
    assert broker.llen("inference") == count
    middle, started = servers.cpu_seconds(), time.perf_counter()
    for _ in range(count):
        body = broker.brpop(["inference"], timeout=1)[1]  # type: ignore[index]
        tag = json.loads(body)["properties"]["delivery_tag"]
        broker.pipeline().zadd(UNACKED_INDEX, {tag: time.time()}).hset(UNACKED, tag, body).execute()
        broker.pipeline().zrem(UNACKED_INDEX, tag).hdel(UNACKED, tag).execute()
    taken = time.perf_counter() - started
    after = servers.cpu_seconds()
    for name, took, first, last in (("sent", sent, before, middle), ("taken and acknowledged", taken, middle, after)):
        used = 1e6 * (last["Redis"] - first["Redis"]) / count
        print(
            f"{name}: {count / took:.0f} messages/s by one client; Redis {used:.0f} µs of CPU each, "
            f"so about {1e6 / max(used, 1e-9):.0f}/s of one core"
        )


@contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[tuple[Path, Servers]]:
    with tempfile.TemporaryDirectory(prefix="intima-queue-", ignore_cleanup_errors=True) as folder:
        if arguments.database:
            yield Path(folder), Servers(arguments.database, arguments.redis)
        else:
            with private_servers(Path(folder)) as servers:
                yield Path(folder), servers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["simulate", "claims", "messages"], default="simulate")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--slides", type=int, default=2500)
    parser.add_argument("--folds", type=int, default=500)
    parser.add_argument("--sleep", type=float, default=40.0, help="seconds a unit sleeps, half to one and a half of it")
    parser.add_argument("--beat", type=float, default=10.0, help="seconds between heartbeats of a unit; workers take 2")
    parser.add_argument("--die", type=float, default=0.01, help="share of units whose worker dies in the middle")
    parser.add_argument("--machines", type=int, default=125, help="each sweeps the ledger every 5 s")
    parser.add_argument("--count", type=int, default=2000, help="units or messages of the other parts")
    parser.add_argument("--threads", type=int, default=8, help="of --part claims")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database", help="URL of an empty PostgreSQL database; none: one is started")
    parser.add_argument("--redis", help="URL of an empty Redis")
    given = parser.parse_args()
    with opened(given) as (data, servers):
        if given.part == "claims":
            claims(data, servers, given.count, given.threads)
        elif given.part == "messages":
            messages(servers, given.count)
        else:
            wanted = (given.workers, given.slides, given.folds, given.sleep, given.beat, given.die)
            simulate(data, servers, Plan(*wanted, given.machines, given.seed))


if __name__ == "__main__":
    main()
