"""What is being worked on: every log line, problem and job is told of it."""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_NOTHING = {"0" * 32, "0" * 16}


@dataclass(frozen=True, slots=True)
class Context:
    """A request, or an attempt at a unit; "" and 0 where there is none."""

    request_id: str = ""
    traceparent: str = ""
    """W3C Trace Context of the innermost span that is known."""
    job_id: str = ""
    unit_id: str = ""
    attempt: int = 0

    @property
    def trace_id(self) -> str:
        """The 32 hex digits that all spans of one trace share."""
        return self.traceparent[3:35]


NOTHING = Context()
_current: ContextVar[Context] = ContextVar("intima_context", default=NOTHING)


def current() -> Context:
    """Return what this thread or task works on."""
    return _current.get()


def enter(context: Context) -> None:
    """Say what the rest of this task works on."""
    _current.set(context)


@contextmanager
def within(context: Context) -> Iterator[Context]:
    """Say what a block works on."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def read_traceparent(text: str) -> str:
    """Return a W3C traceparent that somebody sent, in the form of version 00; "" where it is none."""
    found = _TRACEPARENT.fullmatch(text.strip())
    if found is None or _NOTHING & set(found.groups()):
        return ""
    return "00-" + "-".join(found.groups())


def new_request_id() -> str:
    """Return an id for a request: it names log lines and protects nothing, so chance need not be secret."""
    return f"req_{random.getrandbits(128):032x}"


def new_traceparent() -> str:
    """Return the start of a trace that nobody records: it only ties log lines together."""
    return f"00-{random.getrandbits(128) or 1:032x}-{random.getrandbits(64) or 1:016x}-00"
