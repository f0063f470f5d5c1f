"""Tokens of a real OpenID Connect issuer on a free port: good ones get in, all others do not."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from access_tokens import bearer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi.testclient import TestClient
from pydantic import ValidationError

from intima.errors import Unavailable
from intima.store import audit
from services.access.oidc import Issuer
from services.access.refusals import Refused
from services.api.app import create_app
from services.api.settings import Settings

AUDIENCE = "intima"
Sign = Callable[..., str]


class Idp:
    """An issuer that answers discovery and gives its keys."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.issuer = ""
        self.asked: list[str] = []

    def keys(self) -> dict[str, Any]:
        made = []
        for kid, key, algorithm in (
            ("r", self.rsa, jwt.algorithms.RSAAlgorithm),
            ("e", self.ec, jwt.algorithms.ECAlgorithm),
        ):
            public = algorithm.to_jwk(key.public_key(), as_dict=True)
            made.append(public | {"kid": kid, "use": "sig", "alg": "RS256" if kid == "r" else "ES256"})
        return {"keys": made}

    def sign(self, *, key: Any = None, algorithm: str = "RS256", kid: str = "r", **claims: Any) -> str:
        now = time.time()
        body = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ada", "exp": now + 600, "iat": now}
        body |= {"scope": "openid intima:read intima:segment", "preferred_username": "Ada"} | claims
        kept = {k: v for k, v in body.items() if v is not None}
        return jwt.encode(kept, key or self.rsa, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture(scope="module")
def idp() -> Iterator[Idp]:
    with idp_of(None) as found:
        yield found


@contextmanager
def idp_of(keys: bytes | None) -> Iterator[Idp]:
    """An issuer that gives its keys, or something else in their place."""
    found = Idp()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            mine = json.dumps(found.keys()).encode() if keys is None else keys
            about = json.dumps({"issuer": found.issuer, "jwks_uri": f"{found.issuer}/keys"}).encode()
            content = mine if self.path == "/keys" else about
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the base class
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def client(idp: Idp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    options = {"auth": "tokens", "oidc_issuer": idp.issuer, "oidc_audience": AUDIENCE, "starts_per_day": 1}
    settings = Settings(data=tmp_path_factory.mktemp("data"), **options)  # type: ignore[arg-type]
    with TestClient(create_app(settings), raise_server_exceptions=False) as found:
        yield found


@pytest.mark.parametrize("kid", ["r", "e"])
def test_who_the_issuer_vouches_for_gets_in_with_the_scopes_it_grants(client: TestClient, idp: Idp, kid: str) -> None:
    token = idp.sign() if kid == "r" else idp.sign(key=idp.ec, algorithm="ES256", kid="e")
    me = client.get("/v1/me", headers=bearer(token)).json()
    assert (me["id"], me["name"], me["scopes"]) == ("oidc:ada", "Ada", ["read", "segment"])
    assert client.post("/v1/benchmarks", json={}, headers=bearer(token)).status_code == 403
    listed = idp.sign(scope=["intima:admin"])
    assert client.get("/v1/audit", headers=bearer(listed)).status_code == 200


def test_what_they_do_is_written_down_and_limited_by_person_not_by_token(client: TestClient, idp: Idp) -> None:
    statuses = [
        client.post(
            "/v1/slides", files={"file": ("a", b"x")}, headers=bearer(idp.sign(sub="bob", jti=str(n)))
        ).status_code
        for n in range(2)
    ]
    assert statuses == [422, 429]
    with client.app.state.intima.storage.reading() as connection:  # type: ignore[attr-defined]
        assert [r.caller for r in audit.list_records(connection, after=0, limit=10)] == ["oidc:bob"]


WRONG: dict[str, Callable[[Idp], str]] = {
    "expired": lambda idp: idp.sign(exp=time.time() - 60),
    "not yet": lambda idp: idp.sign(nbf=time.time() + 600),
    "for another service": lambda idp: idp.sign(aud="another"),
    "for nobody": lambda idp: idp.sign(aud=None),
    "of another issuer": lambda idp: idp.sign(iss="https://evil.example"),
    "without end": lambda idp: idp.sign(exp=None),
    "of nobody": lambda idp: idp.sign(sub=None),
    "signed by another": lambda idp: idp.sign(key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "unknown key": lambda idp: idp.sign(kid="z"),
    "unsigned": lambda idp: jwt.encode({"sub": "ada", "aud": AUDIENCE, "iss": idp.issuer}, None, algorithm="none"),
    "shared secret": lambda idp: idp.sign(key="k" * 64, algorithm="HS256"),
    "altered": lambda idp: _altered(idp.sign()),
    "no json": lambda _idp: "eyJ.b.c",
    "empty parts": lambda _idp: "..",
    "of nobody's key": lambda idp: jwt.encode({"iss": idp.issuer}, idp.rsa, algorithm="RS256"),
}


def _altered(token: str) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body[:-4]}AAAA.{signature}"


@pytest.mark.parametrize("kind", WRONG)
def test_no_other_token_gets_in(client: TestClient, idp: Idp, kind: str) -> None:
    answer = client.get("/v1/me", headers=bearer(WRONG[kind](idp)))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), answer.text


def test_without_a_scope_of_ours_nothing_is_allowed(client: TestClient, idp: Idp) -> None:
    for scope in ("openid", "", "read", "intima:root", 7):
        assert client.get("/v1/me", headers=bearer(idp.sign(scope=scope))).status_code == 403


def test_the_keys_are_fetched_once(client: TestClient, idp: Idp) -> None:
    client.get("/v1/me", headers=bearer(idp.sign()))
    before = len(idp.asked)
    for n in range(20):
        assert client.get("/v1/me", headers=bearer(idp.sign(jti=str(n)))).status_code == 200
    assert len(idp.asked) == before


def test_an_issuer_that_is_away_is_503_and_our_own_tokens_still_work(tmp_path: Path) -> None:
    admin = "a" * 40
    options = {"auth": "tokens", "oidc_issuer": "http://127.0.0.1:1", "oidc_audience": "x", "admin_token": admin}
    settings = Settings(data=tmp_path, **options)  # type: ignore[arg-type]
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        token = jwt.encode({"iss": "http://127.0.0.1:1"}, key, algorithm="RS256", headers={"kid": "a"})
        answer = client.get("/v1/me", headers=bearer(token))
        assert (answer.status_code, answer.json()["code"]) == (503, "oidc_unavailable")
        assert client.get("/v1/me", headers=bearer(admin)).status_code == 200


def test_an_issuer_that_fails_is_asked_once_and_nobody_waits_for_it_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def slow(url: str, **_: object) -> httpx.Response:
        asked.append(url)
        time.sleep(0.3)
        raise httpx.ConnectTimeout("too slow")

    monkeypatch.setattr(httpx, "get", slow)
    issuer = Issuer("https://away.example", audience="x", scope_claim="scope", scope_prefix="intima:")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    good = jwt.encode({"iss": "https://away.example"}, key, algorithm="RS256", headers={"kid": "a"})
    started = time.monotonic()
    for token, error in [("a.b.c", Refused), (good, Unavailable), (good, Unavailable), (good, Unavailable)]:
        with pytest.raises(error):
            issuer.identify(token)
    assert len(asked) == 1
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("keys", [b"<html>", b"[]", b'{"keys": []}', b'{"keys": [{"kty": "?"}]}', b"\xff"])
def test_keys_that_are_none_are_a_503(keys: bytes, tmp_path: Path) -> None:
    with idp_of(keys) as found:
        options = {"auth": "tokens", "oidc_issuer": found.issuer, "oidc_audience": AUDIENCE}
        settings = Settings(data=tmp_path, **options)  # type: ignore[arg-type]
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            answer = client.get("/v1/me", headers=bearer(found.sign()))
    assert (answer.status_code, answer.json()["code"]) == (503, "oidc_unavailable")


def test_names_that_no_database_holds_are_written_down_all_the_same(client: TestClient, idp: Idp) -> None:
    token = idp.sign(sub="a\0b\ud800", preferred_username="c\0\ud800")
    me = client.get("/v1/me", headers=bearer(token)).json()
    assert (me["id"], me["name"]) == ("oidc:a?b?", "c??")
    assert client.post("/v1/slides", files={"file": ("a", b"x")}, headers=bearer(token)).status_code == 422


def test_an_issuer_needs_an_audience(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="INTIMA_OIDC_AUDIENCE"):
        Settings(data=tmp_path, auth="tokens", oidc_issuer="https://login.example.org")
