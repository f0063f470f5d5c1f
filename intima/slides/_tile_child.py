"""What runs inside a child that keeps one slide open: limits first, then a tile for every question."""

import json
import logging
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

from intima.arrays import Json, RgbImage
from intima.confined import Limits, allow_cpu, apply_limits
from intima.errors import IntimaError, Invalid
from intima.geometry import Region, Size
from intima.slides._guard import decoding
from intima.slides.opening import Slide, open_slide
from intima.slides.working import pixels_to_read, read_resampled

MOST_SOURCE_PX = 2**27
"""Pixels of the file that one tile may take: some seconds of decoding, and more than an image read whole may have."""


def work(connection: Connection, arguments: Json, limits: Limits) -> None:
    """Open the slide and answer until nobody asks."""
    apply_limits(limits)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
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
            while (request := _next(connection, float(arguments["idle_s"]))) is not None:
                allow_cpu(limits.cpu_s)
                _answer(connection, slide, request, name=name)


def _next(connection: Connection, idle_s: float) -> Json | None:
    try:
        return dict(json.loads(connection.recv_bytes())) if connection.poll(idle_s) else None
    except (EOFError, OSError):
        return None


def _answer(connection: Connection, slide: Slide, request: Json, *, name: str) -> None:
    try:
        with decoding(name):
            pixels = _read(slide, Region(*request["region"]), Size(*request["working"]))
    except IntimaError as error:
        _send(connection, _error(error, goes_on=True))
        return
    _send(connection, {"done": True})
    connection.send_bytes(pixels.tobytes())


def _read(slide: Slide, region: Region, working: Size) -> RgbImage:
    whole = Region(0, 0, slide.size.width, slide.size.height)
    if pixels_to_read(slide, region, frame=whole, working=working) > MOST_SOURCE_PX:
        raise Invalid(
            f"Got a slide of {whole.width} x {whole.height} pixels without the reduced levels that an overview needs.",
            code="no_overview",
            hint="Save it as a tiled pyramidal TIFF.",
        )
    return read_resampled(slide, region, frame=whole, working=working)


def _send(connection: Connection, answer: Json) -> None:
    connection.send_bytes(json.dumps(answer).encode())


def _error(error: IntimaError, *, goes_on: bool) -> Json:
    return {"error": {"message": error.message, "code": error.code, "hint": error.hint}, "goes_on": goes_on}
