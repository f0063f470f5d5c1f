"""Every operation of both services by every kind of token, from their OpenAPI documents."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from access_tokens import bearer, make_token
from fastapi.testclient import TestClient

from intima.contracts.access import IMPLIED, SCOPES
from intima.store import tokens
from intima.store.storage import Storage
from services.api.rules import CALL_RULES, RULES
from services.stats.rules import CALL_RULES as STATS_CALL_RULES
from services.stats.rules import RULES as STATS_RULES
from services.wire.v1 import comparison_pb2, open_inference_pb2, segmentation_pb2

ROOT = Path(__file__).resolve().parents[3]
PUBLIC = {"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"}
REFUSED = {401, 403}
UNSEEN = [
    ("POST", "/v2/repository/models/x/load", {"admin"}),
    ("POST", "/v2/repository/models/x/unload", {"admin"}),
    ("GET", "/v2/nothing", set(SCOPES)),
    ("DELETE", "/v2/models/x", set(SCOPES)),
]
"""Routes outside the description."""


def operations(client: TestClient) -> list[tuple[str, str, set[str]]]:
    """Method, path and the scopes that the document says are enough, by what they imply."""
    found = []
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            named = {scope for way in operation.get("security", []) for scope in way["token"]}
            assert named or path in PUBLIC, f"{method} {path} takes no token"
            enough = {held for held in SCOPES if IMPLIED[held] & named}
            found.append((method.upper(), re.sub(r"\{[^}]+\}", "x", path), enough))
    return found


def dead_tokens(storage: Storage) -> dict[str, str | None]:
    """What must not let anybody in."""
    revoked, expired = make_token(storage, "admin"), make_token(storage, "admin", valid_days=1e-9)
    with storage.writing() as connection:
        row = tokens.find_row(connection, revoked)
        assert row is not None
        tokens.revoke_token(connection, row.id)
    return {"none": None, "unknown": "intima_" + "0" * 64, "revoked": revoked, "expired": expired, "empty": ""}


def ask(client: TestClient, method: str, path: str, token: str | None) -> Any:
    return client.request(method, path, headers={} if token is None else bearer(token))


@pytest.mark.parametrize("service", ["api", "stats"])
def test_every_operation_by_every_token(
    service: str, request: pytest.FixtureRequest, storage: Storage, held: Mapping[str, str]
) -> None:
    client: TestClient = request.getfixturevalue(service)
    asked = operations(client) + (UNSEEN if service == "api" else [])
    assert len(asked) > (80 if service == "api" else 15)
    wrong = []
    for method, path, enough in asked:
        if path in PUBLIC:
            assert ask(client, method, path, None).status_code == 200
            continue
        for kind, token in dead_tokens(storage).items():
            answer = ask(client, method, path, token)
            if answer.status_code != 401 or answer.headers["www-authenticate"] != "Bearer":
                wrong.append((method, path, kind, answer.status_code))
        for scope, token in held.items():
            answer = ask(client, method, path, token)
            allowed = scope in enough
            refused = answer.status_code in REFUSED
            broken = answer.status_code >= 500 and "stats" not in answer.text
            if refused == allowed or broken or (refused and answer.status_code != 403):
                wrong.append((method, path, scope, answer.status_code, answer.text[:200]))
    assert wrong == []


def test_every_method_of_grpc_is_in_a_rule() -> None:
    described = {
        f"{service.full_name}/{method.name}"
        for module in (comparison_pb2, open_inference_pb2, segmentation_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert described == set(CALL_RULES) | set(STATS_CALL_RULES)


def test_no_rule_is_of_nothing(api: TestClient, stats: TestClient) -> None:
    hidden = {"load_model_by_hand", "not_in_protocol"}
    for client, rules in ((api, RULES), (stats, STATS_RULES)):
        paths = client.get("/openapi.json").json()["paths"].values()
        assert {o["operationId"] for path in paths for o in path.values()} == set(rules) - hidden


def test_the_page_says_what_the_services_do() -> None:
    command = [sys.executable, "deploy/access_matrix.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
