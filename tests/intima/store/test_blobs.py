"""Blobs: content under its own hash, whole or not at all."""

import errno
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_fixtures import part_of

from intima.errors import Invalid, NotFound
from intima.store.blobs import BlobCorrupt, Blobs, LocalBlobs
from intima.store.incoming import StorageFull
from intima.store.memory_blobs import MemoryBlobs
from intima.store.storage import attach_storage

EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture(params=["local", "memory", "moto", "nanio"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "local":
        yield LocalBlobs(tmp_path / "blobs", floor_bytes=0)
    elif request.param == "memory":
        memory = MemoryBlobs()
        yield memory
        memory.folder.cleanup()
    else:
        at = part_of(request.getfixturevalue(request.param))
        yield attach_storage(tmp_path, floor_bytes=0, blobs_at=at).blobs


@pytest.mark.parametrize("data", [b"", b"intima", bytes(range(256)) * 9000], ids=["empty", "short", "long"])
def test_a_blob_comes_back_under_its_hash(blobs: Blobs, tmp_path: Path, data: bytes) -> None:
    name = blobs.put(data)
    source = tmp_path / "source"
    source.write_bytes(data)
    assert name == hashlib.sha256(data).hexdigest() == blobs.put_file(source)
    assert blobs.read(name) == data == blobs.path(name).read_bytes()
    assert blobs.exists(name)
    assert blobs.size(name) == len(data)


def test_what_a_writer_writes_is_a_blob(blobs: Blobs) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"0123456789")
        file.seek(2)
        assert file.read(1) == b"2"
        file.seek(4)
        file.write(b"xy")

    name = blobs.put_written(write)
    assert blobs.read(name) == b"0123xy6789"
    assert name == hashlib.sha256(b"0123xy6789").hexdigest() == blobs.put_written(write)


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path, floor_bytes=0)

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        blobs.put_written(write)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_writer_is_asked_again_where_room_was_made(tmp_path: Path) -> None:
    asked: list[int] = []
    blobs = LocalBlobs(tmp_path, floor_bytes=0, make_room=lambda wanted: asked.append(wanted) or 1)
    tries: list[int] = []

    def write(file: BinaryIO) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        file.write(b"whole")

    assert blobs.read(blobs.put_written(write)) == b"whole"
    assert (len(tries), len(asked)) == (2, 1)


def test_a_missing_blob_is_not_found(blobs: Blobs) -> None:
    assert not blobs.exists(EMPTY)
    for ask in (blobs.read, blobs.path, blobs.size):
        with pytest.raises(NotFound):
            ask(EMPTY)


def test_all_that_is_stored_is_listed_and_can_be_taken_out(blobs: Blobs) -> None:
    first, second, third = (blobs.put(data) for data in (b"1", b"22", b"333"))
    assert {(b.sha256, b.bytes) for b in blobs.stored()} == {(first, 1), (second, 2), (third, 3)}
    blobs.quarantine(first)
    assert blobs.remove(second, before=time.time() + 60)
    assert not blobs.remove(second, before=time.time() + 60)
    assert not blobs.remove(third, before=0.0)
    assert [b.sha256 for b in blobs.stored()] == [third]
    assert (blobs.exists(first), blobs.exists(second), blobs.exists(third)) == (False, False, True)
    assert b"".join(blobs.pieces(third)) == b"333"
    assert (blobs.renew(third), blobs.renew(second)) == (True, False)
    for ask in (blobs.quarantine, blobs.read, lambda name: list(blobs.pieces(name))):
        with pytest.raises(NotFound):
            ask(first)
    assert blobs.read(blobs.put(b"1")) == b"1"


def test_what_comes_in_pieces_is_kept(blobs: Blobs) -> None:
    with blobs.receiving(expected_bytes=6) as incoming:
        incoming.write([b"in ", b"two"])
        name = incoming.keep()
    assert blobs.read(name) == b"in two"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", EMPTY.upper(), EMPTY[:-1], EMPTY + "\n", "a" * 63 + "/"])
