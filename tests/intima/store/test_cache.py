"""A cache gives the right bytes or none, and never more than it may hold."""

import hashlib
import os
from pathlib import Path

import pytest

from intima.errors import Invalid
from intima.store.cache import Cache


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
    assert cache.trim(limit_bytes=300) == 1
    assert [cache.read(key(n)) is not None for n in "abc"] == [True, True, False]
    assert cache.trim(limit_bytes=10_000) == 0


def test_a_key_is_a_hash_and_never_a_path(cache):
    with pytest.raises(Invalid):
        cache.write("../outside", b"x")
