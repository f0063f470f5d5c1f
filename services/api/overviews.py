"""Overviews of slides without levels: made by one thread per slide, waited for by all, kept here and in the cache."""

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from intima.deepzoom import DeepZoom
from intima.errors import Unavailable
from intima.formats.overviews import MADE_AS, Overview, cut_overview, unpack_overview
from intima.slides.isolation import overview_isolated
from intima.store.cache import Cache

MAKERS = 2
"""Children that make overviews at once."""
WAIT_S = 20.0
"""After that a client is told to ask again; the work goes on."""
MOST_BYTES = 32 * 2**20
"""What overviews may take in memory, beside the last one."""
FAILURE_S = 60.0
"""For so long a slide of which none could be made is not tried again."""
_ASK_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A slide whose overview somebody waits for."""

    sha256: str
    name: str
    zoom: DeepZoom
    path: Callable[[], Path]
    """Where its file lies; may fetch it first."""
    cache: Cache
    """Where it is kept when it is made."""


Make: TypeAlias = Callable[[Wanted], Overview]


@dataclass(slots=True)
class _Entry:
    future: "Future[Overview]"
    ended_at: float = 0.0

    @property
    def overview(self) -> Overview | None:
        """The overview, once it is there."""
        done = self.future.done() and self.future.exception() is None
        return self.future.result() if done else None

    def failed_long_ago(self, now: float) -> bool:
        """Tell whether it is time to try again."""
        return self.future.done() and self.overview is None and now - self.ended_at > FAILURE_S


class Overviews:
    """Safe for threads. Each slide has one maker at a time; makers never run in the event loop."""

    def __init__(self, *, make: Make | None = None, wait_s: float = WAIT_S) -> None:
        self._make = make or _make
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._makers = threading.BoundedSemaphore(MAKERS)
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def known(self, sha256: str) -> Overview | None:
        """Return an overview that is in memory."""
        with self._lock:
            entry = self._entries.get(sha256)
            return None if entry is None else entry.overview

    async def get(self, wanted: Wanted) -> Overview:
        """Return an overview, made first where there is none.

        Raises:
            Invalid: the slide is damaged; "no_overview" where it would take too long.
            Unavailable: "overview_in_making" where it takes longer than a client waits.
        """
        waiting = asyncio.shield(asyncio.wrap_future(self._future(wanted)))
        try:
            return await asyncio.wait_for(waiting, self._wait_s)
        except TimeoutError:
            raise _in_making() from None

    def _future(self, wanted: Wanted) -> "Future[Overview]":
        with self._lock:
            entry = self._entries.get(wanted.sha256)
            if entry is None or entry.failed_long_ago(time.monotonic()):
                entry = self._entries[wanted.sha256] = _Entry(Future())
                threading.Thread(target=self._work, args=(wanted, entry), daemon=True).start()
            self._entries.move_to_end(wanted.sha256)
            return entry.future

    def _work(self, wanted: Wanted, entry: _Entry) -> None:
        try:
            found = self._found(wanted)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            entry.ended_at = time.monotonic()
            entry.future.set_exception(error)
        else:
            with self._lock:
                entry.future.set_result(found)
                self._forget_oldest()

    def _found(self, wanted: Wanted) -> Overview:
        key = hashlib.sha256(f"{MADE_AS} {wanted.sha256}".encode()).hexdigest()
        with self._makers:
            kept = wanted.cache.read(key)
            if kept is not None:
                return unpack_overview(kept)
            made = self._make(wanted)
            wanted.cache.write(key, made.packed())
            return made

    def _forget_oldest(self) -> None:
        held = 0
        for sha256, entry in reversed(list(self._entries.items())):
            size = 0 if entry.overview is None else entry.overview.bytes_held
            if size and held and held + size > MOST_BYTES:
                del self._entries[sha256]
            else:
                held += size


def _make(wanted: Wanted) -> Overview:
    with overview_isolated(wanted.path(), name=wanted.name, size=wanted.zoom.size) as levels:
        return cut_overview(levels, wanted.zoom)


def _in_making() -> Unavailable:
    error = Unavailable(
        "The overview of this slide, which has no reduced levels, is being made.",
        code="overview_in_making",
        hint="Ask again in some seconds; it is made once and kept.",
    )
    error.retry_after_s = _ASK_AGAIN_S
    return error
