"""Limits, records and revocation at the gate, over HTTP."""

import base64
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from access_tokens import bearer, make_token
from api_servers import http_server
from fastapi.testclient import TestClient
from pydantic import ValidationError
from servers import Redis
from toy_jobs import plan, submit, wait_until

from intima.contracts.access import Limits
from intima.errors import Conflict, Invalid
from intima.store import audit, ledger, tokens
from intima.store.storage import Storage, open_storage
from services.access import gate as gates
from services.access.gate import READ, Asked, Operation, open_gate
from services.access.rates import Rates
from services.access.settings import AccessSettings
from services.api.app import create_app
from services.api.settings import Settings
from services.stats.app import create_app as create_stats
from services.stats.settings import Settings as StatsSettings
from tests.builders import COLORS, png, rings
from tests.services.access.conftest import ADMIN


def records(storage: Storage) -> list[tuple[str, str, str]]:
    with storage.reading() as connection:
        found = audit.list_records(connection, after=0, limit=1000)
        assert audit.check_chain(connection).intact
    return [(r.name, r.operation, r.target) for r in found]


def artery(seed: int) -> bytes:
    image = COLORS[rings()]
    image[0, 0] = (seed, 1, 2)
    return png(image)


def test_a_token_is_made_used_listed_and_revoked(api: TestClient, storage: Storage) -> None:
    body = {"name": "microscope room", "scopes": ["segment"], "valid_days": 30, "limits": {"starts_per_day": 5}}
    answer = api.post("/v1/tokens", json=body, headers=bearer(ADMIN))
    assert answer.status_code == 201
    made, view = answer.json()["token"], answer.json()["view"]
    me = api.get("/v1/me", headers=bearer(made)).json()
    assert (me["id"], me["name"], me["scopes"]) == (view["id"], "microscope room", ["segment"])
    listed = api.get("/v1/tokens", headers=bearer(ADMIN))
    assert view["id"] in {t["id"] for t in listed.json()["items"]}
    assert made not in listed.text
    wait_until(lambda: api.get(f"/v1/tokens/{view['id']}", headers=bearer(ADMIN)).json()["last_used_at"] is not None)
    assert api.post(f"/v1/tokens/{view['id']}/revoke", headers=bearer(ADMIN)).json()["revoked_at"] is not None
    api.app.state.gate.forget()  # type: ignore[attr-defined]
    refused = api.get("/v1/me", headers=bearer(made))
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert refused.headers["content-type"] == "application/problem+json"
    assert ("INTIMA_ADMIN_TOKEN", "create_token", "/v1/tokens") in records(storage)


def test_a_revoked_token_is_believed_for_five_seconds_at_most(api: TestClient, storage: Storage) -> None:
    token = make_token(storage, "read")
    me = api.get("/v1/me", headers=bearer(token)).json()["id"]
    assert api.post(f"/v1/tokens/{me}/revoke", headers=bearer(ADMIN)).status_code == 200
    revoked = time.monotonic()
    while api.get("/v1/me", headers=bearer(token)).status_code == 200:
        assert time.monotonic() - revoked < gates.REMEMBERED_S + 1
        time.sleep(0.1)


def test_an_expired_token_is_not_believed_longer_than_it_is_valid(api: TestClient, storage: Storage) -> None:
    token = make_token(storage, "read", valid_days=0.8 / 86_400)
    assert api.get("/v1/me", headers=bearer(token)).status_code == 200
    time.sleep(0.9)
    answer = api.get("/v1/me", headers=bearer(token))
    assert (answer.status_code, "expired" in answer.json()["detail"]) == (401, True)


def test_each_change_is_written_down_once_and_before_it_is_done(api: TestClient, storage: Storage) -> None:
    token = make_token(storage, "segment")
    before = records(storage)
    kept = api.post("/v1/slides", files={"file": ("a.png", artery(1))}, headers=bearer(token))
    refused = api.post("/v1/slides", files={"file": ("a.png", b"no image")}, headers=bearer(token))
    looked = api.get("/v1/slides", headers=bearer(token))
    forbidden = api.post("/v1/benchmarks", json={}, headers=bearer(token))
    assert [a.status_code for a in (kept, refused, looked, forbidden)] == [201, 422, 200, 403]
    after = records(storage)[len(before) :]
    assert after == [("t", "create_slide", "/v1/slides")] * 2


