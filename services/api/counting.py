"""Differences of large masks: one is counted at a time, once per pair; all wait for it, and it ends if nobody does."""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

from intima.contracts.difference import Difference
from intima.errors import Unavailable

WAIT_S = 20.0
"""After that a client is told to ask again; the work goes on."""
LEFT_S = 60.0
"""Nobody who waits stays silent for so long: then the work ends."""
MOST_WAITING = 16
"""Pairs that are counted or wait for it."""
MOST_KEPT = 64
"""Answers that stay in memory: the cache may be full."""
FAILURE_S = 60.0
"""For so long a pair that could not be counted is not tried again."""
_ASK_AGAIN_S = 3.0

GoOn: TypeAlias = Callable[[], None]
"""Raises where nobody waits any more."""
Count: TypeAlias = Callable[[GoOn], Difference]


@dataclass(slots=True)
class _Entry:
    asked_at: float
    ended_at: float = 0.0
    future: "Future[Difference]" = field(default_factory=Future)

    def may_go_on(self, now: float) -> bool:
        """Tell whether what it holds is an answer, or soon one, or a failure of just now."""
        if not self.future.done():
            return True
        error = self.future.exception()
        return error is None or (not isinstance(error, Unavailable) and now - self.ended_at <= FAILURE_S)


class Counting:
    """Safe for threads; nothing is counted in the event loop, or in threads that others need."""

    def __init__(self, *, wait_s: float = WAIT_S, left_s: float = LEFT_S) -> None:
        self._wait_s = wait_s
        self._left_s = left_s
        self._lock = threading.Lock()
        self._counter = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def get(self, key: str, count: Count) -> Difference:
        """Return what ``count`` returns for a key, counted first where nobody has.

        Raises:
            Unavailable: "difference_in_making" where it takes longer than a client waits, "busy" where too many wait.
        """
        waiting = asyncio.shield(asyncio.wrap_future(self._future(key, count)))
        try:
            return await asyncio.wait_for(waiting, self._wait_s)
        except TimeoutError:
            raise _in_making() from None

    def _future(self, key: str, count: Count) -> "Future[Difference]":
        now = time.monotonic()
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or not entry.may_go_on(now):
                self._refuse_full()
                entry = self._entries[key] = _Entry(now)
                threading.Thread(target=self._work, args=(count, entry), daemon=True).start()
            entry.asked_at = now
            self._entries.move_to_end(key)
            return entry.future

    def _refuse_full(self) -> None:
        if sum(not entry.future.done() for entry in self._entries.values()) >= MOST_WAITING:
            raise Unavailable(
                "Too many pairs of masks are being compared.", code="busy", hint="Try again in a few seconds."
            )

    def _work(self, count: Count, entry: _Entry) -> None:
        def go_on() -> None:
            if time.monotonic() - entry.asked_at > self._left_s:
                raise _in_making()

        try:
            with self._counter:
                go_on()
                counted = count(go_on)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            entry.ended_at = time.monotonic()
            entry.future.set_exception(error)
        else:
            entry.future.set_result(counted)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        with self._lock:
            done = [key for key, entry in self._entries.items() if entry.future.done()]
            for key in done[: max(0, len(done) - MOST_KEPT)]:
                del self._entries[key]


def _in_making() -> Unavailable:
    error = Unavailable(
        "The pixels of these two masks are being counted.",
        code="difference_in_making",
        hint="Ask again in some seconds; they are counted once, and the answer is kept.",
    )
    error.retry_after_s = _ASK_AGAIN_S
    return error
