"""The tables over all finished segmentations, through the real api and runner."""

import csv
import io
import time

import numpy as np
import pytest
from fastapi.testclient import TestClient

from intima.formats.findings import SECTION_COLUMNS, SUBJECT_COLUMNS
from intima.store.storage import Storage
from tests.builders import COLORS, png, publish_color_model, rings

RADII = {"a1": (20, 30, 40), "a2": (20, 40, 60), "b1": (30, 40, 60)}


def rows_of(client: TestClient, path: str, **query: str) -> list[dict[str, str]]:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def segment(client: TestClient, name: str, image: np.ndarray, *, subject: str | None, model: str, **more: str) -> str:
    form = {"mpp": "2.0", "model": model, "uncertainty": "none"} | more
    if subject is not None:
        form["subject"] = subject
    answer = client.post("/v1/segment", files={"file": (name, png(image))}, data=form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def other_model(storage: Storage) -> str:
    return publish_color_model(storage, name="other-net", mpp=2.0)


@pytest.fixture(scope="module")
def filled(client: TestClient, model: str, other_model: str) -> TestClient:
    """Two sections of subject =A (one twice, one under two names), one of B, one of nobody."""
    images = {name: COLORS[rings(160, radii=radii, center=80)] for name, radii in RADII.items()}
    segment(client, "a1.png", images["a1"], subject="=A", model=model, uncertainty="tta")
    time.sleep(0.01)
    segment(client, "a1.png", images["a1"], subject="=A", model=model)
    segment(client, "a1 again.png", images["a1"], subject="=A", model=model)
    segment(client, "a2.png", images["a2"], subject="=A", model=model)
    segment(client, "b1.png", images["b1"], subject="B", model=model)
    segment(client, "b1.png", images["b1"], subject="B", model=other_model)
    segment(client, "nobody.png", images["b1"], subject=None, model=model)
    return client


def test_every_section_vessel_and_measure_is_a_line(filled: TestClient, model: str, other_model: str) -> None:
    rows = rows_of(filled, "/v1/measures.csv")
    assert list(rows[0]) == list(SECTION_COLUMNS)
    assert len({row["segmentation"] for row in rows}) == 7
    lumen = [row for row in rows if row["measure"] == "lumen_area"]
    assert [row["slide_name"] for row in lumen] == [
        "nobody.png",
        "b1.png",
        "b1.png",
        "a2.png",
        "a1 again.png",
        "a1.png",
        "a1.png",
    ]
    assert {row["subject"] for row in lumen} == {"", "B", "'=A"}, "text is no formula"
    assert {row["synthetic_training_data"] for row in lumen} == {"true"}
    with_range = [row for row in lumen if row["low"]]
    assert len(with_range) == 1
    assert "not calibrated" in with_range[0]["interval_basis"]
    view = filled.get(f"/v1/segmentations/{lumen[3]['segmentation']}").json()
    measures = {m["name"]: m["value"] for m in view["result"]["vessels"][0]["measures"]}
    assert float(lumen[3]["value"]) == measures["lumen_area"]


def test_filters_keep_what_they_name_and_nothing_else(filled: TestClient, model: str, other_model: str) -> None:
    of_a = rows_of(filled, "/v1/measures.csv", subject="=A")
    assert {row["subject"] for row in of_a} == {"'=A"}
    of_other = rows_of(filled, "/v1/measures.csv", model=other_model)
    assert {(row["model"], row["subject"]) for row in of_other} == {(other_model, "B")}
    by_name = rows_of(filled, "/v1/measures.csv", model=other_model)
    assert by_name == of_other
    assert rows_of(filled, "/v1/measures.csv", subject="nobody knows") == []
    assert rows_of(filled, "/v1/measures.csv", subject="' OR 1=1 --") == []


def test_pages_do_not_change_the_table(filled: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = filled.get("/v1/measures.csv").text
    means = filled.get("/v1/subject_means.csv").text
    monkeypatch.setattr("services.api.routes.measures._PAGE_SIZE", 2)
    assert filled.get("/v1/measures.csv").text == whole
    assert filled.get("/v1/subject_means.csv").text == means


def test_means_count_each_section_once(filled: TestClient, model: str, other_model: str) -> None:
    rows = rows_of(filled, "/v1/subject_means.csv")
    assert list(rows[0]) == list(SUBJECT_COLUMNS)
    assert {(row["subject"], row["model"]) for row in rows} == {("'=A", model), ("B", model), ("B", other_model)}
    found = {(row["subject"], row["model"]): row for row in rows if row["measure"] == "medial_area"}
    a, b = found[("'=A", model)], found[("B", model)]
    areas = {n: int((rings(160, radii=r, center=80) == 3).sum()) * 4.0 for n, r in RADII.items()}
    assert float(a["mean"]) == pytest.approx((areas["a1"] + areas["a2"]) / 2, rel=0.01)
    assert (a["n_sections"], b["n_sections"]) == ("2", "1")
    assert float(a["smallest"]) == pytest.approx(areas["a1"], rel=0.01)
    assert float(a["largest"]) == pytest.approx(areas["a2"], rel=0.01)
    assert (b["smallest"], b["largest"]) == ("", ""), "one section has no range"
    assert len(a["mean"].replace(".", "").strip("0")) <= 4


@pytest.mark.parametrize("path", ["/v1/measures.csv", "/v1/subject_means.csv"])
def test_bad_queries_are_problems(filled: TestClient, path: str) -> None:
    unknown = filled.get(path, params={"model": "no-such-model"})
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert filled.get(path, params={"subject": "x" * 201}).status_code == 422


def test_what_runs_again_keeps_its_last_result(filled: TestClient, model: str) -> None:
    before = rows_of(filled, "/v1/measures.csv", subject="B", model=model)
    slide = before[0]["slide"]
    body = {"model": model, "uncertainty": {"sampler": "none"}, "force": True}
    started = filled.post(f"/v1/slides/{slide}/segmentations", json=body).json()
    assert started["state"] == "queued"
    assert started["id"] == before[0]["segmentation"]
    assert rows_of(filled, "/v1/measures.csv", subject="B", model=model) == before
