"""docker-compose.yml by the real Compose binary: valid, and as the architecture says. No engine is needed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
OURS = {"api", "inference", "trainer", "stats"}
GPU = {"inference-gpu", "trainer-gpu"}
BUILT = {"api", "trainer", "stats"} | GPU
DOCKERFILES = [*ROOT.glob("deploy/*Dockerfile"), *ROOT.glob("bench/standins/*Dockerfile")]
ONCE = {"secrets", "s3-bucket"}
STACK = OURS | {"nginx", "redis", "postgres", "secrets"}


def config(*arguments: str, **variables: str) -> dict[str, Any]:
    """Return the file as Compose understands it, without variables of the caller."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("INTIMA_", "PIP_", "TORCH_", "COMPOSE_"))}
    done = subprocess.run(
        [BIN / "docker-compose", *arguments, "config", "--format", "json"],
        cwd=ROOT,
        env=clean | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    services: dict[str, Any] = config()["services"]
    return services


@pytest.fixture(scope="module")
def everything() -> dict[str, Any]:
    services: dict[str, Any] = config("--profile", "*")["services"]
    return services


def test_without_a_profile_there_is_what_a_laptop_needs(stack: dict[str, Any]) -> None:
    assert set(stack) == STACK


def test_only_nginx_is_published_and_only_on_loopback(everything: dict[str, Any]) -> None:
    published = {n: s["ports"] for n, s in everything.items() if s.get("ports")}
    assert [p["host_ip"] for ports in published.values() for p in ports] == ["127.0.0.1"] * len(published)
    assert "nginx" in published


def test_the_api_knows_where_it_is_published() -> None:
    services = config(INTIMA_PUBLISH="0.0.0.0", INTIMA_AUTH="tokens")["services"]
    assert services["nginx"]["ports"][0]["host_ip"] == "0.0.0.0"
    for door in ("api", "stats"):
        assert services[door]["environment"]["INTIMA_PUBLISHED_ON"] == "0.0.0.0"
        assert services[door]["environment"]["INTIMA_AUTH"] == "tokens"


def test_every_service_is_hardened(everything: dict[str, Any]) -> None:
    for name, service in everything.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all("size=" in mount for mount in service.get("tmpfs", [])), name
        assert not service.get("privileged"), name
    assert {n for n, s in everything.items() if "user" not in s} == set()
    root = {n for n, s in everything.items() if s["user"].split(":")[0] in {"0", "root"}}
    assert root == {"secrets"}
    assert everything["secrets"]["network_mode"] == "none"
    assert {n for n, s in everything.items() if s.get("cap_add")} == {"secrets"}


def test_every_service_has_limits_and_bounded_logs(everything: dict[str, Any]) -> None:
    for name, service in everything.items():
        assert int(service["mem_limit"]) > 0, name
        assert 0 < service["cpus"] <= 4, name
        assert service["pids_limit"] > 0, name
        assert service["logging"]["options"]["max-size"], name


def test_every_service_that_stays_says_whether_it_is_well_and_starts_again(everything: dict[str, Any]) -> None:
    for name, service in everything.items():
        stays = name not in ONCE
        assert ("healthcheck" in service) == stays, name
        assert service["restart"] == ("unless-stopped" if stays else "no"), name


def test_every_image_is_pinned(everything: dict[str, Any]) -> None:
    for name, service in everything.items():
        _, _, tag = service["image"].rpartition(":")
        assert re.match(r"v?\d+(\.\d+)*", tag), f"{name}: {service['image']}"


def test_what_must_be_there_first_is_waited_for(everything: dict[str, Any]) -> None:
    for name in OURS | GPU:
        needs = {k: v["condition"] for k, v in everything[name]["depends_on"].items()}
        assert needs == {"redis": "service_healthy", "postgres": "service_healthy"}
    for name in ("redis", "postgres"):
        assert everything[name]["depends_on"]["secrets"]["condition"] == "service_completed_successfully"
    assert {k: v["condition"] for k, v in everything["nginx"]["depends_on"].items()} == {
        "api": "service_healthy",
        "stats": "service_healthy",
    }


def test_nginx_reaches_the_api_and_nothing_else(everything: dict[str, Any]) -> None:
    nets = {name: set(service.get("networks", ())) for name, service in everything.items()}
    assert {n for n in nets if nets[n] & nets["nginx"]} == {"nginx", "api"}
    assert nets["grafana"] == {"watch"}
    assert {n for n in nets if "watch" in nets[n]} == {"grafana", "prometheus"}
    assert config()["networks"]["back"]["internal"] is True


def test_metrics_are_read_where_prometheus_looks_and_nowhere_else(everything: dict[str, Any]) -> None:
    for name in OURS | GPU:
        assert everything[name]["environment"]["INTIMA_METRICS_PORT"] == "9464"
        assert "back" in everything[name]["networks"]
    assert everything["inference-gpu"]["networks"]["back"]["aliases"] == ["inference"]
    assert everything["trainer-gpu"]["networks"]["back"]["aliases"] == ["trainer"]
    targets = {p["target"] for s in everything.values() for p in s.get("ports", ())}
    assert targets == {8080, 3000}


def test_no_secret_stands_in_the_file(everything: dict[str, Any]) -> None:
    for name, service in everything.items():
        for key, value in (service.get("environment") or {}).items():
            assert (
                value is None
                or not re.search(r"PASSWORD|TOKEN|SECRET|_URL$", key)
                or str(value).startswith(("/run/secrets/", "http://stats:"))
            ), f"{name}: {key}"


def test_each_reader_mounts_its_own_secrets_read_only(everything: dict[str, Any]) -> None:
    mounts = {
        name: [v for v in service.get("volumes", ()) if str(v["target"]).startswith("/run/secrets")]
        for name, service in everything.items()
    }
    sources = {name: [v["source"] for v in found] for name, found in mounts.items()}
    assert sources["api"] == sources["stats"] == ["secrets-doors"]
    assert sources["trainer"] == sources["inference"] == sources["trainer-gpu"] == ["secrets-workers"]
    assert sources["postgres"] == ["secrets-postgres"]
    assert sources["s3"] == ["secrets-s3"]
    assert sources["grafana"] == ["secrets-grafana"]
    assert sources["redis"] == ["secrets-redis"]
    assert sources["nginx"] == []
    assert all(v["read_only"] for found in mounts.values() for v in found)


def test_every_smoke_module_and_command_exists(everything: dict[str, Any]) -> None:
    assert {name for name, service in everything.items() if "build" in service} == BUILT
    assert everything["inference"]["image"] == everything["api"]["image"]
    for name in BUILT:
        build = everything[name]["build"]
        assert (ROOT / build["dockerfile"]).is_file()
        smoke = [m for m in build["args"]["SMOKE"].split() if m.startswith(("intima", "services"))]
        for module in [*smoke, *_commanded(everything[name])]:
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or path.is_dir(), module
        assert _commanded(everything[name])


def _commanded(service: dict[str, Any]) -> list[str]:
    return [part for part in service["command"] if part.startswith("services.")]


def test_mounted_files_exist(everything: dict[str, Any]) -> None:
    bound = {v["source"] for s in everything.values() for v in s.get("volumes", ()) if v["type"] == "bind"}
    assert all(Path(path).exists() for path in bound)
    assert bound


def test_the_trainers_alone_carry_torch(everything: dict[str, Any]) -> None:
    extras = {n: s["build"]["args"]["EXTRAS"].split(",") for n, s in everything.items() if "build" in s}
    assert {n for n, e in extras.items() if "trainer" in e} == {"trainer", "trainer-gpu"}
    absent = {n: s["build"]["args"]["ABSENT"].split() for n, s in everything.items() if "build" in s}
    assert all({"torch", "optuna", "timm"} <= set(absent[n]) for n in ("api", "stats", "inference-gpu"))


def test_the_gpu_profile_takes_gpus_and_can_do_without_cpu_workers() -> None:
    services = config("--profile", "gpu", INTIMA_CPU_WORKERS="0", INTIMA_GPUS="2")["services"]
    assert services["inference"]["scale"] == services["trainer"]["scale"] == 0
    for name in GPU:
        device = services[name]["deploy"]["resources"]["reservations"]["devices"][0]
        assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 2, ["gpu"])
    assert services["trainer-gpu"]["environment"]["INTIMA_DEVICE"] == "cuda"
    assert services["inference-gpu"]["environment"]["INTIMA_PROVIDER"] == "cuda"


