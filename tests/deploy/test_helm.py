"""The Helm chart: rendered by the real engine, every manifest held to the schemas of three Kubernetes versions."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart import CHART, VALUES, Manifest, environment, helm, named, of_kind, pods, render, render_texts, values_of
from sqlalchemy import text

from intima.store.storage import Storage
from services.api.settings import Settings as ApiSettings
from services.stats.settings import Settings as StatsSettings
from services.telemetry.settings import TelemetrySettings
from services.trainer.settings import Settings as TrainerSettings

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")

ROOT = CHART.parents[2]
VERSIONS = ("1.29", "1.33", "1.37")
FOREIGN = {"ScaledObject", "TriggerAuthentication", "PodMonitor", "PrometheusRule"}
"""Kinds of other projects: their shape is held to what is written below."""
EXTRA = {
    "redis": values_of("external", keda={"trigger": "redis", "redisAddress": "redis.example.org:6379"}),
    "kept": values_of("external", housekeeping={"backup": {"enabled": True, "existingClaim": "backups"}}),
    "alone": values_of("embedded", persistence={"existingClaim": "mine"}, networkPolicy={"enabled": False}),
}
for _worker in ("inference", "trainer"):
    EXTRA["redis"][_worker] = {"keda": {"enabled": True}}
ALL = {name: values_of(name) for name in VALUES} | EXTRA


@pytest.fixture(scope="module", params=ALL)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(ALL[request.param])


def check_schemas(manifests: list[Manifest], version: str) -> None:
    for manifest in manifests:
        if manifest["kind"] not in FOREIGN:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_what_kubernetes_knows(manifests: list[Manifest], version: str) -> None:
    check_schemas(manifests, version)
    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    assert len(names) == len(set(names))
    assert {"Deployment", "Service", "ServiceAccount", "Pod"} <= {kind for kind, _ in names}


def test_what_points_at_something_finds_it(manifests: list[Manifest]) -> None:
    """Services and budgets find pods, ports exist, volumes that are mounted are there, claims are made or named."""
    templates = pods(manifests)
    for service in of_kind(manifests, "Service"):
        pod = templates[service["spec"]["selector"]["app.kubernetes.io/component"]]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        offered = {p["name"] for p in pod["spec"]["containers"][0]["ports"]}
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= offered
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        labels = budget["spec"]["selector"]["matchLabels"]
        assert labels.items() <= templates[labels["app.kubernetes.io/component"]]["metadata"]["labels"].items()
    for pod in templates.values():
        mounted = {m["name"] for m in pod["spec"]["containers"][0]["volumeMounts"]}
        assert mounted - {"data"} == {v["name"] for v in pod["spec"]["volumes"]} - {"data"}
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target = named(manifests, "Deployment", scaler["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in target["spec"], "two would set it"


def test_commands_and_settings_exist(manifests: list[Manifest]) -> None:
    """A variable that no settings object knows would be passed over in silence."""
    settings = {"api": ApiSettings, "inference": ApiSettings, "stats": StatsSettings, "trainer": TrainerSettings}
    # The folder of secrets is no field; workers take their queue from the command.
    shared = {"INTIMA_SECRETS", "INTIMA_QUEUE"}
    shared |= {f"INTIMA_{name}".upper() for name in TelemetrySettings.model_fields}
    for component, kind in settings.items():
        pod = pods(manifests)[component]
        command = pod["spec"]["containers"][0]["command"]
        (module,) = [part for part in command if part.startswith("services.")]
        assert importlib.util.find_spec(module) is not None
        known = {f"INTIMA_{name}".upper() for name in (*kind.model_fields, *TelemetrySettings.model_fields)}
        given = {name for name in environment(pod) if name.startswith("INTIMA_")}
        assert given - known - shared == set()
        keys = [i["key"] for v in pod["spec"]["volumes"] if v["name"] == "secrets" for i in secret_items(v)]
        assert {k.upper() for k in keys} - known == set()


def test_images_are_those_of_the_compose_file() -> None:
    text = (CHART.parents[2] / "docker-compose.yml").read_text()
    built = set(re.findall(r"image: (intima/[a-z-]+):", text))
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    parts = [values[name] for name in ("api", "stats", "inference", "trainer")]
    assert {p["image"] for p in parts} | {p["gpu"]["image"] for p in parts if "gpu" in p} == built
    for server in ("redis", "postgresql"):
        assert f"image: {values[server]['embedded']['image']}" in text


def secret_items(volume: Manifest) -> list[dict[str, str]]:
    return [item for source in volume["projected"]["sources"] for item in source["secret"]["items"]]


def test_no_pod_reads_the_names_of_services(manifests: list[Manifest]) -> None:
    """Kubernetes would set INTIMA_STATS_PORT=tcp://... for a Service called intima-stats."""
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in pods(manifests).values())


