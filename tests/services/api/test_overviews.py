"""Overviews behind the api: one maker per slide, waiting that ends, a cache that may go at any time."""

import asyncio
import threading
from pathlib import Path

import pytest

from intima.deepzoom import DeepZoom
from intima.errors import Invalid, Unavailable
from intima.formats.overviews import Overview
from intima.geometry import Size
from intima.store.cache import Cache
from services.api import overviews as module
from services.api.overviews import Overviews, Wanted

ZOOM = DeepZoom(Size(9000, 9000), tile_px=254, overlap_px=1)
PLACE = (0, 0, 0)


class Maker:
    """Makes overviews of one tile, and counts."""

    def __init__(self, *, error: Exception | None = None, size: int = 9) -> None:
        self.made: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self._error, self._size = error, size

    def __call__(self, wanted: Wanted) -> Overview:
        self.go.wait(30)
        self.made.append(wanted.sha256)
        if self._error is not None:
            raise self._error
        return Overview({PLACE: wanted.sha256[:1].encode() * self._size})


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", floor_bytes=0)


def wanted(cache: Cache, letter: str = "a") -> Wanted:
    return Wanted(letter * 64, "a.tif", ZOOM, path=lambda: Path("nowhere"), cache=cache)


def get(overviews: Overviews, one: Wanted) -> Overview:
    return asyncio.run(overviews.get(one))


def test_many_who_ask_at_once_share_one_maker(cache: Cache) -> None:
    maker = Maker()
    overviews = Overviews(make=maker)

    async def ask() -> list[Overview]:
        return await asyncio.gather(*(overviews.get(wanted(cache)) for _ in range(20)))

    assert {dict(o.tiles)[PLACE] for o in asyncio.run(ask())} == {b"a" * 9}
    assert len(maker.made) == 1
    assert overviews.known("a" * 64) is not None
    assert overviews.known("b" * 64) is None


def test_another_process_finds_it_in_the_cache_and_makes_it_again_when_that_is_gone(cache: Cache) -> None:
    maker = Maker()
    get(Overviews(make=maker), wanted(cache))
    assert get(Overviews(make=maker), wanted(cache)).tiles[PLACE] == b"a" * 9
    assert len(maker.made) == 1
    for entry in cache.root.glob("*/*"):
        entry.unlink()
    get(Overviews(make=maker), wanted(cache))
    assert len(maker.made) == 2


def test_a_full_volume_costs_time_only(tmp_path: Path) -> None:
    full = Cache(tmp_path / "cache", floor_bytes=2**62)
    maker = Maker()
    overviews = Overviews(make=maker)
    for _ in range(2):
        assert get(overviews, wanted(full)).tiles[PLACE] == b"a" * 9
    assert len(maker.made) == 1


def test_who_waits_too_long_is_told_to_ask_again_and_the_work_goes_on(cache: Cache) -> None:
    maker = Maker()
    maker.go.clear()
    overviews = Overviews(make=maker, wait_s=0.02)
    with pytest.raises(Unavailable) as raised:
        get(overviews, wanted(cache))
    assert (raised.value.code, raised.value.retry_after_s) == ("overview_in_making", 5.0)
    assert overviews.known("a" * 64) is None
    maker.go.set()
    patient = Overviews.get
    overviews._wait_s = 30
    assert asyncio.run(patient(overviews, wanted(cache))).tiles[PLACE] == b"a" * 9
    assert len(maker.made) == 1


def test_a_client_that_leaves_takes_nobody_along(cache: Cache) -> None:
    maker = Maker()
    maker.go.clear()
    overviews = Overviews(make=maker)

    async def ask() -> Overview:
        leaving = asyncio.create_task(overviews.get(wanted(cache)))
        staying = asyncio.create_task(overviews.get(wanted(cache)))
        await asyncio.sleep(0.02)
        leaving.cancel()
        maker.go.set()
        return await staying

    assert asyncio.run(ask()).tiles[PLACE] == b"a" * 9
    assert len(maker.made) == 1


def test_a_failure_is_remembered_for_a_while(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker(error=Invalid("Damaged.", code="unreadable_image"))
    overviews = Overviews(make=maker)
    for _ in range(3):
        with pytest.raises(Invalid, match="Damaged"):
            get(overviews, wanted(cache))
    assert len(maker.made) == 1
    monkeypatch.setattr(module, "FAILURE_S", -1.0)
    with pytest.raises(Invalid):
        get(overviews, wanted(cache))
    assert len(maker.made) == 2


def test_memory_is_bounded_and_the_last_stays(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 20)
    overviews = Overviews(make=Maker(size=9))
    for letter in "abcd":
        get(overviews, wanted(cache, letter))
    held = [letter for letter in "abcd" if overviews.known(letter * 64) is not None]
    assert held == ["c", "d"]
    monkeypatch.setattr(module, "MOST_BYTES", 1)
    get(overviews, wanted(cache, "e"))
    assert [letter for letter in "abcde" if overviews.known(letter * 64) is not None] == ["e"]


def test_a_few_makers_work_at_once(cache: Cache) -> None:
    running, most, lock = [0], [0], threading.Lock()

    def slow(one: Wanted) -> Overview:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.02)
        with lock:
            running[0] -= 1
        return Overview({PLACE: one.sha256.encode()})

    overviews = Overviews(make=slow)

    async def ask() -> None:
        await asyncio.gather(*(overviews.get(wanted(cache, letter)) for letter in "abcdef"))

    asyncio.run(ask())
    assert most[0] <= module.MAKERS