def test_tls_is_one_more_file() -> None:
    found = config("-f", "docker-compose.yml", "-f", "deploy/compose.tls.yml", INTIMA_TLS="/etc/ssl/lab")["services"]
    ports = {(p["target"], p["published"]) for p in found["nginx"]["ports"]}
    assert ports == {(8443, "8443")}
    assert {"/etc/intima/servers/tls.conf", "/etc/intima/tls"} <= {v["target"] for v in found["nginx"]["volumes"]}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_dockerfiles_are_clean(path: Path) -> None:
    done = subprocess.run([BIN / "hadolint", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_viewer_is_in_the_images_of_the_api_alone(everything: dict[str, Any]) -> None:
    built = {name: s["build"]["args"].get("VIEWER") for name, s in everything.items() if "build" in s}
    assert {name for name, viewer in built.items() if viewer} == {"api", "inference-gpu"}


def test_secrets_are_made_once_and_given_ones_win(tmp_path: Path) -> None:
    made = _make_secrets(tmp_path)
    assert len(made["doors/intima_admin_token"].strip()) == 64
    password = made["postgres/postgres_password"].strip()
    assert made["doors/intima_database_url"] == f"postgresql+psycopg://intima:{password}@postgres:5432/intima\n"
    assert made["workers/intima_database_url"] == made["doors/intima_database_url"]
    assert "workers/intima_admin_token" not in made
    assert not [path for path in made if "intima_s3" in path]
    assert made["redis/redis.conf"] == f"requirepass {made['redis/redis_password']}"
    assert _make_secrets(tmp_path) == made
    given = "a-password-of-the-lab_2026"
    (tmp_path / "given" / "postgres_password").write_text(f"{given}\n")
    changed = _make_secrets(tmp_path)
    assert given in changed["workers/intima_database_url"]
    assert changed["doors/intima_admin_token"] == made["doors/intima_admin_token"]


def test_services_have_keys_of_s3_where_there_is_one(tmp_path: Path) -> None:
    made = _make_secrets(tmp_path, endpoint="http://s3:8333")
    identity = json.loads(made["s3/s3.json"])["identities"][0]["credentials"][0]
    assert identity["accessKey"] == made["workers/intima_s3_access_key_id"].strip()
    assert identity["secretKey"] == made["doors/intima_s3_secret_access_key"].strip()
    assert not [path for path in _make_secrets(tmp_path) if "intima_s3" in path]
    given = {"s3_access_key_id": "key-of-the-laboratory", "s3_secret_access_key": "base64+of/the/laboratory=="}
    for name, text in given.items():
        (tmp_path / "given" / name).write_text(text)
    made = _make_secrets(tmp_path)
    assert {name: made[f"doors/intima_{name}"] for name in given} == {n: f"{t}\n" for n, t in given.items()}


@pytest.mark.parametrize("bad", ["has spaces in it: no", "p@ss:word/of#the?lab", "base64+of/the/laboratory==", "short"])
def test_a_secret_that_would_break_an_address_is_refused(tmp_path: Path, bad: str) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "redis_password").write_text(bad)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        _make_secrets(tmp_path)
    assert "redis_password" in caught.value.stderr
    assert bad not in caught.value.stderr


def _make_secrets(folder: Path, *, endpoint: str = "") -> dict[str, str]:
    """Run the script with its two absolute folders moved under a temporary one."""
    (folder / "given").mkdir(exist_ok=True)
    for reader in ("doors", "workers", "postgres", "redis", "grafana", "s3"):
        (folder / "secrets" / reader).mkdir(parents=True, exist_ok=True)
    script = (ROOT / "deploy" / "make-secrets.sh").read_text()
    script = script.replace("/given/", f"{folder}/given/").replace("/secrets/", f"{folder}/secrets/")
    environment = {"PATH": os.environ["PATH"], "INTIMA_S3_ENDPOINT": endpoint}
    subprocess.run(["sh", "-c", script], env=environment, check=True, capture_output=True, text=True)
    root = folder / "secrets"
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("no nginx (apt-get install nginx-light)")
    text = (ROOT / "deploy/nginx/nginx.conf").read_text().replace("/etc/intima/", f"{ROOT}/deploy/nginx/")
    (tmp_path / "nginx.conf").write_text(text)
    done = subprocess.run([nginx, "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