def test_a_name_that_is_no_hash_reaches_no_file(blobs: Blobs, name: str) -> None:
    for ask in (blobs.read, blobs.path, blobs.size, blobs.exists):
        with pytest.raises(Invalid):
            ask(name)


def test_stored_files_are_read_only_and_shared_by_content(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path, floor_bytes=0)
    first, second = blobs.put(b"same"), blobs.put(b"same")
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert first == second
    assert files == [tmp_path / first[:2] / first]
    assert files[0].stat().st_mode & 0o777 == 0o444


@given(position=st.integers(0, 999), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed_and_healed_by_a_new_put(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    blobs = LocalBlobs(tmp_path_factory.mktemp("flip"), floor_bytes=0)
    data = bytes(i % 251 for i in range(1000))
    name = blobs.put(data)
    path = blobs.path(name)
    path.chmod(0o644)
    path.write_bytes(data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :])
    with pytest.raises(BlobCorrupt):
        blobs.read(name)
    assert blobs.put(data) == name
    assert blobs.read(name) == data


def test_a_full_volume_leaves_old_blobs_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = LocalBlobs(tmp_path, floor_bytes=0)
    old = blobs.put(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageFull) as caught:
            blobs.put(b"new")
    assert caught.value.code == "storage_full"
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [old]
    assert blobs.read(blobs.put(b"new")) == b"new"


def test_a_write_leaves_the_floor_free(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path, floor_bytes=2**62)
    source = tmp_path / "source"
    source.write_bytes(b"data")
    for write in (lambda: blobs.put(b"data"), lambda: blobs.put_file(source)):
        with pytest.raises(StorageFull, match="must stay free"):
            write()


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small volume needs root")
def test_a_really_full_volume(tmp_path: Path) -> None:
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip("this machine allows no mount")
    try:
        blobs = LocalBlobs(tmp_path, floor_bytes=0)
        old = blobs.put(os.urandom(600_000))
        (tmp_path / "huge").write_bytes(b"")
        os.truncate(tmp_path / "huge", 4 << 20)
        with pytest.raises(StorageFull):
            blobs.put_file(tmp_path / "huge")
        with pytest.raises(StorageFull):
            blobs.put(os.urandom(900_000))
        (tmp_path / "huge").unlink()
        assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [old]
        assert blobs.read(old)
        assert blobs.put(b"goes on")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


WRITER = """
import sys, time
from pathlib import Path
from intima.store.blobs import LocalBlobs

def write(file):
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)

LocalBlobs(Path(sys.argv[1]), floor_bytes=0).put_written(write)
"""


def test_leftovers_of_dead_writers_go_and_those_of_live_ones_stay(tmp_path: Path) -> None:
    """Whatever its pid: the writer of a container that was started again often has the one of the writer before."""
    blobs = LocalBlobs(tmp_path, floor_bytes=0)
    aside = tmp_path / "aside"
    writers = []
    for _ in range(2):
        before = set(aside.glob("*"))
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        (part,) = set(aside.glob("*")) - before
        writers.append((writer, part))
    (dead, gone), (_, kept) = writers
    try:
        dead.kill()
        dead.wait(20)
        assert blobs.remove_leftovers() == 1
        assert not gone.exists()
        assert kept.exists()
    finally:
        for writer, _ in writers:
            writer.kill()
            writer.communicate()


def test_a_file_that_is_taken_is_not_copied_and_a_damaged_blob_is_mended_by_it(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs", floor_bytes=0)
    (tmp_path / "blobs").mkdir()
    source = tmp_path / "source"
    source.write_bytes(b"content")
    name = hashlib.sha256(b"content").hexdigest()
    blobs.take_file(source, sha256=name)
    assert blobs.path(name).stat().st_ino == source.stat().st_ino
    assert blobs.path(name).stat().st_mode & 0o222 == 0
    source.unlink()
    assert blobs.read(name) == b"content"
    blobs.path(name).chmod(0o644)
    blobs.path(name).write_bytes(b"damaged")
    source.write_bytes(b"content")
    blobs.take_file(source, sha256=name)
    assert blobs.read(name) == b"content"
    assert list((tmp_path / "blobs" / "aside").iterdir()) == []
