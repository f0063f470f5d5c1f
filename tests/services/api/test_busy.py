"""An api whose slots are all taken: short requests go on, a few calls wait, the others are told to come back."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import httpx
import numpy as np
import pytest
from api_rpc import DEADLINE_S, rpc_server
from api_servers import http_server
from fastapi import FastAPI

from intima.errors import Unavailable
from services.api.app import create_app
from services.api.dependencies import MOST_WAITING, SLOTS, State
from services.api.settings import Settings
from services.api.turns import Turns
from services.wire.v1 import open_inference_pb2 as pb
from services.wire.v1 import open_inference_pb2_grpc as pb_grpc
from tests.builders import COLORS, png, publish_color_model, rings

TILES = np.zeros((1, 3, 32, 32), np.float32)
QUESTION = {"inputs": [{"name": "tiles", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": TILES.ravel().tolist()}]}
INFER = "/v2/models/color-net/infer"
FLOOD = MOST_WAITING + SLOTS + 30


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return create_app(Settings(data=tmp_path_factory.mktemp("data"), port=59996))


@pytest.fixture(scope="module")
def address(app: FastAPI) -> Iterator[str]:
    with http_server(app) as found:
        publish_color_model(app.state.intima.storage, name="color-net", mpp=2.0)
        yield f"http://{found}"


@pytest.fixture
def state(app: FastAPI, address: str) -> State:
    found: State = app.state.intima
    return found


@contextmanager
def every_slot_taken(state: State) -> Iterator[None]:
    held = 0
    while state.slots.acquire(blocking=False):
        held += 1
    assert held == SLOTS, "an earlier test kept a slot"
    try:
        yield
    finally:
        for _ in range(held):
            state.slots.release()


def infer(address: str, _number: int) -> httpx.Response:
    return httpx.post(f"{address}{INFER}", json=QUESTION, timeout=60)


def segment(address: str, number: int) -> httpx.Response:
    """Segment an image of its own for every number."""
    image = COLORS[rings()]
    image[0, 0] = (number, 0, 240)
    form = {"model": "color-net", "mpp": "2.0", "uncertainty": "none"}
    return httpx.post(f"{address}/v1/segment", files={"file": ("a.png", png(image))}, data=form, timeout=60)


@pytest.mark.parametrize("ask", [infer, segment])
def test_short_requests_go_on_beside_calls_that_wait(
    ask: Callable[[str, int], httpx.Response], address: str, state: State
) -> None:
    with ThreadPoolExecutor(45) as pool:
        with every_slot_taken(state):
            calls = [pool.submit(ask, address, n % 3) for n in range(45)]
            time.sleep(2.0)
            assert not any(call.done() for call in calls)
            for path in ("/livez", "/v2/health/live", "/v1/segmentations", "/v1/models"):
                started = time.monotonic()
                assert httpx.get(f"{address}{path}", timeout=20).status_code == 200
                assert time.monotonic() - started < 3, path
        assert {call.result().status_code for call in calls} == {200}


def test_calls_beyond_those_that_can_wait_are_told_to_come_back_at_once(address: str, state: State) -> None:
    with ThreadPoolExecutor(FLOOD) as pool:
        with every_slot_taken(state):
            calls = [pool.submit(infer, address, n) for n in range(FLOOD)]
            deadline = time.monotonic() + 20
            while sum(call.done() for call in calls) < 28:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            early = [call.result() for call in calls if call.done()]
        answers = [call.result() for call in calls]
    assert {a.status_code for a in early} == {503}
    assert all("busy" in a.text and a.headers["retry-after"] for a in early)
    assert {a.status_code for a in answers} == {200, 503}
    assert sum(a.status_code == 200 for a in answers) == MOST_WAITING + SLOTS + 2


def test_a_call_waits_for_its_turn_no_longer_than_it_should(
    address: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.api.inferring.SLOT_WAIT_S", 0.3)
    monkeypatch.setattr("services.api.segmenting.WAIT_S", 0.3)
    with every_slot_taken(state), ThreadPoolExecutor(20) as pool:
        for ask in (infer, segment):
            answers = list(pool.map(ask, [address] * 10, [9] * 10))
            assert {a.status_code for a in answers} == {503}
            assert all("busy" in a.text for a in answers)
    assert infer(address, 0).status_code == segment(address, 9).status_code == 200


def test_both_doors_together_compute_no_more_than_the_slots(
    address: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def counted(*_given: object, **_named: object) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        raise Unavailable("Counted.", code="counted")

    monkeypatch.setattr("services.api.routes.inference.infer", counted)
    monkeypatch.setattr("services.api.rpc.inference.infer", counted)
    monkeypatch.setattr("services.api.segmenting._run", counted)
    with rpc_server(state) as rpc, grpc.insecure_channel(rpc) as channel, ThreadPoolExecutor(30) as pool:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        over_grpc = [stub.ModelInfer.future(pb.ModelInferRequest(), timeout=DEADLINE_S) for _ in range(10)]
        over_rest = [pool.submit(ask, address, 100 + n) for n in range(10) for ask in (infer, segment)]
        assert all("Counted." in call.result().text for call in over_rest)
        assert all("Counted." in str(call.exception()) for call in over_grpc)
    assert 1 <= most <= SLOTS


async def _asked(turns: Turns, times: int, wait_s: float) -> list[object]:
    calls = [turns.run(lambda: time.sleep(0.2), wait_s=wait_s) for _ in range(times)]
    return list(await asyncio.gather(*calls, return_exceptions=True))


def test_turns_refuse_what_finds_the_queue_full_and_what_waits_too_long() -> None:
    async def run() -> tuple[list[object], list[object], list[object]]:
        turns = Turns(threads=1, most_waiting=2)
        return await _asked(turns, 5, 10), await _asked(turns, 3, 0.3), await _asked(turns, 3, 10)

    full, late, after = asyncio.run(run())
    assert [isinstance(f, Unavailable) for f in full] == [False, False, False, True, True]
    assert [late[0], isinstance(late[2], Unavailable)] == [None, True]
    assert after == [None, None, None], "nothing keeps a turn it never had"


def test_a_turn_is_given_back_when_the_work_fails() -> None:
    async def run() -> list[object]:
        turns = Turns(threads=1, most_waiting=3)

        def fail() -> None:
            raise ValueError("no")

        calls = [turns.run(fail, wait_s=1) for _ in range(4)]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    assert [type(found) for found in asyncio.run(run())] == [ValueError] * 4
