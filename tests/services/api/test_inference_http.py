"""The Open Inference Protocol over HTTP: the public tritonclient against a real server, and hostile bodies."""

import gzip
import io
import json
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from api_servers import http_server
from PIL import Image
from scipy.special import softmax
from tritonclient.utils import InferenceServerException

from intima.inference import load_model
from intima.registry import DEFAULT_MODEL, resolve
from intima.store import models
from intima.store.storage import Storage, open_storage
from services.api.app import create_app
from services.api.settings import Settings
from tests.builders import COLORS, png, publish_color_model, rings

WORK_PX = 2_000_000
RANDOM = np.random.default_rng(7)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data=tmp_path_factory.mktemp("data"), port=59998, max_request_work_px=WORK_PX)


@pytest.fixture(scope="module")
def store(settings: Settings) -> Iterator[Storage]:
    found = open_storage(settings.data)
    yield found
    found.close()


@pytest.fixture(scope="module")
def ensemble(store: Storage) -> str:
    return publish_color_model(store, name="color-net", mpp=2.0, members=3, precisions=("fp32", "fp16"))


@pytest.fixture(scope="module")
def single(store: Storage) -> str:
    return publish_color_model(store, name="lonely", mpp=None, members=1)


@pytest.fixture(scope="module")
def address(settings: Settings, ensemble: str, single: str) -> Iterator[str]:
    with http_server(create_app(settings)) as found:
        yield found


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address) as found:
        yield found


