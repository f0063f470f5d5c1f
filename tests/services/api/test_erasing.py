"""A slide that is deleted is gone with all that was made of it, and nothing else is."""

import os
import time
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from intima.store.checking import check_store
from intima.store.references import find_references
from intima.store.retention import DAY_S, collect
from intima.store.storage import Storage
from intima.store.tables import events, jobs, segmentations, units
from tests.builders import COLORS, png, rings


def upload(client: TestClient, data: bytes, **form: str) -> str:
    answer = client.post("/v1/slides", files={"file": ("a.png", data)}, data={"mpp": "2.0"} | form)
    assert answer.status_code == 201, answer.text
    slide: str = answer.json()["id"]
    return slide


def batch_of(client: TestClient, model: str, slides: list[str]) -> str:
    body = {"slides": slides, "segmentation": {"model": model}}
    answer = client.post("/v1/batches", json=body)
    assert answer.status_code == 202, answer.text
    batch: str = answer.json()["id"]
    return batch


def finished(client: TestClient, batch: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        view: dict[str, Any] = client.get(f"/v1/batches/{batch}").json()
        if view["state"] not in {"queued", "running"}:
            return view
        time.sleep(0.1)
    raise AssertionError(view)


def counts(storage: Storage) -> dict[str, int]:
    with storage.reading() as conn:
        tables = (segmentations, jobs, units, events)
        return {t.name: conn.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}


def named(storage: Storage) -> set[str]:
    """Return the stored blobs that rows name."""
    with storage.reading() as conn:
        return find_references(conn).seen & {b.sha256 for b in storage.blobs.stored()}


def image(seed: int) -> bytes:
    """A PNG nobody else has."""
    pixels = COLORS[rings()].copy()
    pixels[0, :3] = np.random.default_rng(seed).integers(0, 255, (3, 3))
    return png(pixels)


def test_a_slide_that_is_being_segmented_stays(client: TestClient, storage: Storage, model: str) -> None:
    """Comes first: the runner of the other tests would do the job."""
    slide = upload(client, image(4))
    job = client.post(f"/v1/slides/{slide}/segmentations", json={"model": model}).json()["job"]
    answer = client.delete(f"/v1/slides/{slide}")
    assert (answer.status_code, answer.json()["code"]) == (409, "slide_in_use")
    assert job in answer.text
    assert client.get(f"/v1/slides/{slide}").status_code == 200
    client.post(f"/v1/jobs/{job}/cancel")
    assert client.delete(f"/v1/slides/{slide}").status_code == 204


def test_a_deleted_slide_is_gone_with_what_was_made_of_it(
    client: TestClient, storage: Storage, model: str, runner: None
) -> None:
    kept = upload(client, image(1))
    kept_batch = finished(client, batch_of(client, model, [kept]))
    before, blobs = counts(storage), named(storage)
    gone = upload(client, image(2), subject="gone")
    batch = finished(client, batch_of(client, model, [gone, kept]))
    assert batch["state"] == "succeeded", batch
    segmentation, job = batch["items"][0]["segmentation"], batch["items"][0]["job"]

    assert client.delete(f"/v1/slides/{gone}").status_code == 204
    for url in (f"/v1/slides/{gone}", f"/v1/segmentations/{segmentation}", f"/v1/jobs/{job}"):
        assert client.get(url).status_code == 404, url
    assert client.delete(f"/v1/slides/{gone}").status_code == 404
    after = finished(client, batch["id"])
    assert (after["items"][0]["state"], after["items"][0]["error"]["code"]) == ("refused", "slide_deleted")
    assert after["items"][1] == batch["items"][1]
    assert finished(client, kept_batch["id"]) == kept_batch
    assert counts(storage) == before
    table = client.get("/v1/measures.csv", params={"batch": batch["id"]})
    assert (table.status_code, "gone" in table.text) == (200, False)
    again = client.post(f"/v1/batches/{batch['id']}/retry")
    assert again.status_code in {200, 202}
    assert again.json()["items"][0]["error"]["code"] == "slide_not_found"

    then = time.time() - 2 * DAY_S
    for blob in storage.blobs.stored():
        os.utime(storage.blobs.path(blob.sha256), (then, then))
    assert collect(storage).blobs > 0
    assert {b.sha256 for b in storage.blobs.stored()} == blobs == named(storage)
    assert check_store(storage).good


def test_a_slide_of_the_same_content_stays(client: TestClient, storage: Storage, model: str, runner: None) -> None:
    first, second = upload(client, image(3), subject="a"), upload(client, image(3), subject="b")
    view = finished(client, batch_of(client, model, [first, second]))
    assert view["state"] == "succeeded", view
    assert client.delete(f"/v1/slides/{first}").status_code == 204
    assert client.get(f"/v1/slides/{second}").status_code == 200
    assert finished(client, batch_of(client, model, [second]))["state"] == "succeeded"
    assert check_store(storage).missing == ()
