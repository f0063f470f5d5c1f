"""Datasets and benchmark submission over HTTP: what is wrong is named."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from intima import datasets
from intima.errors import Conflict
from services.api.app import create_app
from services.api.settings import Settings
from services.stats.app import create_app as create_stats_app
from services.stats.settings import Settings as StatsSettings
from tests.builders import COLORS, dataset_zip, png, rings

SPEC: dict[str, Any] = {"architectures": ["unet"], "protocols": [{"kind": "loocv"}]}


def masks(count: int = 4) -> dict[str, np.ndarray]:
    return {f"m{i}": rings(64, radii=(8 + i, 15 + i, 20 + i), center=32) for i in range(count)}


def upload(client: TestClient, data: bytes) -> Any:
    return client.post("/v1/datasets", files={"file": ("d.zip", data)})


def test_a_dataset_is_stored_once_per_content(client: TestClient) -> None:
    first, second = upload(client, dataset_zip(masks())), upload(client, dataset_zip(masks()))
    assert first.status_code == 201, first.text
    body = first.json()
    assert (body["cases"], body["subjects"]) == (4, 4)
    assert body["classes"] == ["background", "lumen", "neointima", "media"]
    assert len(body["version"]) == 64
    assert second.json()["id"] == body["id"]
    stored = client.get(f"/v1/datasets/{body['id']}").json()
    assert stored["cases"][0]["width"] == 64
    assert stored["cases"][0]["mpp"] == 2.0
    assert body["id"] in [d["id"] for d in client.get("/v1/datasets").json()["items"]]


def test_a_missing_pixel_size_is_a_warning(client: TestClient) -> None:
    body = upload(client, dataset_zip({"a": rings(48, center=24, radii=(5, 9, 13))}, mpp=None)).json()
    assert any("pixel size" in w for w in body["warnings"])
    assert any("subject" in w for w in body["warnings"])


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    def edit(manifest: dict[str, Any]) -> None:
        del manifest[key]

    return edit


def change(path: list[str | int], value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "code", "pointer"),
    [
        (drop("classes"), "bad_manifest", "/classes"),
        (drop("licence"), "bad_manifest", "/licence"),
        (change(["cases", 1, "mask"], "masks/none.png"), "missing_file", "/cases/1/mask"),
        (change(["cases", 1, "mask"], "../../etc/passwd"), "missing_file", "/cases/1/mask"),
        (change(["cases", 2, "mpp"], -1), "bad_manifest", "/cases/2/mpp"),
        (change(["cases", 0, "subject"], ""), "bad_manifest", "/cases/0/subject"),
        (change(["cases", 0, "mask"], "images/m0.png"), "bad_mask", "/cases/0"),
        (change(["classes", 3, "index"], 7), None, ""),
        (change(["cases", 0, "extra"], 1), "bad_manifest", "/cases/0/extra"),
    ],
)
def test_a_wrong_manifest_names_the_place(
    client: TestClient, edit: Callable[[dict[str, Any]], None], code: str | None, pointer: str
) -> None:
    answer = upload(client, dataset_zip(masks(), edit=edit))
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    if code is not None:
        assert problem["code"] == code
        assert problem["errors"][0]["pointer"] == pointer


def test_a_mask_value_outside_the_classes_is_named(client: TestClient) -> None:
    strange = masks()
    strange["m2"] = strange["m2"].copy()
    good = dataset_zip(strange)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            spoiled = strange["m2"].copy()
            spoiled[0, 0] = 9
            new.writestr(name, png(spoiled) if name == "masks/m2.png" else old.read(name))
    answer = upload(client, out.getvalue())
    assert answer.status_code == 422
    assert answer.json()["code"] == "unknown_class"
    assert answer.json()["errors"][0]["pointer"] == "/cases/2/mask"


def test_sizes_that_differ_and_copies_are_refused(client: TestClient) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(dataset_zip(masks()))) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(
                name, png(rings(65, center=32, radii=(5, 9, 13))) if name == "masks/m1.png" else old.read(name)
            )
    answer = upload(client, out.getvalue())
    assert answer.status_code == 422
    assert "m1" in answer.json()["detail"]
    same = rings(64, radii=(8, 15, 20), center=32)
    answer = upload(client, dataset_zip({"a": same, "b": same.copy()}))
    assert answer.status_code == 422
    assert answer.json()["code"] == "duplicate_image"


@pytest.mark.parametrize("data", [b"not a zip", b"PK\x03\x04broken", png(COLORS[rings()])])
def test_a_file_that_is_no_zip_is_refused(client: TestClient, data: bytes) -> None:
    answer = upload(client, data)
    assert answer.status_code == 422
    assert answer.json()["code"] == "bad_zip"


def test_a_zip_without_manifest_is_refused(client: TestClient) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        bundle.writestr("data/manifest.json", "{}")
    answer = upload(client, out.getvalue())
    assert answer.status_code == 422
    assert answer.json()["code"] == "no_manifest"


def test_a_benchmark_is_planned_and_can_be_canceled(client: TestClient) -> None:
    dataset = upload(client, dataset_zip(masks())).json()["id"]
    body = SPEC | {"dataset": dataset, "search": {"trials": 1}, "members": 2}
    started = client.post("/v1/benchmarks", json=body, headers={"Idempotency-Key": "b1"})
    assert started.status_code == 202, started.text
    assert client.post("/v1/benchmarks", json=body, headers={"Idempotency-Key": "b1"}).json() == started.json()
    job = client.get(started.headers["location"]).json()
    assert job["state"] == "queued"
    assert job["progress"]["total"] == 4 * 2 + 1 + 2 + 1 + 1
    units = client.get(f"{started.headers['location']}/units").json()
    assert {u["kind"] for u in units} == {"trial", "fold", "fit", "publish", "collect"}
    view = client.get(f"/v1/benchmarks/{started.json()['id']}").json()
    assert view["state"] == "queued"
    assert {s["trials"] for s in view["studies"]} == {1}
    scores = client.get(f"/v1/benchmarks/{started.json()['id']}/scores.csv")
    assert scores.status_code == 409
    assert scores.json()["code"] == "not_ready"
    for _ in range(2):
        assert client.post(f"{started.headers['location']}/cancel").status_code == 202
    assert client.get(started.headers["location"]).json()["state"] == "canceled"
    assert client.post(f"{started.headers['location']}/retry").json()["state"] == "queued"
    client.post(f"{started.headers['location']}/cancel")


def test_splits_are_imported_used_and_exported(client: TestClient) -> None:
    dataset = upload(client, dataset_zip(masks())).json()["id"]
    body = {"name": "clinic", "subjects": {"m0": 0, "m1": 0, "m2": 1, "m3": 1}}
    made = client.post(f"/v1/datasets/{dataset}/splits", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["protocol"] == "split2-clinic"
    assert client.post(f"/v1/datasets/{dataset}/splits", json=body).json() == made.json()
    stored = client.get(f"/v1/splits/{made.json()['id']}").json()
    assert [s["test"] for s in stored["splits"]] == [
        ["images/m0.png", "images/m1.png"],
        ["images/m2.png", "images/m3.png"],
    ]
    protocols = [{"kind": "split", "split": made.json()["id"]}, {"kind": "kfold", "k": 2}]
    spec = SPEC | {"dataset": dataset, "protocols": protocols, "search": {"trials": 0}, "seeds": [0, 1]}
    started = client.post("/v1/benchmarks", json=spec)
    assert started.status_code == 202, started.text
    url = f"/v1/benchmarks/{started.json()['id']}/splits"
    assert client.get(url).json()["code"] == "protocol_needed"
    exported = client.get(url, params={"protocol": "kfold2"}).json()
    assert {s["seed"] for s in exported["splits"]} == {0, 1}
    again = client.post(f"/v1/datasets/{dataset}/splits", json=exported)
    assert again.status_code == 201, again.text
    same = client.get(url, params={"protocol": "split2-clinic"}).json()
    assert (same["name"], len(same["splits"])) == ("clinic", 2)
    client.post(f"/v1/jobs/{started.json()['job']}/cancel")


def with_images(data: bytes, images: dict[str, np.ndarray]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, png(images[name]) if name in images else old.read(name))
    return out.getvalue()


def test_overlapping_images_of_two_subjects_are_refused_unless_allowed(client: TestClient) -> None:
    scene = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    images = {"images/m0.png": scene[:200, :200], "images/m1.png": scene[60:260, 40:240]}
    big = {n: rings(200, radii=(10, 20, 30 + i), center=100) for i, n in enumerate(("m0", "m1", "m2", "m3"))}
    made = upload(client, with_images(dataset_zip(big), images)).json()
    assert any("'images/m0.png' and 'images/m1.png'" in w and "overlap" in w for w in made["warnings"])
    (pair,) = client.get(f"/v1/datasets/{made['id']}").json()["similarity"]["pairs"]
    assert pair["offset_px"] == pytest.approx([40, 60], abs=6)
    spec = SPEC | {"dataset": made["id"], "search": {"trials": 0}}
    refused = client.post("/v1/benchmarks", json=spec)
    assert (refused.status_code, refused.json()["code"]) == (422, "leakage")
    (place,) = refused.json()["errors"]
    assert place["pointer"] == "/protocols/0"
    assert "'images/m0.png' and 'images/m1.png'" in place["message"]
    named = place["pair"]
    assert (named["a"], named["b"], named["kind"], named["b_dataset"]) == (pair["a"], pair["b"], "overlap", None)
    assert named["alike"] == {key: pair[key] for key in ("score", "share", "view", "offset_px")}
    allowed = client.post("/v1/benchmarks", json=spec | {"allow_leakage": "a test of the guard"})
    assert allowed.status_code == 202, allowed.text
    view = client.get(f"/v1/benchmarks/{allowed.json()['id']}").json()
    assert view["leakage"]["reason"] == "a test of the guard"
    assert "images/m1.png" in view["leakage"]["found"][0]
    client.post(f"/v1/jobs/{allowed.json()['job']}/cancel")


def test_a_benchmark_says_when_overlaps_were_not_searched(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MOST_OVERLAP_PAIRS", 5)
    few = upload(client, dataset_zip(masks(3))).json()["id"]
    many = upload(client, dataset_zip(masks(7))).json()
    assert client.get(f"/v1/datasets/{many['id']}").json()["similarity"]["compared"] == 21
    assert any("not looked for" in w for w in many["warnings"])
    for dataset, searched in ((few, "copies_and_overlaps"), (many["id"], "copies")):
        started = client.post("/v1/benchmarks", json=SPEC | {"dataset": dataset, "search": {"trials": 0}})
        assert started.status_code == 202, started.text
        assert client.get(f"/v1/benchmarks/{started.json()['id']}").json()["image_comparison"] == searched
        client.post(f"/v1/jobs/{started.json()['job']}/cancel")


def test_an_external_dataset_is_compared_and_planned(client: TestClient) -> None:
    def subject(prefix: str) -> Callable[[dict[str, Any]], None]:
        def edit(manifest: dict[str, Any]) -> None:
            for case in manifest["cases"]:
                case["subject"] = f"{prefix}{case['subject']}"

        return edit

    dataset = upload(client, dataset_zip(masks())).json()["id"]
    others = {f"e{i}": rings(64, radii=(6, 11, 25 + i), center=30) for i in range(2)}
    second = upload(client, dataset_zip(others, edit=subject("other-"))).json()["id"]
    spec = SPEC | {"dataset": dataset, "external_dataset": second, "search": {"trials": 0}}
    started = client.post("/v1/benchmarks", json=spec)
    assert started.status_code == 202, started.text
    units = client.get(f"/v1/jobs/{started.json()['job']}/units").json()
    assert [u["key"] for u in units if u["kind"] == "external"] == ["unet/final/external"]
    view = client.get(f"/v1/benchmarks/{started.json()['id']}").json()["external"]
    assert (view["dataset"], view["kendall_tau"], view["leaderboard"]) == (second, None, [])
    assert "no scores yet" in view["reason"]
    same = upload(client, dataset_zip(masks() | others)).json()["id"]
    refused = client.post("/v1/benchmarks", json=spec | {"external_dataset": same})
    assert (refused.status_code, refused.json()["code"]) == (422, "leakage")
    assert refused.json()["errors"][0]["pointer"] == "/external_dataset"
    client.post(f"/v1/jobs/{started.json()['job']}/cancel")


def test_splits_that_leak_or_do_not_exist_are_refused(client: TestClient) -> None:
    dataset = upload(client, dataset_zip(masks(), edit=change(["cases", 1, "subject"], "m0"))).json()["id"]
    leaky = client.post(f"/v1/datasets/{dataset}/splits", json={"name": "s", "folds": [["images/m0.png"]]})
    assert (leaky.status_code, leaky.json()["code"]) == (422, "leakage")
    assert client.post("/v1/datasets/dst_none/splits", json={"name": "s", "subjects": {"a": 0}}).status_code == 404
    assert client.get("/v1/splits/spl_none").status_code == 404
    spec = SPEC | {"dataset": dataset, "protocols": [{"kind": "split", "split": "spl_none"}]}
    assert client.post("/v1/benchmarks", json=spec).status_code == 404


@pytest.mark.parametrize(
    ("fields", "status", "pointer"),
    [
        ({"architectures": ["perceptron"]}, 422, "/architectures"),
        ({"architectures": []}, 422, "/architectures"),
        ({"protocols": [{"kind": "kfold", "k": 9}]}, 422, "/protocols"),
        ({"protocols": [{"kind": "bootstrap"}]}, 422, "/protocols/0"),
        ({"dataset": "dst_unknown"}, 404, None),
        ({"external_dataset": "dst_x"}, 422, "/external_dataset"),
        ({"seeds": []}, 422, "/seeds"),
        ({"surprise": 1}, 422, "/surprise"),
        ({"search": {"trials": -1}}, 422, "/search/trials"),
    ],
)
def test_a_wrong_spec_names_the_field(
    client: TestClient, fields: dict[str, Any], status: int, pointer: str | None
) -> None:
    dataset = upload(client, dataset_zip(masks())).json()["id"]
    answer = client.post("/v1/benchmarks", json=SPEC | {"dataset": dataset} | fields)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if pointer is not None:
        assert answer.json()["errors"][0]["pointer"] == pointer


def test_the_api_description_is_openapi_3_1(client: TestClient) -> None:
    text = client.get("/openapi.json").json()
    assert text["openapi"].startswith("3.1")
    operations = [o["operationId"] for p in text["paths"].values() for o in p.values()]
    assert len(operations) == len(set(operations))
    wanted = {
        "/v1/datasets",
        "/v1/benchmarks",
        "/v1/jobs/{job_id}",
        "/v1/jobs/{job_id}/events",
        "/v1/benchmarks/{benchmark_id}/scores.csv",
        "/v1/comparisons",
        "/v1/models",
        "/v1/slides",
        "/v1/slides/{slide_id}/segmentations",
        "/v1/segment",
    }
    assert wanted <= set(text["paths"])
    assert json.dumps(text)


def test_the_stats_service_away_is_a_503(client: TestClient) -> None:
    answer = client.post("/v1/comparisons", json={})
    assert answer.status_code == 503
    assert answer.json()["code"] == "stats_unavailable"
    assert client.get("/v1/plans/plan_0").status_code == 503


def test_the_api_has_every_path_of_the_stats_service(client: TestClient, tmp_path: Path) -> None:
    """Figures have one path more there: the api does not know what figures there are."""
    stats = create_stats_app(StatsSettings(data=tmp_path)).openapi()["paths"]
    mine = set(client.get("/openapi.json").json()["paths"])
    paths = {path.replace("{figure}.{form}", "{name}") for path in stats if path.startswith("/v1/")}
    assert len(paths) > 10
    assert paths <= mine


def test_an_open_bind_is_refused(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.0.2.7", "::", "example.org"):
        with pytest.raises(Conflict, match="without authentication"):
            create_app(Settings(host=host, data=tmp_path))
    for fine in (Settings(host="::1", data=tmp_path), Settings(host="0.0.0.0", behind_proxy=True, data=tmp_path)):
        assert create_app(fine).title


def test_health(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    ready = client.get("/readyz").json()
    assert ready["provider"] == "CPUExecutionProvider"


def test_the_same_pixels_in_two_files_are_refused(client: TestClient) -> None:
    out = io.BytesIO()
    image = COLORS[rings(64, radii=(8, 15, 20), center=32)]
    other = io.BytesIO()
    Image.fromarray(image).save(other, "png", compress_level=0)
    with zipfile.ZipFile(io.BytesIO(dataset_zip(masks()))) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, other.getvalue() if name == "images/m3.png" else old.read(name))
    answer = upload(client, out.getvalue())
    assert answer.status_code == 422
    assert answer.json()["code"] == "duplicate_image"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zips_of_other_compressions_are_refused(client: TestClient, method: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as bundle:
        bundle.writestr("manifest.json", "{}" * 100)
    damaged = bytearray(out.getvalue())
    damaged[50:60] = b"0123456789"
    for data in (out.getvalue(), bytes(damaged)):
        answer = upload(client, data)
        assert answer.status_code == 422
        assert answer.json()["code"] == "bad_zip"


def test_a_zip_with_an_entry_before_its_start_is_refused(client: TestClient) -> None:
    good = dataset_zip(masks())
    at = good.rindex(b"PK\x05\x06") + 16
    moved = int.from_bytes(good[at : at + 4], "little") + 2**24
    answer = upload(client, good[:at] + moved.to_bytes(4, "little") + good[at + 4 :])
    assert answer.status_code == 422
    assert answer.json()["code"] == "bad_zip"


def test_a_class_named_macro_is_refused(client: TestClient) -> None:
    answer = upload(client, dataset_zip(masks(), edit=change(["classes", 1, "name"], "Macro")))
    assert answer.status_code == 422
    assert "macro" in answer.json()["detail"]


def test_a_benchmark_too_large_for_the_ledger_is_refused(client: TestClient) -> None:
    dataset = upload(client, dataset_zip(masks())).json()["id"]
    fields = {"protocols": [{"kind": "kfold", "k": 3, "repeats": 10}], "search": {"trials": 1000}}
    answer = client.post("/v1/benchmarks", json=SPEC | {"dataset": dataset} | fields)
    assert answer.status_code == 422
    assert answer.json()["code"] == "benchmark_too_large"
