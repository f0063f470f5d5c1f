"""Differences behind the api: one count per pair and at a time, waiting that ends, work that nobody wants ends too."""

import asyncio
import threading
import time

import pytest

from intima.contracts.difference import Difference
from intima.errors import Invalid, Unavailable
from services.api import counting as module
from services.api.counting import Counting, GoOn


def answer(name: str) -> Difference:
    return Difference.model_construct(a=name)


class Counter:
    """Counts nothing, and how often it was asked to."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.counted: list[str] = []
        self.left: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self._error = error

    def of(self, name: str) -> module.Count:
        def count(go_on: GoOn) -> Difference:
            while not self.go.wait(0.01):
                try:
                    go_on()
                except Unavailable:
                    self.left.append(name)
                    raise
            self.counted.append(name)
            if self._error is not None:
                raise self._error
            return answer(name)

        return count


def get(counting: Counting, counter: Counter, name: str = "a") -> str:
    return asyncio.run(counting.get(name, counter.of(name))).a


def refusal(counting: Counting, counter: Counter, name: str = "a") -> Unavailable:
    with pytest.raises(Unavailable) as raised:
        get(counting, counter, name)
    return raised.value


def eventually(what: object, wanted: object) -> None:
    until = time.monotonic() + 30
    while what != wanted and time.monotonic() < until:
        time.sleep(0.01)
    assert what == wanted


def test_many_who_ask_at_once_share_one_count_and_later_ones_its_answer() -> None:
    counter, counting = Counter(), Counting()

    async def ask() -> list[Difference]:
        return await asyncio.gather(*(counting.get("a", counter.of("a")) for _ in range(20)))

    assert {found.a for found in asyncio.run(ask())} == {"a"}
    assert get(counting, counter) == "a"
    assert counter.counted == ["a"]


def test_who_waits_too_long_is_told_to_ask_again_and_the_work_goes_on() -> None:
    counter, counting = Counter(), Counting(wait_s=0.02)
    counter.go.clear()
    for name in "aab":
        error = refusal(counting, counter, name)
        assert (error.code, error.retry_after_s) == ("difference_in_making", 3.0)
    counter.go.set()
    counting._wait_s = 30.0
    assert [get(counting, counter, name) for name in "ab"] == ["a", "b"]
    assert sorted(counter.counted) == ["a", "b"]


def test_what_nobody_asks_for_any_more_ends_and_is_begun_anew_when_asked_for() -> None:
    counter, counting = Counter(), Counting(wait_s=0.02, left_s=0.2)
    counter.go.clear()
    refusal(counting, counter)
    eventually(counter.left, ["a"])
    counter.go.set()
    counting._wait_s, counting._left_s = 30.0, 60.0
    assert get(counting, counter) == "a"


def test_a_failure_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    counter, counting = Counter(error=Invalid("Damaged.", code="unreadable_image")), Counting()
    for _ in range(3):
        with pytest.raises(Invalid, match="Damaged"):
            get(counting, counter)
    assert len(counter.counted) == 1
    monkeypatch.setattr(module, "FAILURE_S", -1.0)
    with pytest.raises(Invalid):
        get(counting, counter)
    assert len(counter.counted) == 2


def test_one_pair_at_a_time_is_counted_few_wait_and_some_answers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    monkeypatch.setattr(module, "MOST_KEPT", 1)
    counter, counting = Counter(), Counting(wait_s=0.02)
    counter.go.clear()
    assert [refusal(counting, counter, name).code for name in "abca"] == ["difference_in_making"] * 2 + [
        "busy",
        "difference_in_making",
    ]
    assert counting._counter.locked()
    counter.go.set()
    counting._wait_s = 30.0
    assert [get(counting, counter, name) for name in "abc"] == ["a", "b", "c"]
    assert set(counter.counted) == {"a", "b", "c"}
    assert len(counting._entries) <= 2
