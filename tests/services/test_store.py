"""The door to the store, as an operator uses it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from full_store import add_slide, damage, fill_store
from servers import Bucket
from store_fixtures import part_of

from intima.store.storage import attach_storage, open_storage


def run(data: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.store", *words]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("INTIMA_")}
    env = clean | {"INTIMA_DATA": str(data)} | environment
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_a_store_moves_from_one_machine_into_a_bucket(moto: Bucket, tmp_path: Path) -> None:
    store = open_storage(tmp_path / "data", floor_bytes=0)
    blobs = fill_store(store)
    made = run(tmp_path / "data", "backup", str(tmp_path / "backup"))
    assert made.returncode == 0, made.stderr
    assert "5 blobs" in made.stderr
    again = run(tmp_path / "data", "backup", str(tmp_path / "backup"))
    assert (again.returncode, "not empty" in again.stderr) == (1, True)
    refused = run(tmp_path / "data", "restore", str(tmp_path / "backup"))
    assert (refused.returncode, "not empty" in refused.stderr) == (1, True)
    address = part_of(moto)
    there = {**moto.settings, "INTIMA_BLOBS_URL": str(address)}
    restored = run(tmp_path / "new", "restore", str(tmp_path / "backup"), **there)
    assert restored.returncode == 0, restored.stderr
    verified = run(tmp_path / "new", "verify", **there)
    assert (verified.returncode, "5 blobs" in verified.stderr) == (0, True), verified.stderr
    new = attach_storage(tmp_path / "new", blobs_at=address)
    assert {blob.sha256 for blob in new.blobs.stored()} == set(blobs)
    new.close()
    store.close()


def test_a_stack_whose_database_is_not_named_is_not_restored_into_a_stray_file(tmp_path: Path) -> None:
    """As `docker compose run` does it before the secrets are made."""
    refused = run(tmp_path / "data", "restore", str(tmp_path / "backup"), INTIMA_QUEUE="celery")
    assert (refused.returncode, "INTIMA_DATABASE_URL" in refused.stderr) == (1, True)
    assert not (tmp_path / "data").exists()


def test_a_backup_that_is_told_to_stop_leaves_nothing_that_looks_like_one(tmp_path: Path) -> None:
    store = open_storage(tmp_path / "data", floor_bytes=0)
    for number in range(300):
        add_slide(store, number, os.urandom(200_000))
    store.close()
    command = [sys.executable, "-m", "services.store", "backup", str(tmp_path / "backup")]
    process = subprocess.Popen(
        command, env=os.environ | {"INTIMA_DATA": str(tmp_path / "data")}, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "backup").glob("blobs/*/*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    assert process.wait(30) != 0
    assert not (tmp_path / "backup" / "manifest.json").exists()
    assert run(tmp_path / "data", "collect", "--dry-run").returncode == 0, "nothing is held any more"


def test_verify_says_what_is_wrong_and_collect_what_went(tmp_path: Path) -> None:
    store = open_storage(tmp_path / "data", floor_bytes=0)
    gone, bad = add_slide(store, 1, b"gone"), add_slide(store, 2, b"bad")
    spare = store.blobs.put(b"spare")
    os.utime(store.blobs.path(spare), (0, 0))
    store.blobs.path(gone).unlink()
    damage(store.blobs.path(bad))
    found = run(tmp_path / "data", "verify", "--quarantine")
    assert found.returncode == 1
    assert f"Missing: {gone}" in found.stderr
    assert f"Damaged: {bad}" in found.stderr
    assert "1 were moved to quarantine" in found.stderr
    backup = run(tmp_path / "data", "backup", str(tmp_path / "backup"))
    assert (backup.returncode, "The store lacks" in backup.stderr) == (1, True)
    would = run(tmp_path / "data", "collect", "--dry-run")
    assert (would.returncode, "Would remove 1 blobs (5 bytes)" in would.stderr) == (0, True)
    assert store.blobs.exists(spare)
    assert run(tmp_path / "data", "collect").returncode == 0
    assert not store.blobs.exists(spare)
    store.close()


def test_rewind_and_refusals(tmp_path: Path) -> None:
    open_storage(tmp_path / "data", floor_bytes=0).close()
    assert run(tmp_path / "data", "rewind", "0005").returncode == 0
    for words, status in (
        (["collect", "--unused-hours", "1"], 2),
        (["rewind", "0000"], 1),
        (["restore", "nowhere"], 1),
    ):
        assert run(tmp_path / "data", *words).returncode == status
    half = run(tmp_path / "data", "verify", INTIMA_BLOBS_URL="s3://bucket", INTIMA_S3_ACCESS_KEY_ID="lonely")
    assert (half.returncode, "one half of the credentials" in half.stderr, "lonely" in half.stderr) == (1, True, False)


@pytest.mark.parametrize("command", ["verify", "collect", "backup"])
def test_a_bucket_out_of_reach_ends_in_words(tmp_path: Path, command: str) -> None:
    at = {"INTIMA_BLOBS_URL": "s3://b/p", "INTIMA_S3_ENDPOINT": "http://127.0.0.1:1"}
    keys = {"INTIMA_S3_ACCESS_KEY_ID": "key", "INTIMA_S3_SECRET_ACCESS_KEY": "very-secret"}
    words = [command, str(tmp_path / "backup")] if command == "backup" else [command]
    ended = run(tmp_path / "data", *words, **at, **keys)
    assert ended.returncode == 1
    assert "does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "very-secret" not in json.dumps([ended.stderr, ended.stdout])
