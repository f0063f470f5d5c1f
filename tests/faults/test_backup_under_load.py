"""Backups while three processes write and one collects: each holds all that was acknowledged before it began."""

import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from full_store import add_slide
from servers import create_database
from sqlalchemy import select, text
from store_fixtures import part_of
from toy_jobs import child_environment, python

from intima.errors import Conflict
from intima.store import tables as t
from intima.store.addresses import S3Address
from intima.store.backup import back_up
from intima.store.checking import check_store
from intima.store.restore import restore
from intima.store.retention import collect
from intima.store.storage import Storage, attach_storage, open_storage

pytestmark = pytest.mark.faults
ROUNDS, WRITERS = 10, 3
WRITER = """
import os, sys, time
from pathlib import Path
from full_store import add_slide
from intima.store.addresses import S3Address
from intima.store.storage import attach_storage

folder, url, bucket, prefix, endpoint, first = sys.argv[1:]
at = S3Address(bucket, prefix, endpoint=endpoint, access_key_id="k", secret_access_key="s") if bucket else None
storage = attach_storage(Path(folder), url or None, blobs_at=at)
number = int(first) * 10**9
while True:
    number += 1
    data = os.urandom(1 + int.from_bytes(os.urandom(2), "big") // 4)
    storage.blobs.put(os.urandom(100))
    print(add_slide(storage, number, data), flush=True)
    time.sleep(1)
"""


@pytest.fixture(params=["sqlite-folder", "postgresql-folder", "postgresql-bucket"])
def busy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Storage, list[Path]]]:
    """A store that three processes write to, and what each has acknowledged."""
    database, place = request.param.split("-")
    url, at = "", S3Address("")
    if database == "postgresql":
        url = create_database(request.getfixturevalue("postgresql"), f"t{uuid.uuid4().hex}")
    if place == "bucket":
        at = part_of(request.getfixturevalue("moto"))
    storage = open_storage(tmp_path / "data", url or None, floor_bytes=0, blobs_at=at if at.bucket else None)
    words = [str(storage.data_dir), url, at.bucket, at.prefix, str(at.endpoint)]
    logs = [tmp_path / f"writer{n}" for n in range(WRITERS)]
    started = []
    for n, log in enumerate(logs):
        with log.open("wb") as out:
            command = python("-c", WRITER, *words, str(n))
            started.append(subprocess.Popen(command, env=child_environment(), stdout=out))
    yield storage, logs
    ended = [process.poll() for process in started]
    for process in started:
        process.kill()
        process.wait()
    storage.close()
    assert ended == [None] * WRITERS


def acknowledged(logs: list[Path]) -> set[str]:
    return {line for log in logs for line in log.read_text().split("\n")[:-1]}


def test_ten_backups_under_load(busy: tuple[Storage, list[Path]], tmp_path: Path) -> None:
    storage, logs = busy
    stop = threading.Event()
    collected: list[int] = []
    refused: list[int] = []

    def collect_all_the_time() -> None:
        while not stop.wait(0.2):
            try:
                collected.append(collect(storage, unused_s=15.0).blobs)
            except Conflict:
                refused.append(1)

    while min(len(log.read_text().split()) for log in logs) < 5:
        time.sleep(0.1)
    collector = threading.Thread(target=collect_all_the_time)
    collector.start()
    try:
        for number in range(ROUNDS):
            _one_round(storage, logs, tmp_path / f"round{number}")
    finally:
        stop.set()
        collector.join()
    print(f"acknowledged {len(acknowledged(logs))}, collected {sum(collected)}, refused {len(refused)}")
    assert sum(collected) > 0


def _one_round(storage: Storage, logs: list[Path], folder: Path) -> None:
    before, started = acknowledged(logs), time.monotonic()
    while True:
        try:
            made = back_up(storage, folder / "backup")
            break
        except Conflict:
            time.sleep(1)
    took, started = time.monotonic() - started, time.monotonic()
    fresh = attach_storage(folder / "fresh", floor_bytes=0)
    restore(fresh, folder / "backup")
    restored = time.monotonic() - started
    with fresh.reading() as conn:
        rows = set(conn.execute(select(t.slides.c.sha256)).scalars())
        assert conn.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    found = check_store(fresh)
    fresh.close()
    print(
        f"{len(before)} before, {len(rows)} in it, {made.blob_bytes} bytes, {took:.1f} s, restored in {restored:.1f} s"
    )
    assert made.whole
    assert rows >= before
    assert (found.missing, found.damaged, found.unreferenced) == ((), (), 0)
    assert {b.sha256 for b in storage.blobs.stored()} >= rows


def test_a_store_that_is_killed_in_a_backup_leaves_nothing_whole(sqlite_store: Storage, tmp_path: Path) -> None:
    for number in range(300):
        add_slide(sqlite_store, number, number.to_bytes(4, "big") * 5000)
    code = (
        "import sys; from pathlib import Path; from intima.store.backup import back_up;"
        "from intima.store.storage import attach_storage;"
        "print('begun', flush=True);"
        "back_up(attach_storage(Path(sys.argv[1]), floor_bytes=0), Path(sys.argv[2]))"
    )
    whole = 0
    for number in range(10):
        folder = tmp_path / f"backup{number}"
        command = python("-c", code, str(sqlite_store.data_dir), str(folder))
        process = subprocess.Popen(command, env=child_environment(), stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05 * number)
        process.kill()
        process.communicate()
        if (folder / "manifest.json").exists():
            whole += 1
            fresh = attach_storage(tmp_path / f"fresh{number}", floor_bytes=0)
            assert restore(fresh, folder).blobs == 300
            fresh.close()
    assert whole < 10
    assert back_up(sqlite_store, tmp_path / "last").blobs == 300
