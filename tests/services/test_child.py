"""What a runner hears of its children."""

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from services.child import Child, Failure, Result


class EndsWhileLookedAt:
    """A process that speaks and ends between the look into its pipe and the look at its status."""

    def __init__(self, theirs: Connection, sentinel: int, *, says: Result | None) -> None:
        self._theirs, self.sentinel, self._says = theirs, sentinel, says

    @property
    def exitcode(self) -> int:
        if self._says is not None and not self._theirs.closed:
            self._theirs.send(self._says)
        self._theirs.close()
        return 0


@pytest.fixture
def sentinel() -> Iterator[int]:
    """A descriptor that never becomes ready."""
    ours, theirs = os.pipe()
    yield ours
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("says", [Result('{"a": 1}'), None])
def test_a_last_word_is_heard_though_the_process_has_ended(sentinel: int, says: Result | None) -> None:
    ours, theirs = multiprocessing.Pipe()
    process: Any = EndsWhileLookedAt(theirs, sentinel, says=says)
    with ours:
        heard = Child(process, ours).receive(0)
    if says is None:
        assert isinstance(heard, Failure)
        assert heard.code == "exited"
    else:
        assert heard == says