def test_starts_of_a_day_are_counted_in_the_log(api: TestClient, storage: Storage) -> None:
    token = make_token(storage, "segment", limits=Limits(starts_per_day=2))
    statuses = [
        api.post("/v1/slides", files={"file": ("a.png", artery(n))}, headers=bearer(token)).status_code
        for n in range(10, 13)
    ]
    assert statuses == [201, 201, 429]
    again = api.post("/v1/slides", files={"file": ("a.png", artery(13))}, headers=bearer(token))
    assert again.json()["code"] == "quota_exceeded"
    assert 86_000 < int(again.headers["retry-after"]) <= 86_400
    assert api.get("/v1/slides", headers=bearer(token)).status_code == 200
    other = make_token(storage, "segment", limits=Limits(starts_per_day=2))
    assert api.post("/v1/slides", files={"file": ("a.png", artery(14))}, headers=bearer(other)).status_code == 201


def test_who_may_start_nothing_is_told_to_wait_a_day(api: TestClient, storage: Storage) -> None:
    token = make_token(storage, "segment", limits=Limits(starts_per_day=0))
    answer = api.post("/v1/slides", files={"file": ("a.png", artery(30))}, headers=bearer(token))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "86400")


def test_bytes_of_a_day_must_be_announced_and_fit(api: TestClient, storage: Storage) -> None:
    token = make_token(storage, "segment", limits=Limits(upload_bytes_per_day=len(artery(20)) + 2_000))
    first = api.post("/v1/slides", files={"file": ("a.png", artery(20))}, headers=bearer(token))
    second = api.post("/v1/slides", files={"file": ("a.png", artery(21))}, headers=bearer(token))

    def pieces() -> Iterator[bytes]:
        yield b"--x\r\n"

    headers = bearer(token) | {"content-type": "multipart/form-data; boundary=x"}
    chunked = api.post("/v1/slides", content=pieces(), headers=headers)
    assert [first.status_code, second.status_code, chunked.status_code] == [201, 429, 411]
    assert chunked.json()["code"] == "length_required"


def test_the_rate_is_held_and_retry_after_is_true(api: TestClient, storage: Storage) -> None:
    token = make_token(storage, "read", limits=Limits(requests_per_minute=20))
    statuses = [api.get("/v1/me", headers=bearer(token)).status_code for _ in range(25)]
    assert statuses == [200] * 20 + [429] * 5
    answer = api.get("/v1/me", headers=bearer(token))
    assert answer.json()["code"] == "rate_limited"
    assert 55 <= int(answer.headers["retry-after"]) <= 60
    other = make_token(storage, "read", limits=Limits(requests_per_minute=20))
    assert api.get("/v1/me", headers=bearer(other)).status_code == 200


def test_replicas_share_one_count_in_redis_and_go_on_without_it(broker: Redis) -> None:
    replicas = [Rates("api", broker.url), Rates("api", broker.url)]
    waits = [replicas[n % 2].wait_s("tok_a", per_minute=10) for n in range(12)]
    assert [w > 0 for w in waits] == [False] * 10 + [True] * 2
    assert Rates("stats", broker.url).wait_s("tok_a", per_minute=10) == 0
    assert replicas[0].wait_s("tok_b", per_minute=10) == 0
    lost = Rates("api", "redis://127.0.0.1:1/0")
    started = time.monotonic()
    assert [lost.wait_s("tok_a", per_minute=2) > 0 for _ in range(3)] == [False, False, True]
    assert time.monotonic() - started < 2


def test_a_job_is_canceled_by_who_may_start_its_kind(
    api: TestClient, storage: Storage, held: Mapping[str, str]
) -> None:
    jobs = {
        "train": submit(storage, [plan("a")], kind="benchmark"),
        "segment": submit(storage, [plan("b")], kind="segmentation"),
    }
    for wrong, job in (("segment", jobs["train"]), ("train", jobs["segment"])):
        answer = api.post(f"/v1/jobs/{job}/cancel", headers=bearer(held[wrong]))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert api.post(f"/v1/jobs/{job}/retry", headers=bearer(held[wrong])).status_code == 403
        with storage.reading() as connection:
            assert ledger.read_job(connection, job).state == "queued"
    for scope, job in jobs.items():
        assert api.post(f"/v1/jobs/{job}/cancel", headers=bearer(held[scope])).json()["state"] == "canceled"