@pytest.fixture(scope="module")
def web(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{address}", timeout=60) as found:
        yield found


def random_tiles(*shape: int) -> np.ndarray:
    return RANDOM.random(shape, np.float32)


def tiles_input(tiles: np.ndarray, *, binary: bool = True) -> triton.InferInput:
    found = triton.InferInput("tiles", list(tiles.shape), "FP32")
    found.set_data_from_numpy(tiles, binary_data=binary)
    return found


def wanted(*names: str, binary: bool = True) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def test_live_ready_and_metadata(client: triton.InferenceServerClient, store: Storage, ensemble: str) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    server = client.get_server_metadata()
    assert server["name"] == "intima"
    assert "binary_tensor_data" in server["extensions"]
    version = ensemble.partition("@")[2]
    found = client.get_model_metadata("color-net", version)
    assert found["versions"] == [version]
    assert found["platform"] == "onnxruntime_onnx"
    assert found["inputs"] == [{"name": "tiles", "datatype": "FP32", "shape": [-1, 3, -1, -1]}]
    assert {o["name"]: (o["datatype"], o["shape"]) for o in found["outputs"]} == {
        "logits": ("FP32", [-1, 4, -1, -1]),
        "probabilities": ("FP32", [-1, 4, -1, -1]),
        "mask": ("UINT8", [-1, -1, -1]),
        "member_logits": ("FP32", [-1, 3, 4, -1, -1]),
    }
    assert found["properties"]["classes"] == "background,lumen,neointima,media"
    assert (found["properties"]["mpp"], found["properties"]["side_multiple"]) == ("2", "32")
    assert found["properties"]["largest_tile_px"] == str(4 * 256 * 256)
    assert client.is_model_ready("color-net")
    assert client.is_model_ready("phantom-unet", "shipped")
    assert not client.is_model_ready("color-net", "000000000000")
    assert not client.is_model_ready("nobody")
    refs = {f"{m['name']}@{m['version']}" for m in client.get_model_repository_index()}
    assert refs == {ensemble, *(m.ref for m in _all(store))}
    assert {m["state"] for m in client.get_model_repository_index()} == {"READY"}


def _all(store: Storage) -> tuple[Any, ...]:
    with store.reading() as connection:
        return models.list_models(connection)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_answers_are_those_of_the_networks_bit_for_bit(
    client: triton.InferenceServerClient, store: Storage, ensemble: str, binary_in: bool, binary_out: bool
) -> None:
    tiles = random_tiles(3, 3, 64, 96)
    names = ("mask", "member_logits", "probabilities", "logits")
    answer = client.infer(
        "color-net",
        [tiles_input(tiles, binary=binary_in)],
        outputs=wanted(*names, binary=binary_out),
        request_id="slide 7",
    )
    nets = load_model(store, ensemble).nets
    members = [net.predict(tiles) for net in nets]
    np.testing.assert_array_equal(answer.as_numpy("member_logits"), np.stack(members, axis=1))
    mean = softmax(np.stack(members), axis=2).mean(0)
    np.testing.assert_array_equal(answer.as_numpy("probabilities"), mean)
    np.testing.assert_array_equal(answer.as_numpy("logits"), np.log(mean))
    np.testing.assert_array_equal(answer.as_numpy("mask"), mean.argmax(1))
    assert answer.as_numpy("mask").dtype == np.uint8
    assert answer.as_numpy("logits").dtype == np.float32
    head = answer.get_response()
    assert [o["name"] for o in head["outputs"]] == list(names)
    assert (head["id"], head["model_name"], head["model_version"]) == (
        "slide 7",
        "color-net",
        ensemble.partition("@")[2],
    )


def test_logits_of_a_single_network_are_its_own(
    client: triton.InferenceServerClient, store: Storage, single: str
) -> None:
    tiles = random_tiles(2, 3, 32, 32)
    answer = client.infer("lonely", [tiles_input(tiles)])
    (net,) = load_model(store, single).nets
    np.testing.assert_array_equal(answer.as_numpy("logits"), net.predict(tiles))
    np.testing.assert_array_equal(answer.as_numpy("member_logits")[:, 0], net.predict(tiles))


def test_the_shipped_model_answers_as_it_does_on_its_own(client: triton.InferenceServerClient, store: Storage) -> None:
    tiles = random_tiles(2, 3, 128, 96)
    answer = client.infer("phantom-unet", [tiles_input(tiles)], model_version="shipped")
    members = [net.predict(tiles) for net in load_model(store, DEFAULT_MODEL).nets]
    np.testing.assert_array_equal(answer.as_numpy("member_logits"), np.stack(members, axis=1))
    for alone in range(2):
        one = client.infer("phantom-unet@shipped", [tiles_input(tiles[alone : alone + 1])])
        np.testing.assert_array_equal(one.as_numpy("probabilities")[0], answer.as_numpy("probabilities")[alone])
    assert answer.get_response()["model_version"] == resolve(store, DEFAULT_MODEL).version


def test_a_tile_gets_the_mask_that_the_slide_route_serves(
    client: triton.InferenceServerClient, web: httpx.Client
) -> None:
    image = COLORS[rings(256, radii=(40, 60, 80), center=128)]
    noisy = np.clip(image + RANDOM.normal(0, 60, image.shape), 0, 255).astype(np.uint8)
    form = {"model": "color-net", "mpp": "2.0", "uncertainty": "none"}
    served = web.post(
        "/v1/segment", files={"file": ("a.png", png(noisy))}, data=form, headers={"Accept": "image/png"}
    ).raise_for_status()
    tiles = noisy.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    answer = client.infer("color-net", [tiles_input(np.ascontiguousarray(tiles))], outputs=wanted("mask"))
    expected = np.asarray(Image.open(io.BytesIO(served.content)))
    np.testing.assert_array_equal(answer.as_numpy("mask")[0], expected)
    assert set(np.unique(expected)) == {0, 1, 2, 3}


def test_precision_chooses_the_variant(client: triton.InferenceServerClient, store: Storage, ensemble: str) -> None:
    tiles = random_tiles(1, 3, 32, 32)
    found = {}
    for precision in ("fp32", "fp16"):
        answer = client.infer("color-net", [tiles_input(tiles)], parameters={"precision": precision})
        nets = load_model(store, ensemble, precision=precision).nets  # type: ignore[arg-type]
        members = np.stack([net.predict(tiles) for net in nets], axis=1)
        np.testing.assert_array_equal(answer.as_numpy("member_logits"), members)
        assert answer.get_response()["parameters"] == {"precision": precision}
        found[precision] = members
    assert not np.array_equal(found["fp32"], found["fp16"])
    with pytest.raises(InferenceServerException, match="spoils the media") as caught:
        client.infer("color-net", [tiles_input(tiles)], parameters={"precision": "int8"})
    assert caught.value.status() == "400"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_may_be_packed_both_ways(client: triton.InferenceServerClient, coding: str) -> None:
    tiles = random_tiles(1, 3, 64, 64)
    plain = client.infer("color-net", [tiles_input(tiles)])
    packed = client.infer(
        "color-net",
        [tiles_input(tiles)],
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    for name in ("logits", "mask"):
        np.testing.assert_array_equal(packed.as_numpy(name), plain.as_numpy(name))


def test_clients_at_once_get_the_same_bytes(address: str) -> None:
    batches = [random_tiles(2, 3, 64, 64) for _ in range(4)]

    def ask(number: int) -> tuple[int, bytes]:
        with httpx.Client(base_url=f"http://{address}", timeout=60) as one:
            body, headers = binary_body(batches[number % 4])
            answer = one.post("/v2/models/phantom-unet/versions/shipped/infer", content=body, headers=headers)
            assert answer.status_code == 200, answer.text
            return number % 4, answer.content

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(24)))
    by_batch = {number: {content for n, content in answers if n == number} for number in range(4)}
    assert [len(contents) for contents in by_batch.values()] == [1, 1, 1, 1]
    assert len({next(iter(contents)) for contents in by_batch.values()}) == 4


