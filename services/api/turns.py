"""Requests that compute take turns: a few run in threads of their own, some wait without one, the rest are refused."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.to_thread
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from starlette.requests import Request

from intima.errors import Unavailable

T = TypeVar("T")


class Turns:
    """A bounded queue before a bounded number of threads, apart from those that short requests need."""

    def __init__(self, *, threads: int, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._turns = anyio.CapacityLimiter(threads)
        self._threads = anyio.CapacityLimiter(threads)

    def refuse_full(self) -> None:
        """Raise Unavailable where as many wait as may."""
        if self.waiting >= self._most_waiting:
            raise busy()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._turns.statistics().tasks_waiting

    @property
    def running(self) -> int:
        """How many have their turn."""
        return int(self._turns.borrowed_tokens)

    async def run(self, work: Callable[[], T], *, wait_s: float) -> T:
        """Do work in a thread when its turn comes.

        Raises:
            Unavailable: too many wait already, or no turn comes within ``wait_s``.
        """
        self.refuse_full()
        with anyio.move_on_after(wait_s) as waiting:
            await self._turns.acquire()
        if waiting.cancelled_caught:
            raise busy()
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._turns.release()


class TurnMetrics:
    """How many requests of each kind compute and wait."""

    def __init__(self, turns: Mapping[str, Turns]) -> None:
        self._turns = turns

    def collect(self) -> Iterator[Metric]:
        """Return both by kind."""
        found = GaugeMetricFamily("intima_turns", "Requests that compute or wait for it.", labels=["turns", "state"])
        for name, turns in self._turns.items():
            found.add_metric([name, "waiting"], turns.waiting)
            found.add_metric([name, "running"], turns.running)
        yield found


@asynccontextmanager
async def departure(request: Request) -> AsyncIterator[threading.Event]:
    """Yield an event that is set when the client goes away before its answer; the body must have been read."""
    left = threading.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left.set()

    watching = asyncio.create_task(watch())
    try:
        yield left
    finally:
        watching.cancel()


def busy() -> Unavailable:
    """Return the refusal of a server that computes as much as it can."""
    return Unavailable("Every slot for requests is busy.", code="busy", hint="Try again in a few seconds.")
