"""Let callers share the runs of a network: tiles that wait at the same moment travel together.

On a GPU a run of several tiles takes little longer than a run of one; on a CPU it gains nothing. There is no timer: a
tile that comes alone runs alone at once, and those that come while it runs make up the next run.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from intima.arrays import LogitBatch, Predict, TileBatch
from intima.errors import Invalid, Unavailable

_LOOK_S = 0.1
"""How often one who waits looks whether its caller has left."""


def always() -> bool:
    """Say that the caller waits, whatever it takes."""
    return True


@dataclass(eq=False, slots=True)
class _Call:
    tiles: TileBatch
    found: dict[int, LogitBatch] = field(default_factory=dict)
    """Logits by the place of their tile."""
    taken: int = 0
    """Tiles that run or have run; the first ones."""
    error: Exception | None = None

    @property
    def waits(self) -> bool:
        """Whether some of its tiles do not run yet."""
        return self.error is None and self.taken < len(self.tiles)

    @property
    def ended(self) -> bool:
        return self.error is not None or len(self.found) == len(self.tiles)


_Place = tuple[_Call, int]


class SharedRuns:
    """A network that several threads call at once."""

    def __init__(self, predict: Predict, *, most_px: int, at_once: int = 1) -> None:
        """Share a network.

        Args:
            predict: the network; each tile's logits depend on that tile alone.
            most_px: pixels of one run at most, unless one tile has more.
            at_once: runs at the same time.
        """
        self._predict = predict
        self._most_px = most_px
        self._at_once = at_once
        self._changed = threading.Condition()
        self._waiting: deque[_Call] = deque()
        self._running = 0

    def predict(self, tiles: TileBatch, stays: Callable[[], bool] = always) -> LogitBatch:
        """Return the logits of tiles, (tiles, 3, h, w) to (tiles, channels, h, w), from runs shared with other callers.

        Callers have equal shares of a run, whatever the number of their tiles. An error of the network reaches the
        caller whose tiles it comes from, and no other.

        Args:
            tiles: of one caller.
            stays: whether the caller still waits; asked every tenth of a second until the last tile runs.

        Raises:
            Unavailable: the caller left; what it had waiting does not run.
        """
        call = _Call(tiles)
        with self._changed:
            self._waiting.append(call)
        while (part := self._next_part(call, stays)) is not None:
            self._run(part)
        if call.error is not None:
            raise call.error
        return np.stack([call.found[place] for place in range(len(tiles))])

    def _next_part(self, call: _Call, stays: Callable[[], bool]) -> list[_Place] | None:
        """Wait until a run may start, and return its tiles; None where all of this call's have ended."""
        with self._changed:
            while not call.ended:
                if not stays():
                    self._remove(call)
                    raise Unavailable("The caller left.", code="caller_left")
                if call.waits and self._running < self._at_once:
                    self._running += 1
                    return self._take()
                self._changed.wait(_LOOK_S)
        return None

    def _take(self) -> list[_Place]:
        """Return tiles of one shape, the call that waits longest first, one of each call in turn."""
        shape = self._waiting[0].tiles.shape[2:]
        room = max(1, self._most_px // int(np.prod(shape)))
        part: list[_Place] = []
        alike = deque(call for call in self._waiting if call.tiles.shape[2:] == shape)
        while alike and len(part) < room:
            call = alike.popleft()
            part.append((call, call.taken))
            call.taken += 1
            self._remove(call)
            if call.waits:
                alike.append(call)
                self._waiting.append(call)
        return part

    def _remove(self, call: _Call) -> None:
        if call in self._waiting:
            self._waiting.remove(call)

    def _run(self, part: Sequence[_Place]) -> None:
        try:
            answers: Sequence[LogitBatch | Exception] = self._answers(part)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
        with self._changed:
            for (call, place), answer in zip(part, answers, strict=True):
                if isinstance(answer, Exception):
                    call.error = answer
                    self._remove(call)
                else:
                    call.found[place] = answer
            self._changed.notify_all()

    def _answers(self, part: Sequence[_Place]) -> Sequence[LogitBatch | Exception]:
        """Return logits or the error of each tile; where a run fails, each tile is run by itself to see whose it is."""
        try:
            return self._logits(part)
        except Exception as error:  # noqa: BLE001 - whatever the network raises is its callers' to hear
            return [error] if len(part) == 1 else [self._answers([one])[0] for one in part]

    def _logits(self, part: Sequence[_Place]) -> list[LogitBatch]:
        found = list(self._predict(np.stack([call.tiles[place] for call, place in part])))
        if len(found) != len(part):
            raise Invalid(f"Got logits of {len(found)} tiles for {len(part)}.", code="bad_model")
        return found
