"""Requests that compute take turns: a few run in threads of their own, some wait without one, the rest are refused."""

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

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
        if self._turns.statistics().tasks_waiting >= self._most_waiting:
            raise busy()

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


def busy() -> Unavailable:
    """Return the refusal of a server that computes as much as it can."""
    return Unavailable("Every slot for requests is busy.", code="busy", hint="Try again in a few seconds.")
