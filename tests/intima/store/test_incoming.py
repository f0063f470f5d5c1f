"""Files that come in pieces: the same blob as in one go, and nothing behind where they are not kept."""

import errno
import hashlib
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intima.store import blobs as blobs_module
from intima.store.blobs import Blobs, LocalBlobs
from intima.store.incoming import MOST_PIECES, Incoming, StorageFull
from intima.store.memory_blobs import MemoryBlobs


@pytest.fixture(params=["local", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "local":
        yield LocalBlobs(tmp_path / "blobs", floor_bytes=0)
        return
    memory = MemoryBlobs()
    yield memory
    memory.folder.cleanup()


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def received(blobs: LocalBlobs, work: Callable[[Incoming], None]) -> None:
    with blobs.receiving() as incoming:
        work(incoming)


def cut(data: bytes, places: list[int]) -> list[memoryview | bytes]:
    bounds = [0, *sorted(p % (len(data) + 1) for p in places), len(data)]
    return [memoryview(data)[a:b] for a, b in pairwise(bounds)]


@given(data=st.binary(max_size=3000), places=st.lists(st.integers(0, 3000), max_size=40), at_a_time=st.integers(1, 9))
def test_any_pieces_make_the_blob_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, places: list[int], at_a_time: int
) -> None:
    blobs = LocalBlobs(tmp_path_factory.mktemp("blobs"), floor_bytes=0)
    pieces = cut(data, places)
    with blobs.receiving() as incoming:
        for first in range(0, len(pieces), at_a_time):
            incoming.write(pieces[first : first + at_a_time])
        assert incoming.path.read_bytes() == data
        assert incoming.size == len(data)
        name = incoming.keep()
    assert name == hashlib.sha256(data).hexdigest()
    assert files(blobs.root) == [name]
    assert blobs.read(name) == data


def test_both_stores_keep_what_comes_and_forget_what_is_not_kept(blobs: Blobs) -> None:
    data = random.Random(0).randbytes(100_000)
    with blobs.receiving(expected_bytes=100_000) as incoming:
        incoming.write([data[:1], b"", data[1:]])
        path = incoming.path
    assert not path.exists()
    assert not blobs.exists(hashlib.sha256(data).hexdigest())
    with blobs.receiving() as incoming:
        incoming.write([data])
        name = incoming.keep()
    assert blobs.read(name) == data
    with blobs.receiving() as again:
        again.write([data])
        assert again.keep() == name
    assert not again.path.exists()


def test_more_pieces_than_one_call_takes(blobs: Blobs) -> None:
    data = random.Random(1).randbytes(3 * MOST_PIECES + 5)
    with blobs.receiving() as incoming:
        incoming.write([data[n : n + 1] for n in range(len(data))])
        assert blobs.read(incoming.keep()) == data


def test_a_volume_that_takes_a_little_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def little(descriptor: int, pieces: list[memoryview]) -> int:
        return os.write(descriptor, b"".join(pieces)[:7])

    monkeypatch.setattr("intima.store.incoming.os.writev", little)
    data = random.Random(2).randbytes(1000)
    blobs = LocalBlobs(tmp_path, floor_bytes=0)
    with blobs.receiving() as incoming:
        incoming.write(cut(data, [3, 3, 10, 500, 501]))
        assert blobs.read(incoming.keep()) == data


def test_a_damaged_blob_is_healed_by_what_comes(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path, floor_bytes=0)
    name = blobs.put(b"data")
    blobs.path(name).chmod(0o644)
    blobs.path(name).write_bytes(b"dama")
    with blobs.receiving() as incoming:
        incoming.write([b"data"])
        assert incoming.keep() == name
    assert blobs.read(name) == b"data"


def test_an_error_of_who_writes_leaves_nothing(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path, floor_bytes=0)

    def work(incoming: Incoming) -> None:
        incoming.write([b"half"])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        received(blobs, work)
    assert files(tmp_path) == []


def test_too_much_is_refused_before_it_comes(tmp_path: Path) -> None:
    asked: list[int] = []

    def give(wanted: int) -> int:
        asked.append(wanted)
        return 0

    blobs = LocalBlobs(tmp_path, floor_bytes=10, make_room=give)
    with pytest.raises(StorageFull, match="must stay free"), blobs.receiving(expected_bytes=2**62):
        pytest.fail("was opened")
    assert asked == [2**62 + 10]
    assert files(tmp_path) == []


def test_what_says_no_size_is_stopped_at_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 1000
    given: list[int] = []

    def give(_wanted: int) -> int:
        nonlocal free
        given.append(free)
        free += 500 if len(given) == 1 else 0
        return len(given) == 1

    def usage(_path: Path) -> object:
        return type("Usage", (), {"free": free})

    monkeypatch.setattr(blobs_module.shutil, "disk_usage", usage)
    blobs = LocalBlobs(tmp_path, floor_bytes=600, make_room=give)
    sizes = []

    def work(incoming: Incoming) -> None:
        nonlocal free
        for _ in range(20):
            incoming.write([b"x" * 100])
            sizes.append(incoming.size)
            free -= 100

    with pytest.raises(StorageFull, match="600 must stay free"):
        received(blobs, work)
    assert given == [600, 600]
    assert sizes[-1] == 900
    assert files(tmp_path) == []


def test_a_volume_that_fills_up_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _pieces: list[bytes]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("intima.store.incoming.os.writev", full)
    with pytest.raises(StorageFull) as caught:
        received(LocalBlobs(tmp_path, floor_bytes=0), lambda incoming: incoming.write([b"data"]))
    assert caught.value.code == "storage_full"
    assert files(tmp_path) == []


def test_a_limit_of_one_file_is_a_full_volume(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from intima.store.blobs import LocalBlobs\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))\n"
        "with LocalBlobs(Path(sys.argv[1]), floor_bytes=0).receiving() as incoming:\n"
        "    incoming.write([bytes(100_000)])\n"
        "    incoming.write([bytes(100_000)])\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "StorageFull: No room for 100000 more bytes of a file of 100000 so far." in ended.stderr
    assert files(tmp_path) == []