PLAN = {"metric": "dice", "class": "macro", "margin": {"value": 0.02, "basis": "stated"}}


def test_a_comparison_under_a_plan_takes_what_locking_takes(stats: TestClient, held: Mapping[str, str]) -> None:
    scores = {"scores": [0.8, 0.9, 0.85, 0.7], "subjects": ["a", "b", "c", "d"]}
    locked = stats.post("/v1/plans", json=PLAN, headers=bearer(held["train"]))
    assert locked.status_code == 201, locked.text
    body = {"a": scores, "b": scores, "plan": locked.json()["id"]}
    for path in ("/v1/comparisons", "/v1/comparisons/figures/forest.svg", "/v1/comparisons/report.html"):
        assert stats.post(path, json=body, headers=bearer(held["read"])).status_code == 403
        assert stats.post(path, json=body, headers=bearer(held["train"])).status_code == 200
    free = {"a": scores, "b": scores, "metric": "dice", "margin": {"value": 0.02, "basis": "stated"}}
    assert stats.post("/v1/comparisons", json=free, headers=bearer(held["read"])).status_code == 200


def test_the_api_shows_the_token_to_the_stats_service(folder: Path, api: TestClient, held: Mapping[str, str]) -> None:
    stats_settings = StatsSettings(data=folder, auth="tokens", admin_token=ADMIN)  # type: ignore[arg-type]
    with http_server(create_stats(stats_settings)) as address:
        options = {"auth": "tokens", "admin_token": ADMIN, "stats_url": f"http://{address}"}
        settings = Settings(data=folder, **options)  # type: ignore[arg-type]
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            body = {"scores": [[0.8, 0.9, 0.85]] * 2, "models": ["a", "b"], "subjects": ["1", "2", "3"]}
            assert client.post("/v1/rankings", json=body, headers=bearer(held["read"])).status_code in {200, 422}
            assert client.post("/v1/plans", json=PLAN, headers=bearer(held["read"])).status_code == 403
            assert client.post("/v1/plans", json=PLAN, headers=bearer(held["train"])).status_code == 201


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic dXNlcjpwdw==", "intima_x", "Bearer \u00e4", "Bearer " + "x" * 5000],
    ids=["none", "bare", "blank", "basic", "naked", "not ascii", "long"],
)
def test_what_is_no_token_is_refused(api: TestClient, header: str) -> None:
    answer = api.get("/v1/slides", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.json()["request_id"].startswith("req_")


def test_basic_login_with_a_good_token_is_no_bearer(api: TestClient) -> None:
    login = base64.b64encode(f"admin:{ADMIN}".encode()).decode()
    assert api.get("/v1/slides", headers={"Authorization": f"Basic {login}"}).status_code == 401


def test_a_body_is_not_read_before_the_token(api: TestClient, storage: Storage) -> None:
    """The upload would be far over the limit: 401 and not 413 says that nobody looked at it."""
    read = []

    def pieces() -> Iterator[bytes]:
        for _ in range(3):
            read.append(1)
            yield b"x" * 1000

    answer = api.post("/v1/slides", content=pieces(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 401
    assert not list((storage.data_dir / "blobs" / "aside").glob("*"))


def test_errors_of_the_inference_protocol_keep_their_form(api: TestClient) -> None:
    answer = api.get("/v2")
    assert answer.status_code == 401
    assert list(answer.json()) == ["error"]


def test_a_weak_admin_token_keeps_the_service_from_starting(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, auth="tokens", admin_token="short")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="5 characters"), TestClient(create_app(settings)):
        pass


def test_services_that_start_at_once_set_one_admin_token(postgresql_store: Storage) -> None:
    with ThreadPoolExecutor(6) as pool:
        settings = AccessSettings(auth="tokens", admin_token=ADMIN)  # type: ignore[arg-type]
        doors = [
            pool.submit(open_gate, postgresql_store, settings, service=s, redis_url=None) for s in ["api", "stats"] * 3
        ]
        assert len([d.result() for d in doors]) == 6
    with postgresql_store.reading() as connection:
        assert len(tokens.list_tokens(connection, page_size=10, page_token="").items) == 1


def test_a_stats_service_without_the_setting_takes_nothing_back(sqlite_store: Storage) -> None:
    given = AccessSettings(auth="tokens", admin_token=ADMIN)  # type: ignore[arg-type]
    look = Asked(Operation("get_caller", READ), f"Bearer {ADMIN}", "/v1/me", "req_x", 0)
    assert open_gate(sqlite_store, given, service="api", redis_url=None).admit(look).may("admin")
    open_gate(sqlite_store, AccessSettings(auth="tokens"), service="stats", redis_url=None)
    assert open_gate(sqlite_store, given, service="stats", redis_url=None).admit(look).may("admin")


def test_the_admin_token_is_not_one_that_was_made_for_less(sqlite_store: Storage) -> None:
    secret = make_token(sqlite_store, "read")
    given = AccessSettings(auth="tokens", admin_token=secret)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="made otherwise"):
        open_gate(sqlite_store, given, service="api", redis_url=None)


def test_reading_needs_no_database_that_can_be_written(sqlite_store: Storage) -> None:
    token = make_token(sqlite_store, "read")
    gate = open_gate(sqlite_store, AccessSettings(auth="tokens"), service="api", redis_url=None)
    look = Asked(Operation("get_caller", READ), f"Bearer {token}", "/v1/me", "req_x", 0)
    with sqlite_store.writing():
        started = time.monotonic()
        assert gate.admit(look).name == "t"
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("path", ["/v1/slides/%00/segmentations", "/v1/slides/%EF%BF%BE%0A/segmentations"])
def test_every_path_can_be_written_down_and_read_back(api: TestClient, held: Mapping[str, str], path: str) -> None:
    assert api.post(path, json={}, headers=bearer(held["segment"])).status_code in {404, 422}
    last = api.get("/v1/audit", params={"limit": 1000}, headers=bearer(ADMIN)).json()["items"][-1]
    assert last["target"] == path


def test_secrets_are_not_in_what_a_wrong_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTIMA_DATABASE_URL", "postgresql+psycopg://intima:planted-password@db/intima")
    with pytest.raises(ValidationError) as caught:
        Settings(auth="tokens", oidc_issuer="https://login.example.org")
    assert "planted-password" not in str(caught.value)


def test_nobody_gets_in_where_there_is_no_token_at_all(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(data=tmp_path, auth="tokens"))) as client:
        assert client.get("/v1/me").status_code == 401
        assert client.get("/livez").status_code == 200
        assert client.get("/openapi.json").status_code == 200


