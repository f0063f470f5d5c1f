"""What goes and what stays, also while others write."""

import os
import threading
import time
from pathlib import Path

import pytest
from full_store import DAY_S, add_slide, fill_store
from sqlalchemy import func, insert, select, update

from intima.contracts.benchmark import UnitPlan
from intima.store import ledger
from intima.store import tables as t
from intima.store.checking import check_store
from intima.store.retention import collect
from intima.store.storage import Storage


def make_old(storage: Storage, sha256: str, *, age_s: float = 2 * DAY_S) -> None:
    then = time.time() - age_s
    os.utime(storage.data_dir / "blobs" / sha256[:2] / sha256, (then, then))


def test_unused_blobs_go_when_they_are_a_day_old(sqlite_store: Storage) -> None:
    used = fill_store(sqlite_store)
    old, young = sqlite_store.blobs.put(b"old"), sqlite_store.blobs.put(b"young")
    for name in (*used, old):
        make_old(sqlite_store, name)
    assert collect(sqlite_store, dry_run=True, keys_s=None).blobs == 1
    assert sqlite_store.blobs.exists(old)
    gone = collect(sqlite_store, keys_s=None)
    assert (gone.blobs, gone.bytes) == (1, 3)
    assert {b.sha256 for b in sqlite_store.blobs.stored()} == {*used, young}
    assert collect(sqlite_store, keys_s=None).blobs == 0


def test_the_same_of_a_bucket(whole_store: Storage) -> None:
    """A bucket's clock cannot be set, so a negative age makes all blobs old."""
    used = fill_store(whole_store)
    spare = whole_store.blobs.put(b"spare")
    assert collect(whole_store).blobs == 0
    assert whole_store.blobs.exists(spare)
    assert collect(whole_store, unused_s=-60, keys_s=None).blobs == 1
    assert {b.sha256 for b in whole_store.blobs.stored()} == set(used)


def test_a_blob_that_is_put_again_is_young_again(sqlite_store: Storage) -> None:
    name = sqlite_store.blobs.put(b"again")
    make_old(sqlite_store, name)
    assert sqlite_store.blobs.put(b"again") == name
    assert collect(sqlite_store).blobs == 0
    make_old(sqlite_store, name)
    assert sqlite_store.blobs.renew(name)
    assert collect(sqlite_store).blobs == 0
    make_old(sqlite_store, name)
    assert collect(sqlite_store).blobs == 1
    assert not sqlite_store.blobs.renew(name)


def test_writers_of_the_same_content_lose_nothing_to_a_collector(sqlite_store: Storage) -> None:
    """Old unused blobs are put again and named at the very time they are collected."""
    gone, rounds = 0, 0
    while rounds < 3 or (gone == 0 and rounds < 30):
        contents = [bytes([rounds, n]) * 500 for n in range(60)]
        for data in contents:
            make_old(sqlite_store, sqlite_store.blobs.put(data))
        named: list[str] = []

        def write(first: int, contents: list[bytes], named: list[str]) -> None:
            named.extend(add_slide(sqlite_store, first + n, data) for n, data in enumerate(contents))

        writer = threading.Thread(target=write, args=(rounds * 60, contents, named))
        writer.start()
        while writer.is_alive():
            gone += collect(sqlite_store).blobs
        writer.join()
        assert all(sqlite_store.blobs.read(name) == data for name, data in zip(named, contents, strict=True))
        rounds += 1
    assert gone > 0
    assert check_store(sqlite_store).missing == ()


def test_what_a_killed_collector_moved_away_comes_back(sqlite_store: Storage) -> None:
    name = sqlite_store.blobs.put(b"blob")
    path = sqlite_store.blobs.path(name)
    path.rename(sqlite_store.data_dir / "blobs" / "aside" / f"{name}.gone")
    sqlite_store.blobs.remove_leftovers()
    assert sqlite_store.blobs.read(name) == b"blob"


def test_leftovers_of_writers_that_are_gone_go(sqlite_store: Storage) -> None:
    aside = sqlite_store.data_dir / "blobs" / "aside"
    aside.mkdir(exist_ok=True)
    paths: list[Path] = [aside / name for name in ("0.part", "1.new", "2.new")]
    for path in paths:
        path.write_bytes(b"half")
    for path in paths[:2]:
        os.utime(path, (0, 0))
    assert collect(sqlite_store).leftovers == 2
    assert list(aside.iterdir()) == [paths[2]]


@pytest.mark.parametrize("dry_run", [True, False])
def test_old_keys_and_events_go(store: Storage, dry_run: bool) -> None:
    with store.writing() as conn:
        for n, days in enumerate((1, 29, 31, 400)):
            row = {"route": "r", "key": str(n), "body_sha256": "0" * 64, "status": 202, "response": {}}
            conn.execute(insert(t.requests).values(**row, created_at=t.database_now() - days * DAY_S))
        plans = [UnitPlan(key="a", kind="trial", queue="training", payload={})]
        jobs = [ledger.create_job(conn, kind="benchmark", units=plans, payload={}, result_url=None) for _ in range(2)]
        for job in jobs:
            ledger.cancel_job(conn, job)
        old = t.database_now() - 100 * DAY_S
        conn.execute(update(t.jobs).where(t.jobs.c.id == jobs[0]).values(finished_at=old))
        before = [len(ledger.read_events(conn, job, 0)) for job in jobs]
        last = ledger.read_events(conn, jobs[0], 0)[-1]
    assert min(before) > 1
    gone = collect(store, events_s=90 * DAY_S, dry_run=dry_run)
    assert (gone.keys, gone.events) == (2, before[0] - 1)
    with store.reading() as conn:
        keys = conn.execute(select(func.count()).select_from(t.requests)).scalar_one()
        after = [ledger.read_events(conn, job, 0) for job in jobs]
    if dry_run:
        assert (keys, [len(events) for events in after]) == (4, before)
    else:
        assert (keys, after[0], len(after[1])) == (2, [last], before[1])
