"""The compose stack as its operator sees it: build, up, kill, down; and the stand-ins where no image can be pulled."""

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STANDINS = ROOT / "bench" / "standins"
RIG_PACKAGES = {"nginx:1.28-bookworm": ("nginx-light", "curl"), "prom/prometheus:v3.5.0": ("prometheus", "wget")}
ADAPTED = {
    "postgres:15-bookworm": "postgres.Dockerfile",
    "redis:7-bookworm": "redis.Dockerfile",
    "prom/prometheus:v3.5.0": "prometheus.Dockerfile",
}


def start_rig(rig: Path) -> str:
    """Start an engine by a rig script, with stand-ins that behave as the public images; returns its address."""
    said = _run(["bash", str(rig), "up"])
    host = re.search(r"^export DOCKER_HOST=(\S+)$", said, re.MULTILINE)
    if host is None:
        raise SystemExit(f"{rig} said no DOCKER_HOST: {said}")
    environment = os.environ | {"DOCKER_HOST": host[1]}
    for image, packages in RIG_PACKAGES.items():
        _run(["bash", str(rig), "image", image, *packages], environment)
    for image, dockerfile in ADAPTED.items():
        label = ["docker", "image", "inspect", "-f", '{{index .Config.Labels "intima.standin"}}', image]
        if _run(label, environment).strip() != "true":
            build = ["docker", "build", "-q", "-t", image, "-f", str(STANDINS / dockerfile), str(STANDINS)]
            _run(build, environment)
    return host[1]


@dataclass(frozen=True, slots=True)
class Stack:
    """One compose project of docker-compose.yml, apart from what else runs on the engine."""

    project: str
    port: int
    docker_host: str | None = None
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where nginx is published."""
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *arguments: str) -> str:
        """Run docker compose; returns what it wrote."""
        return _run(["docker", "compose", "-p", self.project, *arguments], self._environment())

    def docker(self, *arguments: str) -> str:
        """Run docker; returns what it wrote."""
        return _run(["docker", *arguments], self._environment())

    def fails(self, *arguments: str) -> str:
        """Run docker compose, which must fail; returns what it said."""
        command = ["timeout", "--kill-after=10", "120", "docker", "compose", "-p", self.project, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self._environment(), capture_output=True, text=True, check=False)
        if done.returncode in {124, 137}:
            raise SystemExit(f"docker compose {' '.join(arguments)} went on instead of failing")
        if done.returncode == 0:
            raise SystemExit(f"docker compose {' '.join(arguments)} should have failed: {done.stdout}")
        return done.stdout + done.stderr

    def up(self) -> None:
        """Start everything and wait until every health check says yes."""
        self.compose("up", "-d", "--wait", "--wait-timeout", "300")

    def kill(self, service: str) -> None:
        """Kill a service's container as a crash of its host would."""
        self.docker("kill", f"{self.project}-{service}-1")

    def start(self, service: str) -> None:
        """Start a killed container again."""
        self.docker("start", f"{self.project}-{service}-1")

    def crash(self, service: str) -> None:
        """Kill every process inside a container but its init; the restart policy has to bring it back."""
        before = self.restarts(service)
        command = ["docker", "exec", f"{self.project}-{service}-1", "sh", "-c", "kill -9 -1"]
        subprocess.run(command, env=self._environment(), capture_output=True, check=False)
        if self.restarts(service) < before:
            raise SystemExit(f"{service} is another container now")

    def restarts(self, service: str) -> int:
        """Return how often the restart policy has started a container again."""
        return int(self.docker("inspect", "-f", "{{.RestartCount}}", f"{self.project}-{service}-1"))

    def health(self) -> dict[str, str]:
        """Return the health of every running service."""
        lines = self.compose("ps", "--format", "json").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return {one["Service"]: one["Health"] or one["State"] for one in found}

    def watched(self) -> dict[str, str]:
        """Return what Prometheus, where it runs, says of each target: job to up or down."""
        address = "http://127.0.0.1:9090/api/v1/targets"
        answer = self.compose("exec", "-T", "prometheus", "wget", "-q", "-O", "-", address)
        targets = json.loads(answer)["data"]["activeTargets"]
        return {one["labels"]["job"]: one["health"] for one in targets}

    def image_bytes(self) -> dict[str, int]:
        """Return the size of every image that was built here."""
        services = json.loads(self.compose("config", "--format", "json"))["services"]
        built = {s["image"] for s in services.values() if "build" in s}
        return {image: int(self.docker("image", "inspect", "-f", "{{.Size}}", image)) for image in sorted(built)}

    def memory(self) -> dict[str, str]:
        """Return what each container holds now."""
        names = [f"{self.project}-{service}-1" for service in self.health()]
        lines = self.docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *names).splitlines()
        return {line.split()[0].split("-")[-2]: line.split()[1] for line in lines}

    def _environment(self) -> dict[str, str]:
        engine = {} if self.docker_host is None else {"DOCKER_HOST": self.docker_host}
        return os.environ | engine | {"INTIMA_PORT": str(self.port)} | self.variables


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout
