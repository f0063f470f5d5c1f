"""Simulated workers: threads that take messages, claim, beat and publish by the ledger's own functions; units sleep."""

import collections
import json
import random
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import redis

from intima.store import ledger
from intima.store.ledger import Claim
from intima.store.storage import Storage, attach_storage
from services.messages import Send, open_send
from services.runner import PACE

PROCESSES = 6
"""Processes of the simulator, each with an equal share of the workers and 15 pooled connections."""
UNACKED, UNACKED_INDEX = "unacked", "unacked_index"
"""Where kombu notes messages in hand."""


@dataclass(frozen=True)
class Place:
    data: Path
    database: str
    broker: str


@dataclass(frozen=True)
class Plan:
    workers: int
    slides: int
    folds: int
    sleep_s: float
    beat_s: float
    die: float
    machines: int
    seed: int


@dataclass
class Tally:
    """What the workers of one process saw."""

    claim_s: list[float] = field(default_factory=list)
    beat_s: list[float] = field(default_factory=list)
    publish_s: list[float] = field(default_factory=list)
    beat_gap_s: list[float] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    refused: int = 0
    died: int = 0
    lost: int = 0
    errors: collections.Counter[str] = field(default_factory=collections.Counter)


@dataclass
class Worker:
    """One simulated worker: a slot of Celery."""

    storage: Storage
    broker: redis.Redis
    send: Send
    plan: Plan
    tally: Tally
    stop: threading.Event
    name: str
    queue: str
    chance: random.Random

    def work(self) -> None:
        while not self.stop.is_set():
            try:
                self._one_message()
            except Exception as error:  # noqa: BLE001 - a worker lives on, and the report counts them
                self.tally.errors[type(error).__name__] += 1
                time.sleep(self.chance.random())

    def _one_message(self) -> None:
        popped = self.broker.brpop([self.queue], timeout=2)
        if popped is None:
            return
        message = json.loads(popped[1])
        tag = message["properties"]["delivery_tag"]
        with self.broker.pipeline() as pipe:
            pipe.zadd(UNACKED_INDEX, {tag: time.time()}).hset(UNACKED, tag, popped[1]).execute()
        self._one_unit(message["headers"]["argsrepr"][2:-3])
        with self.broker.pipeline() as pipe:
            pipe.zrem(UNACKED_INDEX, tag).hdel(UNACKED, tag).execute()

    def _one_unit(self, unit_id: str) -> None:
        started = time.perf_counter()
        with self.storage.writing() as connection:
            claim = ledger.claim_in_turn(connection, unit_id, owner=self.name, lease_s=PACE.lease_s)
        self.tally.claim_s.append(time.perf_counter() - started)
        if claim is None:
            self.tally.refused += 1
            return
        with self.storage.reading() as connection:
            ledger.results_of(connection, claim.job_id, claim.needs)
            ledger.failures_of(connection, claim.job_id, claim.needs)
        if self.chance.random() < self.plan.die:
            self.tally.died += 1
        elif self._sleep(claim):
            self._publish(claim)

    def _sleep(self, claim: Claim) -> bool:
        """Sleep as long as the unit says, with heartbeats; return whether the claim still holds."""
        beaten = time.monotonic()
        ends = beaten + float(claim.payload["sleep_s"])
        while (left := ends - time.monotonic()) > 0 and not self.stop.is_set():
            time.sleep(max(0.0, min(left, beaten + self.plan.beat_s - time.monotonic())))
            if time.monotonic() - beaten < self.plan.beat_s:
                continue
            started = time.perf_counter()
            self.tally.beat_gap_s.append(time.monotonic() - beaten)
            beaten = time.monotonic()
            with self.storage.writing() as connection:
                answer = ledger.heartbeat(
                    connection, claim, lease_s=PACE.lease_s, fraction=1 - max(0.0, left) / 1000, message="asleep"
                )
            self.tally.beat_s.append(time.perf_counter() - started)
            if answer != "go_on":
                self.tally.lost += 1
                return False
        return True

    def _publish(self, claim: Claim) -> None:
        started = time.perf_counter()
        with self.storage.writing() as connection:
            done = ledger.publish(connection, claim, result={"slept": True})
            ready = ledger.take_unsent(connection, claim.job_id)
        self.tally.publish_s.append(time.perf_counter() - started)
        self.send(ready)
        if done:
            self.tally.published.append(claim.unit_id)
        else:
            self.tally.lost += 1


def run_workers(place: Place, plan: Plan, number: int, *, stop: Any, out: "Queue[Tally]") -> None:
    """Be one process of the simulator."""
    storage, tally = attach_storage(place.data, place.database), Tally()
    broker = redis.Redis.from_url(place.broker, max_connections=2 * plan.workers)
    send = open_send("celery", redis_url=place.broker)
    ended = threading.Event()
    share = range(number, plan.workers, PROCESSES)
    threading.stack_size(256 * 1024)
    training = plan.folds / max(1, plan.folds + plan.slides)
    threads = []
    for n in share:
        queue = "training" if n < training * plan.workers else "inference"
        worker = Worker(storage, broker, send, plan, tally, ended, f"sim:{n}", queue, random.Random(plan.seed + n))
        threads.append(threading.Thread(target=worker.work, daemon=True))
    for thread in threads:
        thread.start()
    stop.wait()
    ended.set()
    for thread in threads:
        thread.join(30)
    out.put(tally)