def test_pods_live_long_enough_to_end_their_work(manifests: list[Manifest]) -> None:
    for component in ("api", "stats"):
        pod = pods(manifests)[component]
        pause = float(pod["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
        # HTTP and then gRPC are given that long, one after the other.
        needed = pause + 2 * float(environment(pod)["INTIMA_GRACE_S"])
        assert pod["spec"]["terminationGracePeriodSeconds"] > needed
    for worker in ("inference", "trainer"):
        deployment = named(manifests, "Deployment", f"demo-intima-{worker}")
        grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace >= 900
        assert deployment["spec"]["progressDeadlineSeconds"] > grace


def test_gpus_are_asked_for_tolerated_and_used() -> None:
    found = pods(render(values_of("s3-gpu-keda")))
    for worker, count, device, image in (
        ("inference", 1, "INTIMA_PROVIDER", "api-gpu"),
        ("trainer", 2, "INTIMA_DEVICE", "trainer-gpu"),
    ):
        spec = found[worker]["spec"]
        assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == count
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
        assert spec["containers"][0]["image"] == f"registry.example.org/intima/{image}:0.1.0"
        given = environment(found[worker])
        assert (given[device], given["INTIMA_SLOTS"]) == ("cuda", str(count))
    on_cpu = pods(render(values_of("embedded")))
    assert environment(on_cpu["trainer"])["INTIMA_DEVICE"] == "cpu"
    assert environment(on_cpu["inference"])["INTIMA_PROVIDER"] == "cpu"
    assert "nvidia.com/gpu" not in str(on_cpu)


def check_scaled_object(manifest: Manifest) -> None:
    spec = manifest["spec"]
    known = {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod", "advanced"}
    assert set(spec) == known | {"triggers"}
    assert 0 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    needed = {"postgresql": {"query", "targetQueryValue"}, "redis": {"address", "listName", "listLength", "enableTLS"}}
    assert set(trigger["metadata"]) == needed[trigger["type"]]
    assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA reads texts"


@pytest.mark.parametrize(("name", "kind", "count"), [("s3-gpu-keda", "postgresql", 2), ("redis", "redis", 2)])
def test_workers_scale_by_the_ledger_or_the_lists(name: str, kind: str, count: int) -> None:
    found = render(ALL[name])
    scaled = of_kind(found, "ScaledObject")
    assert len(scaled) == count
    for manifest in scaled:
        check_scaled_object(manifest)
        assert manifest["spec"]["triggers"][0]["type"] == kind
        for authentication in of_kind(found, "TriggerAuthentication"):
            (target,) = authentication["spec"]["secretTargetRef"]
            assert set(target) == {"parameter", "name", "key"}
    lists = {t["metadata"].get("listName") for m in scaled for t in m["spec"]["triggers"]}
    assert lists == ({"training", "inference"} if kind == "redis" else {None})


def test_the_question_to_the_ledger_is_one_the_database_answers(store: Storage) -> None:
    for manifest in of_kind(render(ALL["s3-gpu-keda"]), "ScaledObject"):
        query = manifest["spec"]["triggers"][0]["metadata"]["query"]
        with store.reading() as connection:
            assert connection.execute(text(query)).scalar_one() == 0


def test_alerts_are_those_that_are_tested_and_find_their_jobs() -> None:
    found = render(ALL["s3-gpu-keda"])
    (rule,) = of_kind(found, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART.parents[1] / "prometheus" / "intima.rules.yml").read_text())
    (monitor,) = of_kind(found, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"][0]["targetLabel"] == "job"
    watched = set(monitor["spec"]["selector"]["matchExpressions"][0]["values"])
    assert watched == {c for c, pod in pods(found).items() if "INTIMA_METRICS_PORT" in environment(pod)}
    assert {environment(pods(found)[c])["INTIMA_METRICS_HOST"] for c in watched} == {"0.0.0.0"}


def test_the_store_is_looked_after_once_a_day_by_commands_that_there_are(tmp_path: Path) -> None:
    found = render(ALL["kept"])
    commands = {
        name: named(found, "CronJob", f"demo-intima-{name}")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        for name in ("collect", "backup")
    }
    collect = commands["collect"]["containers"][0]["command"]
    environment = {"INTIMA_DATA": str(tmp_path / "store"), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = subprocess.run(collect, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "idempotency keys" in done.stderr) == (0, True), done.stderr
    shell = commands["backup"]["containers"][0]["command"]
    here = [*shell[:2], shell[2].replace("/backups/", f"{tmp_path}/backups/")]
    (tmp_path / "backups").mkdir()
    done = subprocess.run(here, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "backups").rglob("manifest.json")] == ["manifest.json"]
    assert {"name": "backups", "mountPath": "/backups"} in commands["backup"]["containers"][0]["volumeMounts"]


def test_notes_say_how_to_reach_it() -> None:
    notes = render_texts(values_of("embedded"))["NOTES.txt"]
    assert "port-forward svc/demo-intima-api 8000:8000" in notes
    assert "One node" in notes
    published = render_texts(values_of("external"))["NOTES.txt"]
    assert "https://intima.example.org" in published
    assert "WARNING" not in published


def test_the_engine_finds_nothing_to_complain_of() -> None:
    found = helm.lint(str(CHART))
    assert [m for m in found["messages"] if m["severity"] > 1] == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "There is no database"),
        ({"database": {"url": "postgresql+psycopg://a@b/c"}}, "There is no broker"),
        (values_of("embedded", api={"replicas": 2}), "Up to 2 replicas of api"),
        (values_of("embedded", api={"autoscaling": {"enabled": True, "max": 5}}), "Up to 5 replicas of api"),
        (values_of("embedded", trainer={"keda": {"enabled": True}}), "Up to 4 replicas of trainer"),
        (values_of("external", postgresql={"embedded": {"enabled": True}}), "Two databases"),
        (values_of("external", redis={"url": "redis://a", "embedded": {"enabled": True}}), "Two brokers"),
        (values_of("external", auth="none"), "auth=none and an Ingress"),
        (values_of("external", ingress={"host": ""}), "Ingress without a host"),
        (values_of("external", ingress={"grpcHost": "a.example.org"}), "needs grpc.enabled"),
        (values_of("s3-gpu-keda", keda={"ledgerConnectionKey": ""}), "keda.ledgerConnectionKey"),
        (values_of("external", grpc={"tls": {"clientCertificates": True}}), "needs grpc.tls.secretName"),
    ],
)
def test_what_cannot_work_is_refused_and_says_why(values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm.HelmError) as caught:
        render(values)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "more",
    [
        {"replicas": 2},
        {"api": {"replica": 2}},
        {"api": {"replicas": "two"}},
        {"api": {"replicas": -1}},
        {"auth": "password"},
        {"persistence": {"accessMode": "ReadWriteSometimes"}},
        {"persistence": {"size": "much"}},
        {"blobs": {"url": "https://bucket"}},
        {"database": {"url": "mysql://a@b/c"}},
        {"ingress": {"host": "Not A Host"}},
        {"api": {"env": {"intima_slots": 1}}},
        {"trainer": {"gpu": {"count": 1.5}}},
        {"keda": {"trigger": "guess"}},
    ],
)
def test_a_value_that_is_none_is_refused_by_the_schema(more: dict[str, Any]) -> None:
    with pytest.raises(helm.HelmError, match="values don't meet the specifications of the schema"):
        render(values_of("external", **more))


