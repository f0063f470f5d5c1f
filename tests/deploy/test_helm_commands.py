"""Shell that stands in the chart, run here: the embedded Redis with its probe, and the probe of workers."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import redis
from chart import pods, render, values_of
from servers import free_port


def own(text: str, folder: Path) -> str:
    """Return a command with the folders of the pod replaced by one of the test's."""
    return re.sub(r"/(run/secrets|tmp|data)(?=/| |$)", str(folder), text, flags=re.MULTILINE)


def shell(text: str, folder: Path) -> int:
    return subprocess.run(["sh", "-c", own(text, folder)], check=False, capture_output=True).returncode


@pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="no redis-server (Debian: apt-get install redis-server)"
)
def test_the_embedded_redis_asks_for_its_password_and_its_probe_knows_it(tmp_path: Path) -> None:
    container = pods(render(values_of("embedded")))["redis"]["spec"]["containers"][0]
    (tmp_path / "redis_password").write_text("apassword")
    port = free_port()
    script = f"{own(container['command'][-1], tmp_path).rstrip()} --port {port} --bind 127.0.0.1"
    probe = container["readinessProbe"]["exec"]["command"][-1].replace("redis-cli", f"redis-cli -p {port}")
    server = subprocess.Popen(["sh", "-c", script], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while shell(probe, tmp_path) != 0:
            assert time.monotonic() < deadline, "it does not answer its probe"
            time.sleep(0.1)
        with redis.Redis(port=port) as stranger, pytest.raises(redis.exceptions.AuthenticationError):
            stranger.ping()
        with redis.Redis(port=port, password="apassword") as known:
            assert known.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
            assert known.config_get("appendonly")["appendonly"] == "yes"
        (tmp_path / "redis_password").write_text("another")
        assert shell(probe, tmp_path) != 0
        assert (tmp_path / "redis.conf").stat().st_mode & 0o077 == 0
    finally:
        server.kill()
        server.wait()


def test_the_probe_of_a_worker_sees_an_old_file_and_none(tmp_path: Path) -> None:
    probe = pods(render(values_of("embedded")))["trainer"]["spec"]["containers"][0]["livenessProbe"]["exec"]["command"][
        -1
    ]
    assert shell(probe, tmp_path) != 0
    (tmp_path / "alive").touch()
    assert shell(probe, tmp_path) == 0
    old = time.time() - 11 * 60
    os.utime(tmp_path / "alive", (old, old))
    assert shell(probe, tmp_path) != 0
