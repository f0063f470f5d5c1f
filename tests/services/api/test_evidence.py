"""A published model measured on sections of one's own: a new version, the same networks."""

import time
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from intima.registry import publish
from intima.store.models import get_model
from intima.store.storage import Storage
from tests.builders import COLORS, dataset_zip, png, publish_color_model, rings


def upload(client: TestClient, sizes: dict[str, int], **options: Any) -> str:
    masks = {name: rings(160, radii=(20, inner, 60), center=80) for name, inner in sizes.items()}
    answer = client.post("/v1/datasets", files={"file": ("d.zip", dataset_zip(masks, **options))})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def measure(client: TestClient, ref: str, dataset: str, **headers: str) -> Any:
    name, version = ref.split("@")
    url = f"/v1/models/{name}/versions/{version}/evidence"
    return client.post(url, json={"dataset": dataset}, headers=headers)


def done(client: TestClient, evidence: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        view: dict[str, Any] = client.get(f"/v1/evidence/{evidence}").json()
        if view["state"] in {"succeeded", "failed", "canceled"}:
            return view
        time.sleep(0.2)
    raise AssertionError(view)


def swollen(mask: np.ndarray) -> np.ndarray:
    """Return a mask with a larger lumen, by one to three pixels."""
    inner = int((mask[80] == 2).sum()) // 2 + 20
    return rings(160, radii=(21 + inner % 3, inner, 60), center=80)


@pytest.fixture(scope="module")
def dataset(client: TestClient) -> str:
    return upload(client, {f"m{n}": 30 + n for n in range(10)}, shown=swollen)


def test_the_new_version_has_the_evidence_and_the_networks(
    client: TestClient, storage: Storage, runner: None, dataset: str
) -> None:
    base = publish_color_model(storage, name="measured-net", mpp=2.0)
    started = measure(client, base, dataset)
    assert started.status_code == 202, started.text
    assert started.headers["location"] == f"/v1/jobs/{started.json()['id']}"
    view = done(client, started.json()["id"])
    assert view["state"] == "succeeded", view["error"]
    assert view["base"] == base
    assert not view["compared"], "the training dataset is not in this store"
    assert client.get(f"/v1/jobs/{view['id']}").json()["result"] == f"/v1/evidence/{view['id']}"
    with storage.reading() as connection:
        old, new = get_model(connection, base), get_model(connection, view["result"]["model"])
    assert new.version != old.version
    assert new.card.members == old.card.members
    assert old.card.evidence is None
    found = new.card.evidence
    assert found is not None
    assert (found.basis, found.subjects, found.cases, found.members) == ("labelled dataset", 10, 10, 2)
    assert found.dataset is not None
    assert found.dataset.startswith(f"{dataset}@")
    assert found.vessels_found == 10
    assert new.card.calibration == view["result"]["calibration"]
    assert "labelled dataset, 10 subjects" in new.card.calibration
    with storage.reading() as connection:
        assert get_model(connection, "measured-net").ref == base, "a bare name means what was trained"
    form = {"mpp": "2.0", "model": new.ref}
    image = png(COLORS[rings(160, radii=(20, 41, 60), center=80)])
    result = client.post("/v1/segment", files={"file": ("a.png", image)}, data=form).json()["result"]
    assert "10 subjects" in result["interval_basis"]
    measures = [m for m in result["vessels"][0]["measures"] if m["interval"]]
    assert measures, result["vessels"][0]["warnings"]
    assert all(m["interval"]["low"] <= m["value"] <= m["interval"]["high"] for m in measures)


def test_measuring_again_is_the_same_version(client: TestClient, storage: Storage, runner: None, dataset: str) -> None:
    base = publish_color_model(storage, name="again-net", mpp=2.0)
    first, second = (done(client, measure(client, base, dataset).json()["id"]) for _ in range(2))
    assert first["id"] != second["id"]
    assert first["result"]["model"] == second["result"]["model"]
    keyed = [measure(client, base, dataset, **{"Idempotency-Key": "e1"}).json()["id"] for _ in range(2)]
    assert keyed[0] == keyed[1]
    other = measure(client, first["result"]["model"], dataset, **{"Idempotency-Key": "e1"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


def test_sections_of_the_training_are_refused(client: TestClient, storage: Storage, dataset: str) -> None:
    base = publish_color_model(storage, name="trained-net", mpp=2.0)
    version = client.get(f"/v1/datasets/{dataset}").json()["version"]
    with storage.reading() as connection:
        card = get_model(connection, base).card
    trained = publish(storage, card.model_copy(update={"dataset": "rings", "dataset_version": version})).ref
    answer = measure(client, trained, dataset)
    assert (answer.status_code, answer.json()["code"]) == (422, "evidence_is_training")
    shared = upload(client, {"m1": 45, "other": 46})
    answer = measure(client, trained, shared)
    assert (answer.status_code, answer.json()["code"]) == (422, "leakage")
    assert "m1" in answer.text
    assert {e["pointer"] for e in answer.json()["errors"]} == {"/dataset"}
    turned = swollen(rings(160, radii=(20, 30, 60), center=80))
    noise = np.random.default_rng(1).integers(0, 4, (160, 160)).astype(np.uint8)
    fresh = client.post("/v1/datasets", files={"file": ("d.zip", dataset_zip({"n1": noise, "n2": turned.T.copy()}))})
    assert fresh.status_code == 201
    assert measure(client, trained, fresh.json()["id"]).json().get("code") == "leakage", "a copy under another name"


def test_what_does_not_fit_is_refused(client: TestClient, storage: Storage, dataset: str) -> None:
    base = publish_color_model(storage, name="fitting-net", mpp=2.0)
    bare = upload(client, {"b1": 33, "b2": 34}, mpp=None)
    answer = measure(client, base, bare)
    assert (answer.status_code, answer.json()["code"]) == (422, "missing_pixel_size")

    def rename(manifest: dict[str, Any]) -> None:
        manifest["classes"][1]["name"] = "Cavity"

    renamed = upload(client, {"c1": 33, "c2": 35}, edit=rename)
    answer = measure(client, base, renamed)
    assert (answer.status_code, answer.json()["code"]) == (422, "evidence_classes")
    assert answer.json()["errors"][0]["pointer"] == "/dataset"
    for mpp, code in ((10.0, "too_coarse"), (1000.0, "too_coarse")):
        answer = measure(client, base, upload(client, {"c1": 33, "c2": 35}, mpp=mpp))
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert measure(client, base, "ds_none").status_code == 404
    assert measure(client, "fitting-net@none", dataset).status_code == 404
    for wrong in ("evi_none", "job_" + "0" * 32, "x"):
        assert client.get(f"/v1/evidence/{wrong}").status_code == 404
