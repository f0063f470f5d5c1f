"""Trace contexts that come from outside, and what belongs to a block only."""

import pytest

from services.telemetry.context import Context, current, new_traceparent, read_traceparent, within

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", f"00-{TRACE}-{SPAN}-01"),
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{'0' * 32}-{SPAN}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE.upper()}-{SPAN}-01", ""),
        (f"00-{TRACE}-{SPAN}", ""),
        ("x" * 5000, ""),
        ("", ""),
    ],
)
def test_only_a_traceparent_is_one(sent: str, read: str) -> None:
    assert read_traceparent(sent) == read


def test_a_trace_of_ours_is_a_traceparent_too() -> None:
    made = new_traceparent()
    assert read_traceparent(made) == made
    assert made != new_traceparent()


def test_a_block_has_its_context_and_gives_it_back() -> None:
    before = current()
    with within(Context(traceparent=f"00-{TRACE}-{SPAN}-01", attempt=2)):
        assert (current().trace_id, current().attempt) == (TRACE, 2)
    assert current() == before
