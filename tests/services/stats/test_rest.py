"""The REST door: answers, problems, health."""

import subprocess
import sys
import time

import pytest
from benchmark_store import SCORES, Installation
from fastapi.testclient import TestClient

from intima.errors import Conflict
from services.stats.app import create_app
from services.stats.dependencies import State
from services.stats.settings import Settings

SUBJECTS = [f"m{i}" for i in range(9)]
RAW = {
    "a": {"scores": list(SCORES["unet"]), "subjects": SUBJECTS},
    "b": {"scores": list(SCORES["deeplabv3plus"]), "subjects": SUBJECTS},
    "margin": {"value": 0.02},
}


def test_two_architectures_of_a_benchmark(client: TestClient, installation: Installation) -> None:
    body = {
        "a": {"benchmark": installation.finished, "architecture": "unet"},
        "b": {"benchmark": installation.finished, "architecture": "deeplabv3plus"},
        "margin": {"value": 0.02, "basis": "stated"},
        "metric": "dice",
        "class": "macro",
    }
    answer = client.post("/v1/comparisons", json=body)
    assert answer.status_code == 200
    verdict = answer.json()
    assert verdict["models"] == ["unet", "deeplabv3plus"]
    assert verdict["class"] == "macro"
    assert verdict["n_units"] == 9
    assert verdict["dependence"]["standard_error_factor"] == pytest.approx(1.4577, abs=1e-4)
    assert verdict["provenance"]["dataset_version"] == "d" * 64
    assert verdict["margin"] == {"value": 0.02, "basis": "stated", "plan_sha256": None}
    raw = client.post("/v1/comparisons", json=RAW).json()
    assert verdict["naive_difference"] == raw["difference"]


def test_a_published_model_stands_for_its_recipe(client: TestClient, installation: Installation) -> None:
    for ref in (installation.model, "artery-unet"):
        answer = client.post("/v1/comparisons", json=RAW | {"a": {"model": ref}})
        assert answer.status_code == 200
        assert answer.json()["models"] == [ref, "b"]


def test_a_benchmark_is_ranked(client: TestClient, installation: Installation) -> None:
    answer = client.post("/v1/rankings", json={"benchmark": installation.finished})
    assert answer.status_code == 200
    assert [m["model"] for m in answer.json()["models"]] == ["unet", "deeplabv3plus"]


def test_a_ranked_benchmark_chooses_by_the_cards_of_its_models(client: TestClient, installation: Installation) -> None:
    body = {"benchmark": installation.finished, "margin": {"value": 0.02}, "cheapest_by": "parameter_count"}
    choice = client.post("/v1/rankings", json=body).json()["choice"]
    assert {m["model"]: m["cost"] for m in choice["models"]} == {"unet": 1.0, "deeplabv3plus": None}
    assert choice["rule"] == "parameter_count"


def test_intervals_and_power(client: TestClient) -> None:
    interval = client.post("/v1/intervals", json={"scores": list(SCORES["unet"])}).json()
    assert interval["low"] < interval["estimate"] < interval["high"]
    power = client.post("/v1/power", json={"sd_difference": 0.05, "n": 9, "margin": 0.02}).json()
    assert power["units_for_equivalence"] == 55


