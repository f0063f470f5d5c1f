"""Slides over HTTP: several files in one zip, what scanners say about themselves."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from intima.store.storage import Storage
from tests.slide_files import dicom_files, mirax_files, texture, zipped

PICTURE = texture(256, 384)


def send(client: TestClient, path: Path, status: int = 201, **form: str) -> dict[str, Any]:
    answer = client.post("/v1/slides", files={"file": (path.name, path.read_bytes())}, data=form)
    assert answer.status_code == status, answer.text
    view: dict[str, Any] = answer.json()
    return view


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (mirax_files(PICTURE), ("mrxs", 2, 0.25, ["label"], {"make": "mirax", "objective_power": "20"})),
        (
            dicom_files(PICTURE),
            ("dicom", 3, 0.5, ["label", "overview"], {"make": "Acme", "model": "Scan 9", "objective_power": "20"}),
        ),
    ],
    ids=["mrxs", "dicom"],
)
def test_a_slide_of_several_files_is_one_zip(
    client: TestClient, model: str, runner: None, tmp_path: Path, files: dict[str, bytes], expected: tuple[Any, ...]
) -> None:
    view = send(client, zipped(files, tmp_path / "case.zip"))
    form, levels, mpp, associated, scanner = expected
    assert (view["format"], view["levels"], view["associated"], view["scanner"]) == (form, levels, associated, scanner)
    assert view["mpp"] == pytest.approx(mpp)
    assert client.get(f"/v1/slides/{view['id']}").json() == view
    started = client.post(f"/v1/slides/{view['id']}/segmentations", json={"model": model})
    assert started.status_code == 202, started.text
    events = client.get(f"/v1/jobs/{started.json()['job']}/events").text
    assert '"state":"succeeded"' in events.replace(" ", "")
    result = client.get(f"/v1/segmentations/{started.json()['id']}").json()["result"]
    assert (result["width"], result["height"]) == (384, 256)


def test_a_zip_that_is_no_slide_is_the_clients_mistake(client: TestClient, tmp_path: Path) -> None:
    error = send(client, zipped({"a.txt": b"x"}, tmp_path / "a.zip"), status=422)
    assert error["code"] == "unknown_format"
    files = mirax_files(PICTURE)
    del files["case/Data0000.dat"]
    error = send(client, zipped(files, tmp_path / "b.zip"), status=422)
    assert error["code"] == "incomplete_slide"
    assert "Data0000.dat" in error["detail"]


def test_a_scanners_slide_says_make_model_and_objective(client: TestClient, shared_data: Path) -> None:
    view = send(client, shared_data / "wsi" / "svs" / "CMU-1-Small-Region.svs")
    assert view["scanner"] == {"make": "aperio", "model": "CPAPERIOCS", "objective_power": "20"}
    assert view["associated"] == ["label", "macro", "thumbnail"]
    assert view["bounds"] is None


def test_a_deidentified_upload_keeps_neither_label_nor_name(
    client: TestClient, storage: Storage, shared_data: Path
) -> None:
    path = shared_data / "wsi" / "svs" / "CMU-1-Small-Region.svs"
    original = send(client, path, subject="m1")
    view = send(client, path, subject="m1", deidentify="true")
    assert (view["name"], view["subject"], view["associated"]) == ("deidentified.svs", "m1", ["thumbnail"])
    assert (view["format"], view["width"], view["mpp"]) == ("svs", 2220, original["mpp"])
    copy = storage.blobs.read(view["sha256"])
    assert b"CMU-1" not in copy
    assert b"CMU-1" in storage.blobs.read(original["sha256"])
    later = client.post(f"/v1/slides/{original['id']}/deidentified")
    assert later.status_code == 201, later.text
    assert later.json()["subject"] is None
    assert {key for key, value in later.json().items() if value != view[key]} == {"id", "subject", "created_at"}
    named = client.post(f"/v1/slides/{original['id']}/deidentified", data={"subject": "m1"})
    assert named.json() == view
    error = client.post(f"/v1/slides/{original['id']}/deidentified", data={"subject": "m" * 201})
    assert error.status_code == 422
    assert client.get(f"/v1/slides/{original['id']}").json() == original


def test_what_cannot_be_deidentified_is_not_stored(client: TestClient, tmp_path: Path) -> None:
    path = zipped(mirax_files(texture(256, 384, seed=9)), tmp_path / "secret.zip")
    before = client.get("/v1/slides").json()["items"]
    error = send(client, path, status=422, deidentify="true")
    assert error["code"] == "cannot_deidentify"
    assert client.get("/v1/slides").json()["items"] == before
    assert client.post("/v1/slides/sld_none/deidentified").status_code == 404


def test_a_slide_with_results_stays_as_it_is(client: TestClient, model: str, artery: bytes) -> None:
    view = client.post("/v1/slides", files={"file": ("a.png", artery)}, data={"mpp": "2.0", "subject": "A"}).json()
    url = f"/v1/slides/{view['id']}"
    assert client.patch(url, json={"mpp": 1.0}).json()["mpp"] == 1.0
    back = client.patch(url, json={"mpp": None}).json()
    assert (back["mpp"], back["mpp_from"], len(back["warnings"])) == (None, None, 1)
    twin = client.post("/v1/slides", files={"file": ("a.png", artery)}, data={"mpp": "2.0", "subject": "A"}).json()
    assert twin["id"] != view["id"]
    answer = client.patch(url, json={"mpp": 2.0})
    assert (answer.status_code, answer.json()["code"]) == (409, "slide_exists")
    assert client.delete(f"/v1/slides/{twin['id']}").status_code == 204
    assert client.patch(url, json={"mpp": 2.0}).json() == view
    assert client.post(f"{url}/segmentations", json={"model": model}).status_code == 202
    for body in ({"mpp": 1.0}, {"subject": "B"}, {"subject": None}):
        answer = client.patch(url, json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "slide_has_results"), body
    assert client.patch(url, json={"mpp": 2.0, "subject": "A"}).json() == view
    assert client.patch("/v1/slides/sld_" + "0" * 32, json={"mpp": 1}).status_code == 404


def test_a_truth_value_is_no_pixel_size(client: TestClient, artery: bytes) -> None:
    view = client.post("/v1/slides", files={"file": ("a.png", artery)}, data={"subject": "T"}).json()
    for said in (True, False):
        answer = client.patch(f"/v1/slides/{view['id']}", json={"mpp": said})
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"] == "/mpp"
    assert client.get(f"/v1/slides/{view['id']}").json()["mpp"] is None
    assert client.patch(f"/v1/slides/{view['id']}", json={"mpp": "0.5"}).json()["mpp"] == 0.5


def test_search_finds_names_and_subjects_as_they_are_written(client: TestClient, artery: bytes) -> None:
    for name, subject in (("100%_a.png", "Rat 7"), ("100xya.png", "rat 8"), ("other.png", None)):
        data = {} if subject is None else {"subject": subject}
        assert client.post("/v1/slides", files={"file": (name, artery)}, data=data).status_code == 201
    found = {
        words: {s["name"] for s in client.get("/v1/slides", params={"search": words}).json()["items"]}
        for words in ("100%_", "RAT ", "rat 7", "%", "_", "nothing like it")
    }
    assert found["100%_"] == {"100%_a.png"}
    assert found["RAT "] == {"100%_a.png", "100xya.png"}
    assert found["rat 7"] == found["%"] == {"100%_a.png"}
    assert found["_"] >= {"100%_a.png"}
    assert found["nothing like it"] == set()
    assert client.post("/v1/slides", files={"file": ("a.png", artery)}, data={"subject": "MÜLLER 3"}).is_success
    for words in ("Müller", "MÜLLER", "müller", "mÜll"):
        items = client.get("/v1/slides", params={"search": words}).json()["items"]
        assert [s["subject"] for s in items] == ["MÜLLER 3"], words
    page = client.get("/v1/slides", params={"search": "rat", "page_size": 1}).json()
    rest = client.get("/v1/slides", params={"search": "rat", "page_token": page["next_page_token"]}).json()
    assert [s["name"] for s in page["items"] + rest["items"]] == ["100xya.png", "100%_a.png"]
