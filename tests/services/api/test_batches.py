"""Batches over HTTP: partial success, retry, cancel, and what comes of restarts."""

import csv
import io
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from servers import create_database

from intima.store import catalog
from intima.store.storage import Storage
from services.api.app import create_app
from services.api.settings import Settings
from services.runner import run_local
from tests.builders import COLORS, png, publish_color_model, rings

END = {"succeeded", "incomplete", "failed", "canceled"}


def upload(client: TestClient, inner: int, **form: str) -> str:
    image = COLORS[rings(160, radii=(inner, 40, 60), center=80)]
    answer = client.post("/v1/slides", files={"file": (f"r{inner}.png", png(image))}, data=form)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def body(model: str, *slides: str, **segmentation: Any) -> dict[str, Any]:
    request = {"model": model, "uncertainty": {"sampler": "none"}} | segmentation
    return {"slides": list(slides), "segmentation": request}


def start(client: TestClient, model: str, *slides: str, key: str | None = None, **more: Any) -> dict[str, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = client.post("/v1/batches", json=body(model, *slides, **more), headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/batches/{answer.json()['id']}"
    view: dict[str, Any] = answer.json()
    return view


def ended(client: TestClient, batch: str, timeout_s: float = 120.0) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        view: dict[str, Any] = client.get(f"/v1/batches/{batch}").json()
        if view["state"] in END:
            return view
        time.sleep(0.1)
    raise AssertionError(f"not ended: {view}")


@contextmanager
def running(storage: Storage) -> Iterator[None]:
    stop = threading.Event()
    options = {"queues": ["inference"], "slots": 1, "stop": stop}
    thread = threading.Thread(target=run_local, args=(storage,), kwargs=options)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def states(view: dict[str, Any]) -> list[str]:
    return [item["state"] for item in view["items"]]


def bytes_of(storage: Storage, slide: str) -> Path:
    with storage.reading() as connection:
        return storage.blobs.path(catalog.get_slide(connection, slide).sha256)


def test_what_can_be_segmented_is_and_the_rest_says_why(client: TestClient, storage: Storage, model: str) -> None:
    good, gone, sizeless = upload(client, 20, mpp="2.0"), upload(client, 21, mpp="2.0"), upload(client, 22)
    kept = bytes_of(storage, gone)
    aside = kept.with_suffix(".aside")
    view = start(client, model, good, "sld_none", sizeless, gone)
    assert states(view) == ["queued", "refused", "refused", "queued"]
    assert [i["error"] and i["error"]["code"] for i in view["items"]] == [
        None,
        "slide_not_found",
        "missing_pixel_size",
        None,
    ]
    assert view["items"][1]["slide_name"] is None
    assert view["items"][2]["slide_name"] == "r22.png"
    assert view["items"][2]["error"]["hint"]
    kept.rename(aside)
    with running(storage):
        view = ended(client, view["id"])
        assert view["state"] == "incomplete"
        assert view["counts"] == dict.fromkeys(("queued", "running", "canceled"), 0) | {
            "succeeded": 1,
            "failed": 1,
            "refused": 2,
        }
        assert view["fraction"] == 1
        done = view["items"][0]
        assert client.get(f"/v1/segmentations/{done['segmentation']}").json()["state"] == "succeeded"
        aside.rename(kept)
        again = client.post(f"/v1/batches/{view['id']}/retry")
        assert again.status_code == 202, again.text
        assert again.json()["items"][0] == done, "what is done stays done"
        view = ended(client, view["id"])
    assert states(view) == ["succeeded", "refused", "refused", "succeeded"]
    rows = list(csv.DictReader(io.StringIO(client.get("/v1/measures.csv", params={"batch": view["id"]}).text)))
    assert {row["slide_name"] for row in rows} == {"r20.png", "r21.png"}
    means = client.get("/v1/subject_means.csv", params={"batch": view["id"]})
    assert means.status_code == 200


def test_a_batch_of_what_is_done_is_done_at_once(client: TestClient, storage: Storage, model: str) -> None:
    slides = [upload(client, n, mpp="2.0") for n in (25, 26)]
    with running(storage):
        first = ended(client, start(client, model, *slides)["id"])
    second = start(client, model, *slides)
    assert second["state"] == "succeeded"
    assert second["id"] != first["id"]
    assert [i["segmentation"] for i in second["items"]] == [i["segmentation"] for i in first["items"]]


def test_an_alias_that_moves_does_not_mix_models(client: TestClient, storage: Storage) -> None:
    publish_color_model(storage, name="moving", mpp=2.0)
    slide = upload(client, 27, mpp="2.0")
    view = start(client, "moving", slide, "sld_none")
    assert "@" in view["segmentation"]["model"]


def test_nothing_is_stored_where_no_slide_can_start(client: TestClient, model: str) -> None:
    known = client.get("/v1/batches").json()["items"]
    sizeless = upload(client, 28)
    answer = client.post("/v1/batches", json=body(model, "sld_none", sizeless), headers={"Idempotency-Key": "none"})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "nothing_to_segment"
    assert [e["pointer"] for e in problem["errors"]] == ["/slides/0", "/slides/1"]
    assert client.get("/v1/batches").json()["items"] == known
    assert client.post("/v1/batches", json=body(model, upload(client, 29, mpp="2"))).status_code == 202


@pytest.mark.parametrize(
    ("slides", "status"),
    [([], 422), (["a", "a"], 422), ([f"s{n}" for n in range(501)], 422), (["x" * 49], 422), ([1], 422), ("abc", 422)],
)
def test_bad_lists_are_refused(client: TestClient, model: str, slides: Any, status: int) -> None:
    answer = client.post("/v1/batches", json={"slides": slides, "segmentation": {"model": model}})
    assert answer.status_code == status
    assert answer.json()["errors"]


def test_unknown_things_are_not_found(client: TestClient, model: str) -> None:
    slide = upload(client, 20, mpp="2.0")
    assert client.post("/v1/batches", json=body("no-such-model", slide)).status_code == 404
    for ask in (client.get, lambda u: client.post(u + "/retry"), lambda u: client.post(u + "/cancel")):
        answer = ask("/v1/batches/bat_none")
        assert answer.status_code == 404
        assert answer.json()["code"] == "batch_not_found"
    assert client.get("/v1/measures.csv", params={"batch": "bat_none"}).status_code == 404


def test_a_key_starts_one_batch(client: TestClient, model: str) -> None:
    slides = [upload(client, n, mpp="2.0") for n in (31, 32)]
    first, second = (start(client, model, *slides, key="k1") for _ in range(2))
    assert first["id"] == second["id"]
    other = client.post("/v1/batches", json=body(model, slides[0]), headers={"Idempotency-Key": "k1"})
    assert other.status_code == 409
    assert other.json()["code"] == "idempotency_key_reused"


def test_cancel_leaves_what_others_want(client: TestClient, storage: Storage, model: str) -> None:
    slides = [upload(client, n, mpp="2.0") for n in (33, 34, 35)]
    view = start(client, model, *slides)
    wanted = client.post(f"/v1/slides/{slides[1]}/segmentations", json=body(model)["segmentation"])
    assert wanted.json()["job"] == view["items"][1]["job"]
    view = client.post(f"/v1/batches/{view['id']}/cancel").json()
    assert states(view) == ["canceled", "queued", "canceled"]
    assert client.post(f"/v1/batches/{view['id']}/cancel").json() == view, "again changes nothing"
    with running(storage):
        assert states(ended(client, view["id"])) == ["canceled", "succeeded", "canceled"]
        client.post(f"/v1/batches/{view['id']}/retry")
        assert ended(client, view["id"])["state"] == "succeeded"


def test_two_batches_of_the_same_slides_are_canceled_by_both(client: TestClient, model: str) -> None:
    slides = [upload(client, n, mpp="2.0") for n in (36, 37)]
    first, second = (start(client, model, *slides) for _ in range(2))
    assert [i["job"] for i in first["items"]] == [i["job"] for i in second["items"]]
    assert states(client.post(f"/v1/batches/{first['id']}/cancel").json()) == ["queued", "queued"]
    assert states(client.post(f"/v1/batches/{second['id']}/cancel").json()) == ["canceled", "canceled"]


def test_retrying_twice_leaves_a_batch_its_own(client: TestClient, model: str) -> None:
    slides = [upload(client, n, mpp="2.0") for n in (38, 39)]
    batch = start(client, model, *slides)["id"]
    client.post(f"/v1/batches/{batch}/cancel")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: client.post(f"/v1/batches/{batch}/retry"), range(4)))
    assert states(client.get(f"/v1/batches/{batch}").json()) == ["queued", "queued"]
    assert states(client.post(f"/v1/batches/{batch}/cancel").json()) == ["canceled", "canceled"]