def binary_body(tiles: np.ndarray, **changes: Any) -> tuple[bytes, dict[str, str]]:
    head = {
        "inputs": [
            {
                "name": "tiles",
                "datatype": "FP32",
                "shape": list(tiles.shape),
                "parameters": {"binary_data_size": tiles.nbytes},
            }
            | changes
        ],
        "parameters": {"binary_data_output": True},
    }
    text = json.dumps(head).encode()
    return text + tiles.tobytes(), {"Inference-Header-Content-Length": str(len(text))}


def refused(answer: httpx.Response, status: int, *words: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    for word in words:
        assert word in body["error"]
    return str(body["error"])


INFER = "/v2/models/color-net/infer"


@pytest.mark.parametrize(
    "shape",
    [
        [1, 3, 33, 32],
        [1, 4, 32, 32],
        [3, 32, 32],
        [],
        [0, 3, 32, 32],
        [1, 3, -32, -32],
        [-1, 3, 32, 32],
        [1, 3, 2**31, 2**31],
        [2**40, 3, 2**40, 32],
        [2**62, 4, 2**62, 4],
        [1] * 9,
        [1, 3, 32.0, 32],
        [1, 3, "32", 32],
        [1, 3, True, 32],
        [1, 3, 544, 512],
        [8, 3, 512, 512],
        None,
    ],
)
def test_impossible_shapes_are_refused(web: httpx.Client, shape: object) -> None:
    body, headers = binary_body(np.zeros((1, 3, 32, 32), np.float32), shape=shape)
    refused(web.post(INFER, content=body, headers=headers), 400)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -0.001, 1.001, 255.0, 3e38])
def test_values_that_are_no_colour_are_refused(web: httpx.Client, bad: float) -> None:
    tiles = random_tiles(1, 3, 32, 32)
    tiles[0, 1, 5, 6] = bad
    body, headers = binary_body(tiles)
    refused(web.post(INFER, content=body, headers=headers), 400)


@pytest.mark.parametrize("data", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "1e39", '"0.5"', "true"])
def test_json_that_is_no_number_is_refused(web: httpx.Client, data: str) -> None:
    values = ",".join(["0.5"] * (3 * 32 * 32 - 1) + [data])
    body = f'{{"inputs":[{{"name":"tiles","datatype":"FP32","shape":[1,3,32,32],"data":[{values}]}}]}}'
    refused(web.post(INFER, content=body.encode()), 400)


def test_nested_and_flat_json_are_the_same(web: httpx.Client) -> None:
    tiles = random_tiles(2, 3, 32, 64)
    answers = []
    for data in (tiles.tolist(), tiles.ravel().tolist()):
        body = {"inputs": [{"name": "tiles", "datatype": "FP32", "shape": [2, 3, 32, 64], "data": data}]}
        answers.append(web.post(INFER, json=body).raise_for_status().json())
    assert answers[0] == answers[1]
    assert [o["name"] for o in answers[0]["outputs"]] == ["logits", "probabilities", "mask", "member_logits"]
    ragged = tiles.tolist()
    ragged[1][2][3].pop()
    for data in (ragged, np.moveaxis(tiles, 1, 3).tolist(), [tiles.ravel().tolist()], []):
        body = {"inputs": [{"name": "tiles", "datatype": "FP32", "shape": [2, 3, 32, 64], "data": data}]}
        refused(web.post(INFER, json=body), 400)


