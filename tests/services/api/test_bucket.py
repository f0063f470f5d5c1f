"""Walk A where blobs lie in a bucket and rows in PostgreSQL: nothing is kept on the machine that must be."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from servers import S3_KEY, S3_SECRET, Bucket, moto_server
from store_fixtures import part_of

from services.api.app import create_app
from services.api.settings import Settings
from services.runner import run_local
from tests.builders import publish_color_model


@pytest.fixture
def own_bucket() -> Iterator[Bucket]:
    with moto_server() as bucket:
        yield bucket


@pytest.fixture
def settings(own_bucket: Bucket, empty_shared_database: str, tmp_path: Path) -> Settings:
    at = part_of(own_bucket)
    return Settings(
        data=tmp_path / "data",
        port=59998,
        database_url=empty_shared_database,
        blobs_url=str(at),
        s3_endpoint=at.endpoint,
        s3_access_key_id=S3_KEY,
        s3_secret_access_key=SecretStr(S3_SECRET),
    )


def test_from_slide_to_artefacts_by_a_bucket(
    settings: Settings, own_bucket: Bucket, artery: bytes, tmp_path: Path
) -> None:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        storage = client.app.state.intima.storage  # type: ignore[attr-defined]
        model = publish_color_model(storage, name="color-net", mpp=2.0)
        answer = client.post("/v1/slides", files={"file": ("a.png", artery)}, data={"mpp": "2.0"})
        assert answer.status_code == 201, answer.text
        slide = answer.json()["id"]
        now = client.post("/v1/segment", files={"file": ("a.png", artery)}, data={"model": model, "mpp": "2.0"})
        assert now.status_code == 200, now.text

        stop = threading.Event()
        runner = threading.Thread(target=run_local, args=(storage,), kwargs={"queues": ["inference"], "stop": stop})
        runner.start()
        asked = client.post(f"/v1/slides/{slide}/segmentations", json={"model": model, "uncertainty": {"passes": 2}})
        view = asked.json()
        deadline = time.monotonic() + 60
        while view["state"] in {"queued", "running"} and time.monotonic() < deadline:
            time.sleep(0.1)
            view = client.get(f"/v1/segmentations/{view['id']}").json()
        stop.set()
        runner.join()
        assert view["state"] == "succeeded", view
        assert not (settings.data / "blobs").exists()
        for path in (settings.data / "copies").rglob("*"):  # another machine has none of this one's copies
            if path.is_file():
                path.unlink()
        files = [client.get(a["url"]) for a in view["artefacts"]]
        assert [f.status_code for f in files] == [200] * len(files)

        own_bucket.kill()
        shutil.rmtree(settings.data / "copies")
        refused = client.get(view["artefacts"][0]["url"])
        assert (refused.status_code, refused.json()["code"]) == (503, "blobs_unavailable")
        upload = client.post("/v1/slides", files={"file": ("b.png", artery)})
        assert (upload.status_code, upload.json()["code"]) == (503, "blobs_unavailable")
        assert S3_SECRET not in refused.text + upload.text
