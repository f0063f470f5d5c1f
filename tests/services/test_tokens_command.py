"""Tokens from the command line."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.api.app import create_app
from services.api.settings import Settings
from services.tokens import main


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTIMA_DATA", str(tmp_path))
    monkeypatch.delenv("INTIMA_DATABASE_URL", raising=False)


def test_a_token_of_the_command_line_opens_the_api(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "Ada", "segment", "train", "--days", "7", "--starts-per-day", "9"]) == 0
    token = capsys.readouterr().out.strip()
    headers = {"Authorization": f"Bearer {token}"}
    with TestClient(create_app(Settings(data=tmp_path, auth="tokens"))) as client:
        me = client.get("/v1/me", headers=headers).json()
    assert (me["name"], me["scopes"], me["limits"]["starts_per_day"]) == ("Ada", ["segment", "train"], 9)

    assert main(["list"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [t["created_by"] for t in listed] == ["command line"]
    assert token not in json.dumps(listed)

    assert main(["revoke", listed[0]["id"]]) == 0
    capsys.readouterr()
    with TestClient(create_app(Settings(data=tmp_path, auth="tokens"))) as client:
        assert client.get("/v1/me", headers=headers).status_code == 401
    assert main(["audit"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 2


@pytest.mark.parametrize(
    "arguments", [["revoke", "tok_x"], ["create", "", "read"], ["create", "a", "read", "--days", "-1"]]
)
def test_what_cannot_be_done_is_said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert capsys.readouterr().err
