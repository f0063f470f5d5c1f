"""Prometheus' own tools on deploy/prometheus, and dashboards and rules against what we really export."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart import of_kind, render, values_of

from intima.store.storage import Storage
from services.api.turns import TurnMetrics, Turns
from services.telemetry import doors, sweeps, units
from services.telemetry.exposition import About, GpuMemory
from services.telemetry.ledger_state import LedgerMetrics

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES, TESTS = FOLDER / "intima.rules.yml", FOLDER / "alerts.test.yml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
THEIRS = {"up", "ALERTS", "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"}
"""Metrics of Prometheus and of prometheus-client's process collector."""
_WORDS = {"by", "on", "and", "or", "unless", "sum", "without", "ignoring"}
UNITS_OF_GRAFANA = {"s", "reqps", "short", "bytes", "percentunit", "none"}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on this machine (Debian: apt-get install prometheus)")
    return subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "intima.rules.yml"),
        ("test", "rules", "alerts.test.yml"),
    ],
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_an_alert_that_would_not_rise(tmp_path: Path) -> None:
    broken = RULES.read_text().replace("intima_lease_expiries_total[15m]", "intima_lease_expiries_total[15m] offset 1d")
    assert broken != RULES.read_text()
    (tmp_path / RULES.name).write_text(broken)
    (tmp_path / TESTS.name).write_text(TESTS.read_text())
    done = promtool("test", "rules", str(tmp_path / TESTS.name))
    assert done.returncode != 0


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("alert", alerts(), ids=lambda a: a["alert"])
def test_every_alert_is_tested_and_says_what_to_do(alert: dict[str, Any]) -> None:
    assert {"summary", "description", "action"} <= alert["annotations"].keys()
    assert alert["labels"]["severity"] in {"page", "ticket"}
    rises = f'count(ALERTS{{alertname="{alert["alert"]}", alertstate="firing"}})'
    assert rises in TESTS.read_text()
    assert alert["alert"] in (ROOT / "docs" / "observability.md").read_text()


def names_in(query: str) -> set[str]:
    """Names of metrics in PromQL: what is no function, keyword, label, text or number."""
    bare = re.sub(r'"[^"]*"', '""', query)
    bare = re.sub(r"\b(?:by|on|ignoring|without)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}", "{}", bare)
    bare = re.sub(r"\[[^\]]*\]", "[]", bare)
    words = re.findall(r"[a-zA-Z_:][\w:]*(?!\s*\()\b(?!\s*\()", bare)
    return {w for w in words if w not in _WORDS and not re.fullmatch(r"\d\w*", w)}


def test_names_are_found_in_queries() -> None:
    query = 'histogram_quantile(0.95, sum by (le, a) (rate(x_bucket{le=~"z"}[5m]))) / on (b) intima:y:max > 3 unless up'
    assert names_in(query) == {"x_bucket", "intima:y:max", "up"}


def exported(storage: Storage) -> set[str]:
    """Names of the series of every metric that any of our processes can show."""
    gpu = type("Gpu", (), {"uuid": "GPU-1", "total_mib": 2, "free_mib": 1})
    turns = TurnMetrics({"segment": Turns(threads=1, most_waiting=1)})
    shown = (doors.REGISTRY, units.REGISTRY, sweeps.REGISTRY, turns, LedgerMetrics(storage))
    shown += (About("test", storage.data_dir), GpuMemory(lambda: [gpu]))  # type: ignore[assignment, list-item, return-value]
    found = set(THEIRS)
    for metric in (m for collector in shown for m in collector.collect()):
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(metric.type, [""])
        found |= {metric.name + ending for ending in endings}
    return found


def test_every_metric_that_is_asked_for_exists(sqlite_store: Storage) -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    known = exported(sqlite_store) | {rule["record"] for rule in rules if "record" in rule}
    asked = {name for rule in rules for name in names_in(rule["expr"])}
    asked |= {name for panel in panels() for target in panel["targets"] for name in names_in(target["expr"])}
    assert len(asked) > 25
    assert asked <= known


def panels() -> Iterator[dict[str, Any]]:
    for path in DASHBOARDS:
        yield from json.loads(path.read_text())["panels"]


def test_every_panel_has_title_unit_and_words() -> None:
    assert len(DASHBOARDS) == 3
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS_OF_GRAFANA
        assert panel["targets"]
        assert all(target["legendFormat"] for target in panel["targets"])


def test_panels_lie_side_by_side() -> None:
    for path in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(path.read_text())["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            rows, columns = range(place["y"], place["y"] + place["h"]), range(place["x"], place["x"] + place["w"])
            cells = {(x, y) for x in columns for y in rows}
            assert not cells & taken, panel["title"]
            taken |= cells


def test_queries_of_the_ledger_do_not_add_up_over_replicas(sqlite_store: Storage) -> None:
    of_ledger = {m.name for m in LedgerMetrics(sqlite_store).collect()} | {"intima_jobs", "intima_units"}
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    queries += [rule["expr"] for g in yaml.safe_load(RULES.read_text())["groups"] for rule in g["rules"]]
    asked = [query for query in queries if names_in(query) & of_ledger]
    assert len(asked) > 8
    for query in asked:
        assert re.search(r"\b(max|min)\b", query), query
        assert not re.search(rf"sum[^(]*\(\s*({'|'.join(of_ledger)})\b", query), query


def test_the_dashboards_are_what_their_source_says() -> None:
    done = subprocess.run(
        [sys.executable, "deploy/generate_dashboards.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_chart_has_the_same_alerts_and_jobs() -> None:
    chart = ROOT / "deploy" / "helm" / "intima"
    assert (chart / "files" / "alerts.yml").read_text() == RULES.read_text()
    on = {"rules": {"enabled": True, "labels": {}}, "podMonitor": {"enabled": True, "interval": "30s", "labels": {}}}
    manifests = render(values_of("external", metrics=on))
    (rule,), (monitor,) = of_kind(manifests, "PrometheusRule"), of_kind(manifests, "PodMonitor")
    assert rule["spec"] == yaml.safe_load(RULES.read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert [r["targetLabel"] for r in endpoint["relabelings"]] == ["job"]


def test_provisioning_names_the_datasource() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((folder / "dashboards" / "intima.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
