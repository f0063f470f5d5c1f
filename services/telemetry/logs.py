"""Log lines as text or as one JSON object each, with what is being worked on and without secrets."""

import json
import logging
import re
import sys
from datetime import UTC, datetime

from services.telemetry.context import Context, current
from services.telemetry.settings import LogFormat

# Possessive, and anchored where a word begins: clients choose what is logged, and may not choose how long that takes.
_IN_URL = re.compile(r"(?<![\w+.-])(\w[\w+.-]*+://[^\s/:@]*+):[^\s/@]++@")
_BEHIND_SCHEME = re.compile(r"(?i)\b(bearer|basic|token)(\s++)[\w.~+/=-]{8,}+")
_NAME = re.compile(r"(?<![\w-])([\w-]++)[\"']?\s*+[=:]\s*+[\"']?")
_VALUE = re.compile(r"(?i)(?!(?:bearer|basic|token)\s)[^\s\"'&,;]++")
_SECRET_NAME = re.compile(r"(?i)authorization|passw|secret|token|access_key|api_key")
_HINTS = ("://", "bearer", "basic", "token", "authorization", "passw", "secret", "access_key", "api_key")
"""A text with none of these holds no secret that is looked for; most lines are such."""
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
_FIELDS = "fields"
"""Extra of a record: a dict of further members of its JSON object."""


def configure_logs(form: LogFormat, *, level: int = logging.INFO) -> None:
    """Send all log lines of this process to standard error in one form, those of libraries too.

    Calling it again changes the form.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for own in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(own).handlers.clear()
        logging.getLogger(own).propagate = True
    for quiet in ("httpx", "httpcore", "alembic", "multiprocessing"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def without_secrets(text: str) -> str:
    """Return a text with the secrets blotted out that can be told by their form, in time linear in its length.

    These are passwords in URLs, credentials behind their scheme, and values behind a name that says what they are.
    """
    small = text.lower()
    if any(hint in small for hint in _HINTS):
        text = _blot_behind_names(text)
        text = _BEHIND_SCHEME.sub(r"\1\2***", _IN_URL.sub(r"\1:***@", text))
    return text


def _blot_behind_names(text: str) -> str:
    """Return a text with *** for each value behind a name that says that it is secret."""
    kept, at = [], 0
    for name in _NAME.finditer(text):
        if name.end() < at or not _SECRET_NAME.search(name[1]):
            continue
        value = _VALUE.match(text, name.end())
        if value is not None:
            kept += [text[at : name.end()], "***"]
            at = value.end()
    return "".join((*kept, text[at:]))


class TextLines(logging.Formatter):
    """Lines for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(name)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback where there is one."""
        return without_secrets(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback is a member."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        line |= _members(current()) | getattr(record, _FIELDS, {})
        if record.exc_info:
            line["exception"] = without_secrets(self.formatException(record.exc_info))
        return _encode(line)


def _members(context: Context) -> dict[str, object]:
    found = {
        "request_id": context.request_id,
        "trace_id": context.trace_id,
        "job_id": context.job_id,
        "unit_id": context.unit_id,
        "attempt": context.attempt,
    }
    return {name: value for name, value in found.items() if value}
