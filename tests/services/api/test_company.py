"""Requests that share runs of a network, and requests whose client goes away."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from api_servers import http_server
from fastapi import FastAPI

from intima.arrays import LogitBatch, TileBatch
from intima.shared_runs import SharedRuns
from intima.store.models import get_model
from services.api.app import create_app
from services.api.dependencies import State
from services.api.settings import Settings
from tests.builders import COLORS, png, publish_color_model, rings

INFER = "/v2/models/color-net/infer"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return create_app(Settings(data=tmp_path_factory.mktemp("data"), port=59995, tiles_per_run=2))


@pytest.fixture(scope="module")
def address(app: FastAPI) -> Iterator[str]:
    with http_server(app) as found:
        publish_color_model(app.state.intima.storage, name="color-net", mpp=2.0)
        yield found


@pytest.fixture
def state(app: FastAPI, address: str) -> State:
    found: State = app.state.intima
    return found


def question(tiles: TileBatch) -> dict[str, Any]:
    tensor = {"name": "tiles", "datatype": "FP32", "shape": list(tiles.shape), "data": tiles.ravel().tolist()}
    return {"inputs": [tensor], "outputs": [{"name": "member_logits"}]}


def answer(address: str, tiles: TileBatch) -> np.ndarray:
    found = httpx.post(f"http://{address}{INFER}", json=question(tiles), timeout=60)
    assert found.status_code == 200, found.text
    (output,) = found.json()["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def watched(state: State, monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> list[int]:
    """Hold every run of the first network until the gate opens; returns how many tiles each had."""
    with state.storage.reading() as connection:
        ref = get_model(connection, "color-net").ref
    shared: SharedRuns = state.models.ready(ref).shared[0]
    honest: Callable[[TileBatch], LogitBatch] = shared._predict
    runs: list[int] = []

    def predict(tiles: TileBatch) -> LogitBatch:
        runs.append(len(tiles))
        assert gate.wait(20)
        return honest(tiles)

    monkeypatch.setattr(shared, "_predict", predict)
    return runs


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_requests_share_runs_and_get_their_own_bits(
    address: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    runs = watched(state, monkeypatch, gate)
    asked = [np.random.default_rng(n).random((count, 3, 64, 64), np.float32) for n, count in enumerate((34, 3))]
    with ThreadPoolExecutor(len(asked)) as pool:
        found = [pool.submit(answer, address, asked[0])]
        wait_for(lambda: runs)
        found.append(pool.submit(answer, address, asked[1]))
        wait_for(lambda: len(state.models.ready(model_ref(state)).shared[0]._waiting) == 2)
        gate.set()
        answers = [f.result() for f in found]
    assert runs == [32, 5], "a run takes 2 x 256 x 256 pixels, the second of both requests"
    for tiles, got in zip(asked, answers, strict=True):
        alone = [net.predict(tiles) for net in state.models.get(model_ref(state)).nets]
        assert np.array_equal(got, np.stack(alone, axis=1))


def model_ref(state: State) -> str:
    with state.storage.reading() as connection:
        return get_model(connection, "color-net").ref


def leave(raw: socket.socket) -> None:
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def post_raw(address: str, path: str, request: httpx.Request) -> socket.socket:
    """Send a whole request, and return the connection its answer would come on."""
    host, port = address.split(":")
    raw = socket.create_connection((host, int(port)))
    head = "".join(f"{k}: {v}\r\n" for k, v in request.headers.items())
    raw.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + request.read())
    return raw


def test_tiles_of_a_client_that_leaves_do_not_run(address: str, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    runs = watched(state, monkeypatch, gate)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(answer, address, np.zeros((1, 3, 32, 32), np.float32))
        wait_for(lambda: runs)
        request = httpx.Request("POST", f"http://{address}{INFER}", json=question(np.ones((5, 3, 64, 64), np.float32)))
        raw = post_raw(address, INFER, request)
        shared = state.models.ready(model_ref(state)).shared[0]
        wait_for(lambda: len(shared._waiting) == 1)
        leave(raw)
        wait_for(lambda: not shared._waiting)
        gate.set()
        first.result()
    assert runs == [1]
    wait_for(lambda: slots_free(state))


def slots_free(state: State) -> bool:
    if not state.slots.acquire(blocking=False):
        return False
    state.slots.release()
    return True


def test_a_small_image_whose_client_leaves_is_canceled(address: str, state: State) -> None:
    picture = png(COLORS[np.tile(rings(), (4, 4))])
    form = {"model": "color-net", "mpp": "2.0", "uncertainty": '{"sampler": "tta", "passes": 4}'}
    request = httpx.Request("POST", f"http://{address}/v1/segment", data=form, files={"file": ("a.png", picture)})
    raw = post_raw(address, "/v1/segment", request)
    with httpx.Client(base_url=f"http://{address}") as web:
        jobs: list[dict[str, Any]] = []

        def running() -> bool:
            jobs[:] = web.get("/v1/jobs").json()["items"]
            return bool(jobs) and jobs[0]["state"] == "running"

        wait_for(running)
        leave(raw)
        wait_for(lambda: web.get(f"/v1/jobs/{jobs[0]['id']}").json()["state"] == "canceled")
    wait_for(lambda: slots_free(state))
