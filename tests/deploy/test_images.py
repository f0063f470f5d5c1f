"""What each image installs suffices for what it runs: its modules are imported with everything else hidden."""

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
HIDE = """
import importlib, importlib.machinery, json, sys
hidden = set(json.loads(sys.argv[1]))

class Rest(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Rest
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def installed_by(extras: list[str]) -> set[str]:
    """Return the packages that an environment with these extras holds, by what the installed ones say they need."""
    found: set[str] = set()
    todo = [("intima", extra) for extra in ["", *extras]]
    seen = set(todo)
    while todo:
        name, extra = todo.pop()
        found.add(name)
        for needed in _needs(name, extra):
            for one in [(canonicalize_name(needed.name), e) for e in ["", *needed.extras]]:
                if one not in seen:
                    seen.add(one)
                    todo.append(one)
    return found


def _needs(name: str, extra: str) -> list[Requirement]:
    if name == "intima":
        return _ours(extra)
    parsed = [Requirement(text) for text in requires(name) or ()]
    return [r for r in parsed if r.marker is None or r.marker.evaluate({"extra": extra})]


def _ours(extra: str) -> list[Requirement]:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(r) for r in (project["optional-dependencies"][extra] if extra else project["dependencies"])]


def images() -> list[tuple[str, list[str], list[str]]]:
    """Return name, extras and modules of every image that is built for a CPU."""
    compose = Path(sys.executable).parent / "docker-compose"
    said = subprocess.run([compose, "config", "--format", "json"], cwd=ROOT, capture_output=True, text=True, check=True)
    services: dict[str, Any] = json.loads(said.stdout)["services"]
    built = {n: s["build"]["args"] for n, s in services.items() if "build" in s}
    return [(n, a["EXTRAS"].split(","), a["SMOKE"].split()) for n, a in sorted(built.items())]


@pytest.mark.parametrize(("name", "extras", "modules"), images(), ids=lambda v: v if isinstance(v, str) else "")
def test_an_image_holds_what_it_imports(name: str, extras: list[str], modules: list[str]) -> None:
    done = _import_in(extras, modules)
    assert done.returncode == 0, f"{name}: {done.stderr}"


def test_a_missing_package_is_seen() -> None:
    done = _import_in(["stats"], ["services.trainer.tasks", "torch"])
    assert done.returncode != 0
    assert re.search(r"No module named '\w+'", done.stderr)


def _import_in(extras: list[str], modules: list[str]) -> subprocess.CompletedProcess[str]:
    there = installed_by(extras)
    hidden = [
        module
        for module, names in packages_distributions().items()
        if not {canonicalize_name(n) for n in names} & there and module not in {"intima", "services"}
    ]
    command = [sys.executable, "-W", "ignore", "-c", HIDE, json.dumps(hidden), *modules]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("extra", "wheel"), [("api", "onnxruntime"), ("api-gpu", "onnxruntime-gpu")])
def test_an_api_brings_one_of_the_two_wheels_of_onnxruntime(extra: str, wheel: str) -> None:
    todo, asked = [extra], set()
    while todo:
        needed = _ours(todo.pop())
        todo += [name for one in needed if one.name == "intima" for name in one.extras]
        asked |= {one.name for one in needed}
    assert {name for name in asked if name.startswith("onnxruntime")} == {wheel}
