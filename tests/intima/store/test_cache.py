"""A cache gives the right bytes or none, and never more than it may hold."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from intima.errors import Invalid
from intima.store.blobs import LocalBlobs
from intima.store.cache import Cache
from intima.store.incoming import StorageFull


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", floor_bytes=0)


def test_what_is_written_is_read(cache):
    assert cache.read(key("a")) is None
    assert cache.write(key("a"), b"content")
    assert cache.write(key("a"), b"content again")
    assert cache.read(key("a")) == b"content again"
    assert cache.write(key("empty"), b"")
    assert cache.read(key("empty")) == b""


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b[:10], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b + b"x"],
    ids=["cut", "no digest", "no bytes", "flipped", "longer"],
)
def test_a_damaged_entry_is_not_there(cache, damage):
    cache.write(key("a"), b"content")
    (path,) = cache.root.glob("*/*")
    path.write_bytes(damage(path.read_bytes()))
    assert cache.read(key("a")) is None


def test_no_room_keeps_nothing_and_is_no_error(tmp_path):
    full = Cache(tmp_path / "cache", floor_bytes=2**62)
    assert not full.write(key("a"), b"content")
    assert full.read(key("a")) is None
    assert [p for p in full.root.glob("*/*") if p.is_file()] == []


def test_trimming_removes_the_oldest_first(cache):
    for age, name in enumerate("abc"):
        cache.write(key(name), bytes(100))
        os.utime(cache.root / key(name)[:2] / key(name), (1000 - age, 1000 - age))
    assert replace(cache, budget_bytes=300).trim() == 1
    assert [cache.read(key(n)) is not None for n in "abc"] == [True, True, False]
    assert replace(cache, budget_bytes=10_000).trim() == 0
    assert replace(cache, budget_bytes=64).give(100) == 1
    assert [cache.read(key(n)) is not None for n in "abc"] == [True, False, False]


def stored_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_what_is_written_stays_within_the_budget_over_all_writers(tmp_path):
    budget = 64 * 1000
    one, two = (Cache(tmp_path / "cache", floor_bytes=0, budget_bytes=budget) for _ in range(2))
    for number in range(90):
        assert (one, two)[number % 2].write(key(str(number)), bytes(968))
        assert stored_bytes(tmp_path) <= budget + 2 * 1000
        assert one.holds(key(str(number)))
    assert stored_bytes(tmp_path) > budget / 2
    assert not one.write(key("larger than all"), bytes(budget))


@pytest.fixture
def volume(tmp_path: Path, monkeypatch):
    """Pretend that the test's folder is a volume of 64,000 bytes; returns what tells how much is free."""

    def usage(_path: object) -> SimpleNamespace:
        return SimpleNamespace(total=64_000, free=64_000 - stored_bytes(tmp_path))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return lambda: usage("").free


def test_old_entries_make_room_for_new_ones_where_the_volume_fills(tmp_path, volume):
    cache = Cache(tmp_path / "cache", floor_bytes=8000, budget_bytes=64_000)
    for number in range(90):
        assert cache.write(key(str(number)), bytes(968))
        assert volume() >= 8000
    (tmp_path / "others").write_bytes(bytes(40_000))
    assert cache.trim() > 0
    assert volume() >= 8000


def test_a_cache_leaves_the_volume_to_the_store(tmp_path, volume):
    assert Cache.beside_store(tmp_path / "cache", store_floor_bytes=100) == Cache(tmp_path / "cache", 6400, 12_800)
    assert Cache.beside_store(tmp_path / "cache", store_floor_bytes=1000).floor_bytes == 16_000
    assert Cache.beside_store(tmp_path / "cache", store_floor_bytes=0).floor_bytes == 0


def test_a_cache_that_fills_the_volume_gives_way_to_blobs(tmp_path, volume):
    cache = Cache(tmp_path / "cache", floor_bytes=0, budget_bytes=64_000)
    blobs = LocalBlobs(tmp_path / "blobs", floor_bytes=2000, make_room=cache.give)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(9000))
    for number in range(60):
        cache.write(key(str(number)), bytes(968))
    assert volume() < 2000
    assert blobs.read(blobs.put(bytes(20_000))) == bytes(20_000)
    assert volume() >= 2000
    assert stored_bytes(cache.root) > 0
    for number in range(60):
        cache.write(key(str(number)), bytes(968))
    assert blobs.size(blobs.put_file(source)) == 9000
    with pytest.raises(StorageFull, match="must stay free"):
        blobs.put(bytes(64_000))


def test_a_folder_that_is_deleted_meanwhile_is_made_again(cache):
    cache.write(key("a"), b"content")
    shutil.rmtree(cache.root)
    assert cache.read(key("a")) is None
    assert not cache.holds(key("a"))
    assert cache.trim() == 0
    assert cache.write(key("a"), b"content")


def test_a_key_is_a_hash_and_never_a_path(cache):
    with pytest.raises(Invalid):
        cache.write("../outside", b"x")
