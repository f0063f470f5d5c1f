"""Versions that advisories ask for, and what ``make audit`` makes of pip-audit's answer."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
FLOORS = {
    "starlette": "1.5.1",  # CVE-2025-62727, CVE-2026-54283
    "python-multipart": "0.0.27",
    "onnx": "1.21.0",  # CVE-2026-34445, CVE-2026-27489
    "torch": "2.10.0",  # CVE-2025-32434, CVE-2026-24747
    "pillow": "12.3.0",  # CVE-2026-54059
}
"""Lowest version of a package in which what is known of it is mended."""
REDIS_FLOOR = "5:7.0.15-1~deb12u6"
"""Of Debian's, with CVE-2025-49844 mended."""
CODE = "import audit, json, sys; print(json.dumps(audit.findings(json.loads(sys.argv[1]))))"


@pytest.mark.parametrize(("name", "floor"), FLOORS.items())
def test_what_is_installed_and_what_is_pinned_is_not_below_the_floor(name: str, floor: str) -> None:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert Version(version(name)) >= Version(floor)
    assert Version({k.lower(): v for k, v in pinned.items()}[name]) >= Version(floor)


def test_redis_of_debian_is_not_below_the_floor() -> None:
    try:
        asked = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", "redis-server"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("no dpkg: not a Debian")
    if asked.returncode or not asked.stdout:
        pytest.skip("no redis-server of Debian (apt-get install redis-server)")
    assert subprocess.run(["dpkg", "--compare-versions", asked.stdout, "ge", REDIS_FLOOR], check=False).returncode == 0


def _findings(packages: list[dict[str, object]]) -> list[str]:
    command = [sys.executable, "-c", CODE, json.dumps(packages)]
    lines: list[str] = json.loads(
        subprocess.run(command, cwd=ROOT / "deploy", capture_output=True, text=True, check=True).stdout
    )
    return lines


def test_a_clean_answer_has_no_findings() -> None:
    assert _findings([{"name": "a", "version": "1", "vulns": []}, {"name": "intima", "skip_reason": "local"}]) == []


def test_a_skipped_package_is_a_finding() -> None:
    found = _findings([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}])
    assert found == ["1 of 2 packages could not be looked up, so nothing is known of them."]


def test_a_vulnerability_is_a_finding_with_its_remedy() -> None:
    known = [{"id": "CVE-1", "fix_versions": ["2"]}, {"id": "CVE-2", "fix_versions": []}]
    found = _findings([{"name": "a", "version": "1", "vulns": known}])
    assert found == ["a 1: CVE-1, fixed in 2", "a 1: CVE-2, fixed in no release"]