@pytest.mark.parametrize("stated", ["-1", "0", "99999999", "1e3", "abc", "", "١٢", "9" * 5000, "10"])
def test_lying_header_lengths_are_refused(web: httpx.Client, stated: str) -> None:
    body, _ = binary_body(random_tiles(1, 3, 32, 32))
    answer = web.post(INFER, content=body, headers={b"Inference-Header-Content-Length": stated.encode()})
    refused(answer, 400)


@pytest.mark.parametrize("size", [-1, 0, 4, 12287, 12289, 2**63, 1.5, "12288", True, None, [12288]])
def test_lying_binary_sizes_are_refused(web: httpx.Client, size: object) -> None:
    body, headers = binary_body(random_tiles(1, 3, 32, 32), parameters={"binary_data_size": size})
    refused(web.post(INFER, content=body, headers=headers), 400)


def test_binary_data_beside_or_instead_of_json_is_refused(web: httpx.Client) -> None:
    tiles = random_tiles(1, 3, 32, 32)
    body, headers = binary_body(tiles, data=tiles.ravel().tolist())
    refused(web.post(INFER, content=body, headers=headers), 400, "no data beside")
    body, headers = binary_body(tiles)
    refused(web.post(INFER, content=body + b"x", headers=headers), 400, "belong to no input")
    refused(web.post(INFER, content=body), 400)
    shm = {"shared_memory_region": "a", "shared_memory_byte_size": 12288}
    body, headers = binary_body(tiles, parameters=shm)
    refused(web.post(INFER, content=body, headers=headers), 400, "shared_memory")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"inputs": []}',
        b'{"inputs": {}}',
        b'{"inputs": [{"name": "tiles"}]}',
        b'{"inputs": [{"name": "\\ud800", "datatype": "FP32", "shape": [1], "data": [1]}]}',
        b'{"inputs": [{"name": "tiles", "datatype": "FP32", "shape": [1,3,32,32]}]}',
        b'{"inputs": [], "parameters": {"\\ud800": []}}',
        b'{"id": 7, "inputs": [{"name": "tiles", "datatype": "FP32", "shape": [1,3,1,1], "data": [0,0,0]}]}',
    ],
)
def test_json_that_is_no_request_is_refused(web: httpx.Client, head: bytes) -> None:
    refused(web.post(INFER, content=head), 400)


