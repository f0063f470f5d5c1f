"""Log lines: JSON that says what is worked on, text for people, secrets in neither."""

import io
import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from services.telemetry.context import Context, within
from services.telemetry.logs import JsonLines, TextLines, configure_logs, without_secrets

PLANTED = "s3cr3t-hunter2-A9x"
SECRETS = [
    f"connecting to postgresql+psycopg://intima:{PLANTED}@db:5432/intima",
    f"redis://:{PLANTED}@redis:6379/0 does not answer",
    f"Authorization: Bearer {PLANTED}",
    f"{{'authorization': 'Bearer {PLANTED}'}}",
    f"headers [(b'authorization', b'Basic {PLANTED}')]",
    f"INTIMA_ADMIN_TOKEN={PLANTED}",
    f"INTIMA_S3_SECRET_ACCESS_KEY={PLANTED}",
    f'{{"password": "{PLANTED}"}}',
    f"GET /v1/jobs?access_token={PLANTED}&page_size=3",
    f"url=https://host/?access_token={PLANTED}",
    f"a: b: token: {PLANTED}",
]


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """A logger of its own, in both forms at once: text lines first."""
    stream = io.StringIO()
    logger = logging.getLogger("intima.test")
    logger.propagate = False
    for formatter in (TextLines(), JsonLines()):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.handlers.clear()
    logger.propagate = True


def last(out: io.StringIO) -> dict[str, object]:
    found: dict[str, object] = json.loads(out.getvalue().splitlines()[-1])
    return found


def test_a_json_line_says_what_is_worked_on(out: io.StringIO) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    with within(Context(request_id="req_1", traceparent=trace, job_id="job_1", unit_id="unit_1", attempt=2)):
        logging.getLogger("intima.test").info("did %s", "it\nall", extra={"fields": {"status": 200}})
    line = last(out)
    assert datetime.fromisoformat(str(line.pop("time"))).utcoffset() is not None
    assert line == {
        "level": "info",
        "logger": "intima.test",
        "message": "did it\nall",
        "request_id": "req_1",
        "trace_id": "a" * 32,
        "job_id": "job_1",
        "unit_id": "unit_1",
        "attempt": 2,
        "status": 200,
    }


def test_what_does_not_apply_is_left_out_and_a_traceback_is_a_member(out: io.StringIO) -> None:
    logging.getLogger("intima.test").error("it failed", exc_info=ValueError("no luck"))
    line = last(out)
    assert set(line) == {"time", "level", "logger", "message", "exception"}
    assert str(line["exception"]).endswith("ValueError: no luck")


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_in_no_line(out: io.StringIO, text: str) -> None:
    logging.getLogger("intima.test").warning("%s", text)
    logging.getLogger("intima.test").error("failed", exc_info=RuntimeError(text))
    assert out.getvalue().count("failed") == 2
    assert PLANTED not in out.getvalue()


def test_what_is_no_secret_stays(out: io.StringIO) -> None:
    plain = "GET /v1/jobs/job_0a1b 200 3 ms https://host:8000/a?page_token=abc token expired, tokens=12"
    logging.getLogger("intima.test").info(plain)
    assert "GET /v1/jobs/job_0a1b 200 3 ms https://host:8000/a" in out.getvalue()


@pytest.mark.parametrize(
    "piece", ["token-", "a", "token: ", "a://", "secret=", "bearer ", '"token"', " ", ":", "password_"]
)
def test_no_line_that_a_client_chooses_holds_a_service_up(piece: str) -> None:
    """Patterns that go back took 72 s for 800 characters of the first."""
    long = "token " + piece * (200_000 // len(piece))
    started = time.process_time()
    without_secrets(f"GET /{long} 404")
    assert time.process_time() - started < 1.0


def test_one_configuration_for_all_lines(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure_logs("json")
        configure_logs("json")
        logging.getLogger("uvicorn.error").error("from a library")
        assert len(root.handlers) == 1
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.captureWarnings(False)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["logger"] == "uvicorn.error"