def test_the_admin_token_goes_with_its_setting(tmp_path: Path) -> None:
    given = Settings(data=tmp_path, auth="tokens", admin_token=ADMIN)  # type: ignore[arg-type]
    with TestClient(create_app(given)) as client:
        assert client.get("/v1/me", headers=bearer(ADMIN)).status_code == 200
    with TestClient(create_app(Settings(data=tmp_path, auth="tokens"))) as client:
        assert client.get("/v1/me", headers=bearer(ADMIN)).status_code == 401
    assert ADMIN not in repr(given)


@pytest.mark.parametrize(
    ("options", "fine"),
    [
        ({"host": "0.0.0.0"}, False),
        ({"host": "0.0.0.0", "auth": "tokens"}, True),
        ({"host": "0.0.0.0", "behind_proxy": True}, True),
        ({"host": "0.0.0.0", "behind_proxy": True, "published_on": "0.0.0.0"}, False),
        ({"host": "0.0.0.0", "behind_proxy": True, "published_on": "192.0.2.1", "auth": "tokens"}, True),
        ({"host": "0.0.0.0", "behind_proxy": True, "published_on": ""}, False),
        ({"host": "127.0.0.1", "published_on": "lab.example.org"}, False),
        ({"host": "::1"}, True),
    ],
)
def test_nothing_is_open_without_tokens(tmp_path: Path, options: dict[str, object], *, fine: bool) -> None:
    settings = Settings(data=tmp_path, **options)  # type: ignore[arg-type]
    if fine:
        assert create_app(settings).title == "Intima api"
    else:
        with pytest.raises(Conflict, match="without authentication"):
            create_app(settings)


def test_without_tokens_the_caller_is_local_and_nothing_is_written_down(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(data=tmp_path))) as client:
        assert client.get("/v1/me").json()["id"] == "local"
        assert client.post("/v1/tokens", json={"name": "a", "scopes": ["read"]}).status_code == 201
    storage = open_storage(tmp_path)
    assert records(storage) == []
    storage.close()
