"""What the chart promises of safety: the restricted profile, secrets as files, closed networks."""

import base64
from typing import Any

import pytest
from chart import VALUES, Manifest, environment, named, of_kind, pods, render, render_texts, values_of

TLS = {"secretName": "grpc-tls", "clientCertificates": True}
COMPONENTS = {"api", "stats", "inference", "trainer"}
JOBS = {"test", "collect", "backup"}
"""They end by themselves."""
SECRET_NAMES = {"secret", "password", "token", "key"}


@pytest.fixture(scope="module", params=VALUES)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(values_of(request.param))


def breaches(pod: Manifest) -> list[str]:
    """Return what the restricted profile of Kubernetes' pod security standards, or this chart's own rules, forbid."""
    spec, found = pod["spec"], []
    security = spec.get("securityContext", {})
    rules = {
        "runs as root": security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0,
        "no seccomp profile": security.get("seccompProfile") == {"type": "RuntimeDefault"},
        "host namespaces": not any(spec.get(k) for k in ("hostNetwork", "hostPID", "hostIPC")),
        "a token of the cluster": spec.get("automountServiceAccountToken") is False,
        "a volume of the host": all(
            set(v) & {"emptyDir", "projected", "secret", "persistentVolumeClaim"} for v in spec["volumes"]
        ),
        "init containers": not spec.get("initContainers"),
    }
    found += [name for name, kept in rules.items() if not kept]
    for container in spec["containers"]:
        own = container.get("securityContext", {})
        inner = {
            "privilege escalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "writable root": own.get("readOnlyRootFilesystem") is True,
            "privileged": not own.get("privileged"),
            "no memory limit": "memory" in container["resources"].get("limits", {}),
            "no requests": {"cpu", "memory"} <= set(container["resources"].get("requests", {})),
            "host port": not any(p.get("hostPort") for p in container.get("ports", [])),
            "floating image": not container["image"].endswith(":latest") and ":" in container["image"],
        }
        found += [name for name, kept in inner.items() if not kept]
    return found


def test_every_pod_keeps_the_restricted_profile(manifests: list[Manifest]) -> None:
    assert {component: found for component, pod in pods(manifests).items() if (found := breaches(pod))} == {}


@pytest.mark.parametrize(
    ("where", "key", "value", "said"),
    [
        ("pod", "securityContext", {}, "runs as root"),
        ("pod", "hostNetwork", True, "host namespaces"),
        ("pod", "automountServiceAccountToken", True, "a token of the cluster"),
        ("pod", "volumes", [{"name": "a", "hostPath": {"path": "/"}}], "a volume of the host"),
        ("container", "securityContext", {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}, "capabilities"),
        ("container", "resources", {}, "no memory limit"),
        ("container", "image", "intima-api:latest", "floating image"),
    ],
)
def test_a_breach_would_be_seen(where: str, key: str, value: Any, said: str) -> None:
    pod = pods(render(values_of("embedded")))["api"]
    place = pod["spec"] if where == "pod" else pod["spec"]["containers"][0]
    place[key] = value
    assert said in breaches(pod)


def test_every_service_has_its_probes(manifests: list[Manifest]) -> None:
    for component, pod in pods(manifests).items():
        if component not in JOBS:
            probes = {"startupProbe", "livenessProbe", "readinessProbe"}
            assert probes <= set(pod["spec"]["containers"][0]), component


def test_no_secret_stands_in_an_environment_or_a_command(manifests: list[Manifest]) -> None:
    for component, pod in pods(manifests).items():
        container = pod["spec"]["containers"][0]
        assert "envFrom" not in container
        assert not any("valueFrom" in e for e in container.get("env", []))
        given = set(environment(pod)) - {"POSTGRES_PASSWORD_FILE", "INTIMA_SECRETS", "INTIMA_GRPC_TLS_KEY"}
        assert not [n for n in given if SECRET_NAMES & set(n.lower().split("_"))], component
        assert "secret@" not in str(container)


