"""Parts of slides on demand, read in limited child processes that stay open for a while.

Starting a child for every tile of a viewer would take longer than reading it, and a PNG would be decoded whole each
time. So a few children keep their slide open, the least recently used going first; each has the limits of
``isolation`` for every tile, and ends by itself when nobody asks for some time. They answer in pixels, whose number is
checked, so a child that was taken over cannot run code here. This module loads no decoder.
"""

import json
import threading
from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intima.arrays import Json, RgbImage
from intima.confined import Child, Limits
from intima.errors import Invalid
from intima.geometry import Region, Size
from intima.slides._guard import unreadable
from intima.slides.isolation import open_child

_CHILD = "intima.slides._tile_child"
_LIMITS = Limits(cpu_s=20, wall_s=30.0)
_MOST_IDLE = 4
_IDLE_S = 60.0
"""After that nobody looks at a slide any more."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """A child with an open slide."""

    child: Child
    stack: ExitStack

    def ask(self, request: Json, *, wall_s: float) -> Json | None:
        """Return the answer; None where the child is gone."""
        try:
            self.child.connection.send_bytes(json.dumps(request).encode())
        except OSError:
            return None
        return self.child.answer(wall_s)

    def close(self) -> None:
        """End the child."""
        self.stack.close()


class SlideTiles:
    """Readers of slides; safe for threads. There are at most as many children as callers, and some idle ones."""

    def __init__(self, *, limits: Limits = _LIMITS, most_idle: int = _MOST_IDLE, idle_s: float = _IDLE_S) -> None:
        self._limits = limits
        self._most_idle = most_idle
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, tuple[str, _Reader]] = OrderedDict()
        self._closed = False

    def read(self, path: Path, *, sha256: str, name: str, region: Region, working: Size) -> RgbImage:
        """Return a region of the whole slide resampled to the size ``working``.

        Args:
            path: the file.
            sha256: of its content.
            name: what the user calls it, for messages.
            region: in pixels of the resampled slide.
            working: size of the resampled slide.

        Raises:
            Invalid: the slide is damaged, or so large a part of it would have to be read that nobody should wait.
        """
        request = {"region": [region.x, region.y, region.width, region.height], "working": _numbers(working)}
        return self._answer(path, request, sha256=sha256, name=name, size=region.size)

    def shrink(self, path: Path, *, sha256: str, name: str, working: Size) -> RgbImage:
        """Return a whole image at the size ``working``; see ``read``. What may be decoded whole is never too large.

        Raises:
            Invalid: the image is damaged; "image_too_large".
        """
        return self._answer(path, {"working": _numbers(working)}, sha256=sha256, name=name, size=working)

    def _answer(self, path: Path, request: Json, *, sha256: str, name: str, size: Size) -> RgbImage:
        known = self._take(sha256)
        if known is not None:
            pixels = self._asked(known, request, sha256=sha256, name=name, size=size)
            if pixels is not None:
                return pixels
        pixels = self._asked(self._open(path, name), request, sha256=sha256, name=name, size=size)
        if pixels is None:
            raise unreadable(name, "the decoder was stopped")
        return pixels

    def close(self) -> None:
        """End all idle children; those at work end when they are done."""
        with self._lock:
            self._closed = True
            idle, self._idle = list(self._idle.values()), OrderedDict()
        for _, reader in idle:
            reader.close()

    def _asked(self, reader: _Reader, request: Json, *, sha256: str, name: str, size: Size) -> RgbImage | None:
        """Return the pixels; None where the child is gone, which is then closed."""
        alive = False
        try:
            answer = reader.ask(request, wall_s=self._limits.wall_s)
            if answer is None:
                return None
            if "error" in answer:
                alive = bool(answer.get("goes_on"))
                raise _error(answer["error"])
            data = reader.child.receive(self._limits.wall_s, most_bytes=3 * size.pixels)
            if data is None or len(data) != 3 * size.pixels:
                raise unreadable(name, "the decoder was stopped")
            alive = True
            return np.frombuffer(data, np.uint8).reshape(size.height, size.width, 3)
        finally:
            if alive:
                self._give_back(sha256, reader)
            else:
                reader.close()

    def _open(self, path: Path, name: str) -> _Reader:
        with ExitStack() as stack:
            arguments = {"path": str(path), "name": name, "idle_s": self._idle_s}
            child = stack.enter_context(open_child(_CHILD, arguments, self._limits))
            return _Reader(child, stack.pop_all())

    def _take(self, sha256: str) -> _Reader | None:
        """Return an idle reader of a slide, which then is the caller's alone."""
        with self._lock:
            number = next((n for n, (held, _) in reversed(self._idle.items()) if held == sha256), None)
            return None if number is None else self._idle.pop(number)[1]

    def _give_back(self, sha256: str, reader: _Reader) -> None:
        with self._lock:
            self._idle[id(reader)] = (sha256, reader)
            most = 0 if self._closed else self._most_idle
            surplus = [self._idle.popitem(last=False)[1][1] for _ in range(len(self._idle) - most)]
        for old in surplus:
            old.close()


def _numbers(size: Size) -> list[int]:
    return [size.width, size.height]


def _error(answer: Json) -> Invalid:
    return Invalid(str(answer["message"]), code=str(answer["code"]), hint=str(answer["hint"]))
