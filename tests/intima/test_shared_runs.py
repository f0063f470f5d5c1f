"""Callers that share runs of a network get what they would get alone."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intima.arrays import LogitBatch, TileBatch
from intima.errors import Invalid, Unavailable
from intima.inference import load_onnx
from intima.shared_runs import SharedRuns
from tests.builders import color_net


def tiles_of(*values: float, side: int = 4) -> TileBatch:
    return np.stack([np.full((3, side, side), value, np.float32) for value in values])


class Gate:
    """A network that notes its runs and waits until it may go on."""

    def __init__(self, *, is_open: bool = False) -> None:
        self.runs: list[list[float]] = []
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)
        if is_open:
            self.gate.set()

    def predict(self, tiles: TileBatch) -> LogitBatch:
        self.runs.append([float(tile.flat[0]) for tile in tiles])
        self.started.release()
        assert self.gate.wait(20)
        if (tiles < 0).any():
            raise RuntimeError(f"bad tile {tiles.min():g}")
        return tiles[:, :2] * 10


def in_threads(*work: Callable[[], LogitBatch]) -> list[threading.Thread]:
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
        time.sleep(0.03)
    return threads


def test_one_alone_runs_at_once() -> None:
    net = Gate(is_open=True)
    shared = SharedRuns(net.predict, most_px=4 * 16)
    found = shared.predict(tiles_of(*range(10)))
    assert [float(one.flat[0]) for one in found] == [10.0 * n for n in range(10)]
    assert net.runs == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_those_that_wait_together_run_together_and_share_alike() -> None:
    net = Gate()
    shared = SharedRuns(net.predict, most_px=4 * 16)
    first = in_threads(lambda: shared.predict(tiles_of(0)))
    assert net.started.acquire(timeout=5)
    rest = in_threads(
        lambda: shared.predict(tiles_of(*range(100, 108))),
        lambda: shared.predict(tiles_of(200)),
        lambda: shared.predict(tiles_of(300, 301)),
    )
    net.gate.set()
    for thread in first + rest:
        thread.join(20)
    assert net.runs[0] == [0]
    assert net.runs[1] == [100, 200, 300, 101], "one of each in turn, not eight of the first"
    assert [*chain(*net.runs)].count(301) == 1
    assert sorted([*chain(*net.runs)]) == sorted([0, *range(100, 108), 200, 300, 301])


def test_shapes_do_not_mix() -> None:
    net = Gate()
    shared = SharedRuns(net.predict, most_px=10**6)
    first = in_threads(lambda: shared.predict(tiles_of(0)))
    assert net.started.acquire(timeout=5)
    rest = in_threads(lambda: shared.predict(tiles_of(1, side=8)), lambda: shared.predict(tiles_of(2)))
    net.gate.set()
    for thread in first + rest:
        thread.join(20)
    assert net.runs == [[0], [1], [2]]


def test_a_tile_larger_than_a_run_runs_alone() -> None:
    net = Gate(is_open=True)
    SharedRuns(net.predict, most_px=10).predict(tiles_of(1, 2))
    assert net.runs == [[1], [2]]


def test_who_leaves_takes_its_tiles_along() -> None:
    net = Gate()
    shared = SharedRuns(net.predict, most_px=16)
    first = in_threads(lambda: shared.predict(tiles_of(0)))
    assert net.started.acquire(timeout=5)
    left = threading.Event()

    def leave() -> LogitBatch:
        with pytest.raises(Unavailable) as caught:
            shared.predict(tiles_of(7, 7, 7), stays=lambda: not left.is_set())
        assert caught.value.code == "caller_left"
        return tiles_of(7)

    rest = in_threads(leave, lambda: shared.predict(tiles_of(1)))
    left.set()
    rest[0].join(5)
    assert not rest[0].is_alive(), "though the network is busy"
    net.gate.set()
    for thread in first + rest:
        thread.join(20)
    assert [*chain(*net.runs)] == [0, 1]


def test_an_error_is_that_of_its_own_caller() -> None:
    net = Gate()
    shared = SharedRuns(net.predict, most_px=10**6)
    first = in_threads(lambda: shared.predict(tiles_of(0)))
    assert net.started.acquire(timeout=5)
    fine: list[LogitBatch] = []

    def fail() -> LogitBatch:
        with pytest.raises(RuntimeError, match="bad tile -5"):
            shared.predict(tiles_of(4, -5))
        return tiles_of(0)

    rest = in_threads(fail, lambda: fine.append(shared.predict(tiles_of(1, 2))) or tiles_of(0))
    net.gate.set()
    for thread in first + rest:
        thread.join(20)
    assert [float(one.flat[0]) for one in fine[0]] == [10, 20]
    assert float(shared.predict(tiles_of(6)).flat[0]) == 60, "and it goes on working"


def test_a_network_that_answers_too_few_leaves_nobody_waiting() -> None:
    shared = SharedRuns(lambda tiles: tiles[:-1, :2], most_px=10**6)
    with pytest.raises(Invalid, match="0 tiles for 1"):
        shared.predict(tiles_of(1, 2))


def test_no_more_runs_at_once_than_allowed() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def predict(tiles: TileBatch) -> LogitBatch:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return tiles[:, :2]

    shared = SharedRuns(predict, most_px=2 * 16, at_once=2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: shared.predict(tiles_of(n, n, n)), range(24)))
    assert most == 2


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from([32, 64])), min_size=1, max_size=8), st.integers(1, 6))
def test_a_real_network_says_the_same_bits_in_company(calls: list[tuple[int, int]], tiles_per_run: int) -> None:
    net = load_onnx(color_net(jitter=0.01)).predict
    shared = SharedRuns(net, most_px=tiles_per_run * 64 * 64, at_once=2)
    rng = np.random.default_rng(0)
    asked = [rng.random((count, 3, side, side), np.float32) for count, side in calls]
    with ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(shared.predict, asked))
    for tiles, logits in zip(asked, found, strict=True):
        assert np.array_equal(logits, np.concatenate([net(tile[None]) for tile in tiles]))