def files_of(pod: Manifest) -> set[str]:
    (volume,) = [v for v in pod["spec"]["volumes"] if v["name"] == "secrets"]
    return {item["key"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}


def test_a_pod_is_given_the_secrets_it_needs_and_no_more(manifests: list[Manifest]) -> None:
    needed = {
        "api": {"intima_database_url", "intima_redis_url", "intima_admin_token"},
        # Both doors know the first token, and count the requests of each in Redis.
        "stats": {"intima_database_url", "intima_redis_url", "intima_admin_token"},
        "inference": {"intima_database_url", "intima_redis_url"},
        "trainer": {"intima_database_url", "intima_redis_url"},
    }
    s3 = {"intima_s3_access_key_id", "intima_s3_secret_access_key"}
    assert {component: files_of(pods(manifests)[component]) - s3 for component in COMPONENTS} == needed
    assert files_of(pods(manifests)["collect"]) - s3 == {"intima_database_url"}


def secret_of(values: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = named(render(values), "Secret", "demo-intima-secrets")["stringData"]
    return found


def test_passwords_are_drawn_and_used_by_both_sides() -> None:
    secret, again = secret_of(values_of("embedded")), secret_of(values_of("embedded"))
    assert f":{secret['postgres_password']}@demo-intima-postgresql:5432/" in secret["intima_database_url"]
    assert f":{secret['redis_password']}@demo-intima-redis:6379/" in secret["intima_redis_url"]
    drawn = {secret["postgres_password"], secret["redis_password"], secret["intima_admin_token"]}
    assert len(drawn) == 3
    assert min(len(p) for p in drawn) >= 43
    assert again["intima_admin_token"] not in drawn


def test_a_secret_of_ones_own_replaces_the_chart_s() -> None:
    values = values_of("external", secrets={"existing": "mine"}, database={"url": ""}, redis={"url": ""})
    found = render(values)
    assert of_kind(found, "Secret") == []
    for component in COMPONENTS:
        (volume,) = [v for v in pods(found)[component]["spec"]["volumes"] if v["name"] == "secrets"]
        assert {source["secret"]["name"] for source in volume["projected"]["sources"]} == {"mine"}


def test_a_given_address_is_in_the_secret_alone() -> None:
    texts = render_texts(values_of("external"))
    assert [name for name, text in texts.items() if ":secret@" in text] == ["secrets.yaml"]
    assert base64.b64encode(b":secret@") not in str(texts).encode()


def test_everything_is_closed_and_each_opening_is_named(manifests: list[Manifest]) -> None:
    policies = {
        m["metadata"]["name"].removeprefix("demo-intima-"): m["spec"] for m in of_kind(manifests, "NetworkPolicy")
    }
    closed = policies.pop("default")
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in closed
    assert {p["port"] for rule in closed["egress"] for p in rule["ports"]} == {53}
    assert set(policies) == set(pods(manifests)), "one each"
    for name, spec in policies.items():
        for rule in [*spec["ingress"], *spec["egress"]]:
            assert rule["ports"], f"{name} opens every port"
            assert rule.get("from") or rule.get("to"), f"{name} opens to everyone"
    workers = {p["port"] for n in ("inference", "trainer") for r in policies[n]["ingress"] for p in r["ports"]}
    assert workers == {9464}
    assert not any("ipBlock" in str(spec["ingress"]) for spec in policies.values())


def test_doors_listen_for_a_proxy_and_ask_for_tokens(manifests: list[Manifest]) -> None:
    for component in ("api", "stats"):
        given = environment(pods(manifests)[component])
        assert (given["INTIMA_HOST"], given["INTIMA_BEHIND_PROXY"], given["INTIMA_AUTH"]) == (
            "0.0.0.0",
            "true",
            "tokens",
        )


def test_tls_of_grpc_is_a_mounted_secret() -> None:
    found = render(values_of("s3-gpu-keda", ingress={"grpcHost": ""}, grpc={"tls": TLS}))
    for component in ("api", "stats"):
        pod = pods(found)[component]
        assert environment(pod)["INTIMA_GRPC_TLS_CLIENT_CA"] == "/run/tls/ca.crt"
        (volume,) = [v for v in pod["spec"]["volumes"] if v["name"] == "tls"]
        assert volume["secret"] == {"secretName": "grpc-tls", "defaultMode": 0o440}
    assert "tls" not in {v["name"] for v in pods(found)["trainer"]["spec"]["volumes"]}
