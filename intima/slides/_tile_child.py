"""What runs inside a child that keeps one slide open: limits first, then a tile for every question."""

import json
import logging
import tempfile
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from intima.arrays import Json, RgbImage
from intima.confined import Limits, allow_cpu, apply_limits
from intima.errors import IntimaError
from intima.geometry import Region, Size
from intima.resampling import resample_image
from intima.slides._guard import check_pixels, decoding
from intima.slides._overview import is_costly, no_overview
from intima.slides.opening import Slide, open_slide
from intima.slides.working import read_resampled

OVERVIEW_PX = 1024
"""Longer side of the overview."""


def work(connection: Connection, arguments: Json, limits: Limits) -> None:
    """Open the slide and answer until nobody asks."""
    apply_limits(limits)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    tempfile.tempdir = arguments["scratch"]
    name = str(arguments["name"])
    with connection:
        allow_cpu(limits.cpu_s)
        try:
            with decoding(name):
                slide = open_slide(Path(arguments["path"]), name=name)
        except IntimaError as error:
            _send(connection, _error(error, goes_on=False))
            return
        with slide:
            views = _Views(slide)
            while (request := _next(connection, float(arguments["idle_s"]))) is not None:
                allow_cpu(limits.cpu_s)
                _answer(connection, views, request, name=name)


def _next(connection: Connection, idle_s: float) -> Json | None:
    try:
        return dict(json.loads(connection.recv_bytes())) if connection.poll(idle_s) else None
    except (EOFError, OSError):
        return None


def _answer(connection: Connection, views: "_Views", request: Json, *, name: str) -> None:
    try:
        with decoding(name):
            pixels = _pixels(views, request)
    except IntimaError as error:
        _send(connection, _error(error, goes_on=True))
        return
    _send(connection, {"done": True})
    connection.send_bytes(pixels.tobytes())


def _pixels(views: "_Views", request: Json) -> RgbImage:
    working = Size(*request["working"])
    return views.read(Region(*request["region"]), working) if "region" in request else views.shrunk(working)


@dataclass(slots=True)
class _Views:
    """An open slide at any resolution; what shows it small is made of one overview, so it is read whole once only."""

    slide: Slide
    _overview: RgbImage | None = None

    def read(self, region: Region, working: Size) -> RgbImage:
        """Return a region of the slide resampled to the size ``working``. Raises Invalid "no_overview"."""
        if is_costly(self.slide, working):
            raise no_overview(self.slide.size)
        return self._read(region, working)

    def shrunk(self, working: Size) -> RgbImage:
        """Return the whole slide at the size ``working``. Raises Invalid "image_too_large"."""
        check_pixels(self.slide.size.width, self.slide.size.height)
        return self._read(Region(0, 0, working.width, working.height), working)

    def _read(self, region: Region, working: Size) -> RgbImage:
        size = self.slide.size
        if 2 * max(working.width, working.height) > OVERVIEW_PX or max(size.width, size.height) <= OVERVIEW_PX:
            return _read(self.slide, region, working)
        if self._overview is None:
            small = size.scaled(OVERVIEW_PX / max(size.width, size.height))
            self._overview = _read(self.slide, Region(0, 0, small.width, small.height), small)
        shown = resample_image(self._overview, working)
        return shown[region.y : region.y + region.height, region.x : region.x + region.width]


def _read(slide: Slide, region: Region, working: Size) -> RgbImage:
    whole = Region(0, 0, slide.size.width, slide.size.height)
    return read_resampled(slide, region, frame=whole, working=working)


def _send(connection: Connection, answer: Json) -> None:
    connection.send_bytes(json.dumps(answer).encode())


def _error(error: IntimaError, *, goes_on: bool) -> Json:
    return {"error": {"message": error.message, "code": error.code, "hint": error.hint}, "goes_on": goes_on}