@pytest.mark.parametrize("datatype", ["UINT8", "FP64", "FP16", "BYTES", "", "fp32", "BF16"])
def test_other_datatypes_are_refused(web: httpx.Client, datatype: str) -> None:
    body, headers = binary_body(random_tiles(1, 3, 32, 32), datatype=datatype)
    refused(web.post(INFER, content=body, headers=headers), 400, "FP32")


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"outputs": [{"name": "boxes"}]}, "boxes"),
        ({"outputs": [{"name": "mask"}, {"name": "mask"}]}, "twice"),
        ({"outputs": [{"name": "mask", "parameters": {"classification": 3}}]}, "classification"),
        ({"outputs": [{"name": "mask", "parameters": {"binary_data": 1}}]}, "true or false"),
        ({"parameters": {"binary_data_output": "yes"}}, "true or false"),
        ({"parameters": {"precision": "fp64"}}, "fp64"),
        ({"parameters": {"precison": "fp16"}}, "precison"),
        ({"parameters": {"sequence_id": 7}}, "sequence_id"),
        ({"id": "x" * 257}, "257"),
    ],
)
def test_wishes_nobody_can_fulfil_are_refused(web: httpx.Client, more: dict[str, Any], word: str) -> None:
    body = {"inputs": [{"name": "tiles", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": [0.5] * 3072}]}
    refused(web.post(INFER, json=body | more), 400, word)


def test_unknown_models_and_paths_are_404(web: httpx.Client, ensemble: str) -> None:
    body, headers = binary_body(random_tiles(1, 3, 32, 32))
    for path in (
        "/v2/models/nobody/infer",
        "/v2/models/color-net/versions/000000000000/infer",
        "/v2/models/color-net%00/infer",
    ):
        refused(web.post(path, content=body, headers=headers), 404, "no model")
    for path in ("/v2/models/nobody", "/v2/models/nobody/ready", "/v2/models/color-net/config", "/v2/nothing"):
        refused(web.get(path), 404)
    refused(web.get("/v2/models/color-net/infer"), 404)
    refused(web.get(f"/v2/models/{ensemble}/versions/{ensemble.partition('@')[2]}"), 400)
    refused(web.post("/v2/repository/models/color-net/load"), 400)
    refused(web.post("/v2/repository/index", json={"ready": []}), 400)
    assert web.get("/v1/models/nobody").headers["content-type"] == "application/problem+json"


def test_packed_bombs_and_broken_streams_are_refused(web: httpx.Client, settings: Settings) -> None:
    small = Settings(data=settings.data, port=59998, max_upload_bytes=200_000)
    body, headers = binary_body(random_tiles(1, 3, 32, 32))
    for coding, data in (
        ("gzip", gzip.compress(body)[:-20]),
        ("gzip", zlib.compress(body)),
        ("deflate", gzip.compress(body)),
        ("gzip", gzip.compress(body) + b"x"),
        ("gzip", b""),
    ):
        refused(web.post(INFER, content=data, headers=headers | {"Content-Encoding": coding}), 400, coding)
    refused(web.post(INFER, content=body, headers=headers | {"Content-Encoding": "br"}), 415, "br")
    with http_server(create_app(small)) as address:
        url = f"http://{address}{INFER}"
        bomb = gzip.compress(b"0" * 50_000_000)
        assert len(bomb) < 60_000
        refused(httpx.post(url, content=bomb, headers=headers | {"Content-Encoding": "gzip"}), 413, "200000")
        refused(httpx.post(url, content=b"0" * 200_001), 413, "200000")

        def endless() -> Iterator[bytes]:
            yield from (b"0" * 10_000 for _ in range(21))

        refused(httpx.post(url, content=endless()), 413, "200000")


def test_too_much_work_names_the_limit(web: httpx.Client) -> None:
    body, headers = binary_body(np.zeros((3, 3, 512, 512), np.float32))
    refused(web.post(INFER, content=body, headers=headers), 400, str(WORK_PX), "fewer tiles")


def test_a_model_whose_files_are_gone_is_not_ready(
    client: triton.InferenceServerClient, web: httpx.Client, store: Storage
) -> None:
    publish_color_model(store, name="gone", mpp=None, members=5)
    with store.reading() as connection:
        last = models.get_model(connection, "gone").card.members[-1]
    Path(store.blobs.path(last.onnx_sha256)).unlink()
    assert not client.is_model_ready("gone")
    refused(web.get("/v2/models/gone/ready"), 503)
    (state,) = {m["state"] for m in client.get_model_repository_index() if m["name"] == "gone"}
    assert state == "UNAVAILABLE"
    assert "gone" not in {m["name"] for m in web.post("/v2/repository/index", json={"ready": True}).json()}
    body, headers = binary_body(random_tiles(1, 3, 32, 32))
    answer = web.post("/v2/models/gone/infer", content=body, headers=headers)
    assert 400 <= answer.status_code < 600
    assert answer.status_code != 500
    assert set(answer.json()) == {"error"}


def test_a_client_that_leaves_in_the_middle_harms_nobody(address: str, web: httpx.Client) -> None:
    host, port = address.split(":")
    for _ in range(3):
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(b"POST " + INFER.encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    body, headers = binary_body(random_tiles(1, 3, 32, 32))
    assert web.post(INFER, content=body, headers=headers).status_code == 200


def test_a_busy_server_says_so(
    address: str, client: triton.InferenceServerClient, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr("services.api.inferring.SLOT_WAIT_S", 0.05)
    app = create_app(settings)
    with http_server(app) as other:
        slots = app.state.intima.slots
        held = 0
        while slots.acquire(blocking=False):
            held += 1
        body, headers = binary_body(random_tiles(1, 3, 32, 32))
        answer = httpx.post(f"http://{other}{INFER}", content=body, headers=headers)
        refused(answer, 503, "busy")
        assert answer.headers["retry-after"]
        for _ in range(held):
            slots.release()
        assert httpx.post(f"http://{other}{INFER}", content=body, headers=headers).status_code == 200
    assert threading.active_count() < 200


def test_the_description_names_the_protocol(web: httpx.Client) -> None:
    text = web.get("/openapi.json").json()
    assert {"/v2", "/v2/health/ready", "/v2/models/{name}/versions/{version}/infer"} <= set(text["paths"])
    operations = [o["operationId"] for p in text["paths"].values() for o in p.values()]
    assert len(operations) == len(set(operations))