def test_many_slides_start_in_one_request(client: TestClient, model: str) -> None:
    slides = [upload(client, 20, mpp=f"{3 + n / 1000}") for n in range(60)]
    began = time.monotonic()
    view = start(client, model, *slides)
    assert view["counts"]["queued"] == 60
    assert time.monotonic() - began < 20
    listed = client.get("/v1/batches", params={"page_size": 1}).json()["items"][0]
    assert listed == {k: v for k, v in view.items() if k in listed}
    client.post(f"/v1/batches/{view['id']}/cancel")


def test_batches_at_the_same_moment_on_postgresql(postgresql: str, tmp_path: Path) -> None:
    """The same new slides, and slides that exist in opposite orders: nobody's transaction is another's end."""
    url = create_database(postgresql, f"t{uuid.uuid4().hex}")
    app = create_app(Settings(data=tmp_path, port=59993, database_url=url))
    with TestClient(app, raise_server_exceptions=False) as web, ThreadPoolExecutor(3) as pool:
        model = publish_color_model(app.state.intima.storage, name="color-net", mpp=2.0)
        slides = [upload(web, 20, mpp=f"{2 + n / 1000}") for n in range(24)]
        for asked in (slides[:12], slides, slides):
            orders = (asked, asked[::-1], asked)
            answers = list(pool.map(lambda order: web.post("/v1/batches", json=body(model, *order)), orders))
            assert [a.status_code for a in answers] == [202] * 3, [a.text[:300] for a in answers]
            jobs = [{i["slide"]: i["job"] for i in a.json()["items"]} for a in answers]
            assert jobs[0] == jobs[1] == jobs[2]
            assert {a.json()["counts"]["queued"] for a in answers} == {len(asked)}