@pytest.mark.parametrize(
    ("change", "status", "code", "pointer"),
    [
        ({"b": {"model": "nobody"}}, 404, "model_not_found", "/b"),
        ({"b": {"benchmark": "bmk_nothing", "architecture": "unet"}}, 404, "benchmark_not_found", "/b"),
        ({"b": {"benchmark": "bmk_finished", "architecture": "segformer"}}, 404, "not_found", "/b/architecture"),
        ({"b": {"benchmark": "bmk_running", "architecture": "unet"}}, 409, "not_ready", None),
        ({"b": {"model": "phantom"}}, 422, "no_scores", "/b/model"),
        ({"b": {"scores": [0.8], "subjects": ["m0"]}}, 422, "unpaired", "/b/subjects"),
        ({"b": {"scores": [0.8]}}, 422, "invalid", "/b"),
        ({"margin": {"value": 0}}, 422, "invalid", "/margin/value"),
        ({"margin": None}, 422, "invalid", "/margin"),
        ({"plan": "plan_1"}, 404, "plan_not_found", "/plan"),
        ({"dependence": {"protocol": "loocv", "n_train": 10**400, "n_test": 1}}, 422, "invalid", "/dependence/n_train"),
        ({"metric": "x" * 201}, 422, "invalid", "/metric"),
        ({"colour": "red"}, 422, "invalid", "/colour"),
        ({"a": {"benchmark": "bmk_finished", "architecture": "unet"}, "metric": "hd95"}, 422, "invalid", "/metric"),
        ({"a": {"scores": [1e10], "subjects": ["m0"]}}, 422, "score_not_finite", "/a/scores/0"),
    ],
)
def test_problems_say_what_to_do(
    client: TestClient, change: dict[str, object], status: int, code: str, pointer: str | None
) -> None:
    answer = client.post("/v1/comparisons", json=RAW | change)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["x-request-id"]
    if pointer is not None:
        assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "body", ["", "[]", "null", "{", '{"a": 1e999}', '{"a": {"scores": [NaN], "subjects": ["x"]}}', "\x00", '"' * 9]
)
def test_garbage_is_refused(client: TestClient, body: str) -> None:
    for path in ("comparisons", "rankings", "intervals", "power", "plans", "stability", "margins"):
        answer = client.post(f"/v1/{path}", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in {400, 422}
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_plan_is_locked_used_and_read(client: TestClient) -> None:
    answer = client.post("/v1/plans", json={"margin": {"value": 0.02}, "title": "over REST"})
    assert answer.status_code == 201
    plan = answer.json()
    raw = {side: RAW[side] for side in "ab"}
    verdict = client.post("/v1/comparisons", json=raw | {"plan": plan["id"]}).json()
    assert verdict["exploratory"] is False
    assert verdict["margin"]["plan_sha256"] == plan["sha256"]
    trail = client.get(f"/v1/plans/{plan['sha256']}").json()["uses"]
    assert [u["verdict"] for u in trail] == [verdict["verdict"]]
    assert plan["id"] in {p["id"] for p in client.get("/v1/plans").json()["plans"]}


def test_a_benchmark_that_had_scores_is_exploratory(client: TestClient, installation: Installation) -> None:
    plan = client.post("/v1/plans", json={"margin": {"value": 0.02}, "title": "too late"}).json()
    sides = {s: {"benchmark": installation.finished, "architecture": a} for s, a in zip("ab", SCORES, strict=True)}
    verdict = client.post("/v1/comparisons", json=sides | {"plan": plan["id"]}).json()
    assert verdict["exploratory"] is True
    assert "before the plan was locked" in verdict["plan"]["reasons"][0]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({}, "/margin"), ({"margin": {"value": -1}}, "/margin/value"), ({"margin": {"value": 1}, "x": 1}, "/x")],
)
def test_a_bad_plan_is_refused(client: TestClient, body: dict[str, object], pointer: str) -> None:
    answer = client.post("/v1/plans", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


def test_a_margin_from_observers_fits_a_comparison(client: TestClient) -> None:
    scores = [v for s in SCORES["unet"] for v in (s, s + 0.01 * (s > 0.8))]
    body = {"scores": scores, "subjects": [s for s in SUBJECTS for _ in "xy"], "observers": ["x", "y"] * 9}
    answer = client.post("/v1/margins", json={"observers": body})
    assert answer.status_code == 200
    margin = answer.json()["margin"]
    verdict = client.post("/v1/comparisons", json=RAW | {"margin": margin}).json()
    assert verdict["margin"] == margin | {"plan_sha256": None}


def test_a_margin_of_an_endpoint_that_was_not_scored(client: TestClient, installation: Installation) -> None:
    body = {"endpoint": {"benchmark": installation.finished, "largest": 0.05}}
    answer = client.post("/v1/margins", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/endpoint/endpoint")


@pytest.mark.parametrize(
    ("path", "body", "media"),
    [
        ("comparisons/figures/forest.svg", RAW, "image/svg+xml"),
        ("comparisons/figures/slopes.csv", RAW, "text/csv; charset=utf-8"),
        ("rankings/figures/cd_diagram.pdf", {"benchmark": "bmk_finished"}, "application/pdf"),
        ("stability/figures/stability_curves.svg", {"gaps": [0, 0.02], "data_sets": 100}, "image/svg+xml"),
        ("power/figures/power_curves.svg", {"sd_difference": 0.05, "n": 9, "margin": 0.02}, "image/svg+xml"),
    ],
)
def test_figures(client: TestClient, path: str, body: dict[str, object], media: str) -> None:
    answer = client.post(f"/v1/{path}", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media)


@pytest.mark.parametrize("path", ["comparisons/figures/pie.svg", "comparisons/figures/forest.exe"])
def test_an_unknown_figure_or_format_is_named(client: TestClient, path: str) -> None:
    answer = client.post(f"/v1/{path}", json=RAW)
    assert answer.status_code == 404
    assert "There are: " in answer.text


@pytest.mark.parametrize("form", ["html", "pdf"])
def test_reports(client: TestClient, installation: Installation, form: str) -> None:
    media = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}[form]
    answers = [
        client.post(f"/v1/comparisons/report.{form}", json=RAW),
        client.post(f"/v1/rankings/report.{form}", json={"benchmark": installation.finished}),
        client.get(f"/v1/benchmarks/{installation.finished}/report.{form}", params={"margin": 0.02}),
    ]
    assert [(a.status_code, a.headers["content-type"]) for a in answers] == [(200, media)] * 3
    assert len({a.content for a in answers}) == 3


@pytest.mark.parametrize(
    ("path", "status", "pointer"),
    [
        ("bmk_nothing/report.html", 404, None),
        ("bmk_running/report.html", 409, None),
        ("bmk_finished/report.docx", 404, None),
        ("bmk_finished/report.html?margin=0", 422, "/margin"),
        ("bmk_finished/report.html?colour=red", 422, "/colour"),
        ("bmk_finished/report.html?metric=hd95", 422, "/metric"),
    ],
)
def test_a_report_that_cannot_be_made(client: TestClient, path: str, status: int, pointer: str | None) -> None:
    answer = client.get(f"/v1/benchmarks/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    if pointer is not None:
        assert answer.json()["errors"][0]["pointer"] == pointer


def test_an_idempotency_key_stands_for_one_body(client: TestClient) -> None:
    key = {"Idempotency-Key": "cmp-1"}
    first = client.post("/v1/comparisons", json=RAW, headers=key)
    assert client.post("/v1/comparisons", json=RAW, headers=key).json() == first.json()
    other = client.post("/v1/comparisons", json=RAW | {"margin": {"value": 0.03}}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert (
        client.post("/v1/power", json={"sd_difference": 0.05, "n": 9, "margin": 0.02}, headers=key).status_code == 200
    )


@pytest.mark.parametrize("bad", [{"margin": {"value": 0}}, {"b": {"model": "nobody"}}])
def test_a_refused_request_frees_its_key(client: TestClient, bad: dict[str, object]) -> None:
    key = {"Idempotency-Key": f"cmp-{bad}"}
    assert client.post("/v1/comparisons", json=RAW | bad, headers=key).status_code in {404, 422}
    assert client.post("/v1/comparisons", json=RAW, headers=key).status_code == 200


def test_a_refused_retry_does_not_free_a_key_that_was_earned(state: State) -> None:
    with state.keyed("earned", "r", b"A"):
        pass
    with pytest.raises(ZeroDivisionError), state.keyed("earned", "r", b"A"):
        raise ZeroDivisionError
    with pytest.raises(Conflict), state.keyed("earned", "r", b"B"):
        pass


@pytest.mark.parametrize("key", ["", "   "])
def test_a_blank_key_is_none(client: TestClient, key: str) -> None:
    for margin in (0.02, 0.03):
        body = RAW | {"margin": {"value": margin}}
        assert client.post("/v1/comparisons", json=body, headers={"Idempotency-Key": key}).status_code == 200


def test_a_key_that_is_too_long(client: TestClient) -> None:
    answer = client.post("/v1/comparisons", json=RAW, headers={"Idempotency-Key": "x" * 256})
    assert answer.status_code == 422


def test_health(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}


def test_openapi_names_every_operation(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = {o["operationId"] for path in document["paths"].values() for o in path.values()}
    assert operations >= {"compare_models", "rank_models", "compute_intervals", "compute_power"}
    assert operations >= {"lock_plan", "list_plans", "get_plan"}


def test_a_comparison_is_quick_when_warm(client: TestClient) -> None:
    client.post("/v1/comparisons", json=RAW)
    times = []
    for _ in range(9):
        started = time.perf_counter()
        client.post("/v1/comparisons", json=RAW)
        times.append(time.perf_counter() - started)
    assert sorted(times)[0] < 0.15, "usually 15 ms; the limit leaves room for a busy machine"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "stats"])
def test_an_open_address_needs_a_proxy(settings: Settings, host: str) -> None:
    with pytest.raises(Conflict, match="without authentication"):
        create_app(settings.model_copy(update={"host": host}))
    create_app(settings.model_copy(update={"host": host, "behind_proxy": True}))


def test_stats_reaches_no_torch() -> None:
    code = (
        "import sys, services.stats.__main__\n"
        "heavy = {'torch', 'optuna', 'timm', 'onnxruntime', 'statsmodels', 'pandas'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