def plant(folder: Path, name: str, before: str, after: str) -> Path:
    copy = Path(shutil.copytree(CHART, folder / "intima"))
    path = copy / "templates" / name
    found = path.read_text()
    assert before in found, before
    path.write_text(found.replace(before, after))
    return copy


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("doors.yaml", "  strategy: {type", "  stratgy: {type"),
        ("_helpers.tpl", "terminationGracePeriodSeconds: {{ .grace }}", "terminationGracePeriodSeconds: soon"),
        ("_helpers.tpl", "emptyDir: {sizeLimit: 2Gi}", "emptyDisk: {sizeLimit: 2Gi}"),
        ("network.yaml", "policyTypes: [Ingress, Egress]", "policyType: [Ingress, Egress]"),
        ("shared.yaml", "maxUnavailable: 1", "maxUnavailable: [1]"),
        ("workers.yaml", "failureThreshold: 60", "failureTreshold: 60"),
    ],
)
def test_a_fault_in_a_template_is_caught(tmp_path: Path, name: str, before: str, after: str) -> None:
    spoiled = plant(tmp_path, name, before, after)
    with pytest.raises(kubernetes_validate.ValidationError):
        check_schemas(render(values_of("embedded"), chart=spoiled), VERSIONS[-1])


def test_a_fault_in_a_foreign_kind_is_caught(tmp_path: Path) -> None:
    spoiled = plant(tmp_path, "keda.yaml", "targetQueryValue", "targetValue")
    check: Callable[[Manifest], None] = check_scaled_object
    with pytest.raises(AssertionError):
        check(of_kind(render(values_of("s3-gpu-keda"), chart=spoiled), "ScaledObject")[0])
