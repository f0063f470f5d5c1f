"""docker-compose.yml by the real Compose binary: valid, and as the architecture says. No engine is needed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = Path(sys.executable).parent / "docker-compose"


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    done = subprocess.run(
        [COMPOSE, "config", "--format", "json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_all_services_are_there_and_wait_for_what_they_need(stack: dict[str, Any]) -> None:
    assert set(stack) == {"redis", "postgres", "api", "inference", "trainer", "stats"}
    for name in ("api", "inference", "trainer", "stats"):
        needs = stack[name]["depends_on"]
        assert {k: v["condition"] for k, v in needs.items()} == {
            "redis": "service_healthy",
            "postgres": "service_healthy",
        }
        assert stack[name]["read_only"] is True
        assert stack[name]["cap_drop"] == ["ALL"]


def test_only_the_api_is_published_and_only_on_loopback(stack: dict[str, Any]) -> None:
    published = {n: s["ports"] for n, s in stack.items() if s.get("ports")}
    assert set(published) == {"api"}
    assert [p["host_ip"] for p in published["api"]] == ["127.0.0.1"]


def test_every_smoke_module_and_command_exists(stack: dict[str, Any]) -> None:
    for name in ("api", "inference", "trainer", "stats"):
        build = stack[name]["build"]
        assert (ROOT / build["dockerfile"]).is_file()
        module = build["args"]["SMOKE"].replace(".", "/")
        assert (ROOT / f"{module}.py").is_file()
        commanded = [part for part in stack[name]["command"] if part.startswith("services.")]
        assert all(
            (ROOT / part.replace(".", "/")).with_suffix(".py").is_file() or (ROOT / part.replace(".", "/")).is_dir()
            for part in commanded
        )
        assert commanded


def test_the_trainer_alone_carries_torch(stack: dict[str, Any]) -> None:
    extras = {n: s["build"]["args"]["EXTRAS"].split(",") for n, s in stack.items() if "build" in s}
    assert [n for n, e in extras.items() if "trainer" in e] == ["trainer"]
