"""Uploads on disk: their length is what counts, whoever was killed, whatever lies beside them."""

import errno
import fcntl
import hashlib
import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intima.contracts.upload import SlideChoices, UploadRecord
from intima.errors import Conflict, NotFound
from intima.store.blobs import LocalBlobs
from intima.store.incoming import StorageFull
from intima.store.resumable import StoredUpload, UploadExpired, Uploads
from intima.store.upload_locks import UploadBusy

HOUR_S = 3600.0


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads", 0)


def begin(uploads: Uploads, length: int = 10, *, owner: str = "ann", keep_s: float = HOUR_S) -> StoredUpload:
    return uploads.create(owner=owner, length=length, name="a.png", metadata="", choices=SlideChoices(), keep_s=keep_s)


def write(uploads: Uploads, upload_id: str, *pieces: bytes) -> int:
    with uploads.opened(upload_id, owner="ann") as upload:
        upload.write(list(pieces))
        return upload.offset


def bytes_of(uploads: Uploads, upload_id: str) -> bytes:
    return (uploads.folder / upload_id).read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(pieces=st.lists(st.tuples(st.binary(max_size=50), st.sampled_from(["plain", "good", "bad", "left"]))))
def test_pieces_count_or_not_as_they_should(uploads: Uploads, pieces: list[tuple[bytes, str]]) -> None:
    upload_id, expected = begin(uploads, 10_000).record.id, b""
    for data, kind in pieces:
        with uploads.opened(upload_id, owner="ann") as upload:
            assert upload.offset == len(expected)
            if kind != "plain":
                upload.expect("sha256")
            upload.write([data[:3], memoryview(data)[3:]])
            if kind == "good":
                assert upload.digest() == hashlib.sha256(data).digest()
                upload.accept()
        expected += data if kind in ("plain", "good") else b""
        assert uploads.find(upload_id, owner="ann").offset == len(expected)
    assert bytes_of(uploads, upload_id) == expected


def test_more_pieces_than_one_call_takes(uploads: Uploads) -> None:
    upload_id = begin(uploads, 10_000).record.id
    assert write(uploads, upload_id, *[bytes([n % 256]) for n in range(3000)]) == 3000
    assert bytes_of(uploads, upload_id) == bytes(n % 256 for n in range(3000))


def test_a_mark_that_a_killed_writer_left_takes_its_bytes_back(uploads: Uploads) -> None:
    upload_id = begin(uploads).record.id
    write(uploads, upload_id, b"0123")
    with (uploads.folder / upload_id).open("ab") as file:
        file.write(b"45")
    mark = uploads.folder / f"{upload_id}.unchecked"
    mark.write_text("4")
    assert uploads.find(upload_id, owner="ann").offset == 4
    assert write(uploads, upload_id, b"xy") == 6
    assert bytes_of(uploads, upload_id) == b"0123xy"
    assert not mark.exists()


@pytest.fixture
def limited() -> Iterator[int]:
    """Let this process write files of 1,000 bytes at most."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield 1000
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_fitted_on_a_full_volume_is_there(uploads: Uploads, limited: int) -> None:
    upload_id = begin(uploads, 10_000).record.id
    with pytest.raises(StorageFull, match="No room"):
        write(uploads, upload_id, b"a" * 700, b"b" * 700)
    assert uploads.find(upload_id, owner="ann").offset == limited
    assert bytes_of(uploads, upload_id) == b"a" * 700 + b"b" * 300


def test_one_writes_at_a_time_and_only_the_owner(uploads: Uploads) -> None:
    upload_id = begin(uploads).record.id
    with uploads.opened(upload_id, owner="ann"), pytest.raises(UploadBusy):
        write(uploads, upload_id, b"x")
    for owner in ("bob", "", "local"):
        with pytest.raises(NotFound, match="of yours"):
            uploads.find(upload_id, owner=owner)
        with pytest.raises(NotFound):
            uploads.remove(upload_id, owner=owner)
    assert [u.record.id for u in uploads.of_owner("ann").items] == [upload_id]
    assert uploads.of_owner("bob").items == ()


def test_a_writer_whose_upload_was_removed_is_told(uploads: Uploads) -> None:
    upload_id = begin(uploads).record.id

    def write_while_it_goes() -> None:
        with uploads.opened(upload_id, owner="ann") as upload:
            upload.write([b"0123456789"])
            uploads.remove(upload_id, owner="ann")

    with pytest.raises(NotFound):
        write_while_it_goes()
    assert list(uploads.folder.iterdir()) == []


def test_whoever_was_killed_between_the_blob_and_the_note_can_go_on(uploads: Uploads, tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs", floor_bytes=0)
    upload_id, name = begin(uploads).record.id, hashlib.sha256(b"0123456789").hexdigest()
    write(uploads, upload_id, b"0123456789")
    for last in (False, True):
        with uploads.opened(upload_id, owner="ann") as upload:
            assert upload.sha256() == name
            blobs.take_file(upload.path, sha256=name)
            if last:
                uploads.become(upload, "sld_x")
    found = uploads.find(upload_id, owner="ann")
    assert (found.record.slide, found.offset) == ("sld_x", 10)
    with pytest.raises(Conflict, match="sld_x already"):
        write(uploads, upload_id, b"")
    assert blobs.read(name) == b"0123456789"
    assert not (uploads.folder / upload_id).exists()


def test_uploads_expire_after_their_last_byte_and_not_under_a_writer(tmp_path: Path) -> None:
    now = [time.time()]
    uploads = Uploads(tmp_path / "uploads", 0, now=lambda: now[0])
    upload_id = begin(uploads, keep_s=100).record.id
    now[0] += 99
    os.utime(uploads.folder / upload_id, (now[0], now[0]))
    now[0] += 99
    assert uploads.sweep() == 0
    with uploads.opened(upload_id, owner="ann"):
        now[0] += 2
        assert uploads.sweep() == 0, "somebody writes"
        with pytest.raises(UploadExpired):
            uploads.find(upload_id, owner="ann")
    os.utime(uploads.folder / upload_id, (now[0] - 101, now[0] - 101))
    assert (uploads.sweep(), list(uploads.folder.iterdir())) == (1, [])


@pytest.mark.parametrize("note", [b"", b"{", b"null", json.dumps({"id": "x", "of": "a later version"}).encode()])
def test_a_note_that_cannot_be_read_is_no_upload(uploads: Uploads, note: bytes) -> None:
    upload_id = begin(uploads).record.id
    (uploads.folder / f"{upload_id}.json").write_bytes(note)
    with pytest.raises(NotFound):
        uploads.find(upload_id, owner="ann")
    assert uploads.of_owner("ann").items == ()
    assert uploads.sweep() == 0, "it may be somebody's who is younger than an hour"


def as_nfs_locks(descriptor: int, kind: int) -> None:
    """Lock as NFS does: alone only what is open for writing."""
    if kind & fcntl.LOCK_EX and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    lock(descriptor, kind)


lock = fcntl.flock


def only_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody open for writing what is a blob already: root may, and tests run as root."""
    opens = Path.open

    def refusing(path: Path, mode: str = "r", *args: int, **kwargs: int) -> object:
        if mode == "r+b" and path.stat().st_mode & 0o222 == 0:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opens(path, mode, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refusing)


@pytest.mark.parametrize("is_blob", [False, True])
def test_on_nfs_too_the_expired_go_and_the_written_stay(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch, *, is_blob: bool
) -> None:
    upload_id = begin(uploads).record.id
    write(uploads, upload_id, b"0123456789")
    monkeypatch.setattr(fcntl, "flock", as_nfs_locks)
    if is_blob:
        (uploads.folder / "blob").hardlink_to(uploads.folder / upload_id)
        (uploads.folder / upload_id).chmod(0o444)
        only_to_be_read(monkeypatch)
    with uploads.opened(upload_id, owner="ann") as upload:
        assert upload.sha256() == hashlib.sha256(b"0123456789").hexdigest()
        os.utime(uploads.folder / upload_id, (1, 1))
        assert uploads.sweep() == int(is_blob), "of what is a blob already nothing is lost"
    assert uploads.sweep() == int(not is_blob)
    assert [path.name for path in uploads.folder.iterdir()] == ["blob"] * is_blob


def test_what_is_a_blob_already_takes_an_empty_piece_with_a_checksum(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = begin(uploads).record.id
    write(uploads, upload_id, b"0123456789")
    (uploads.folder / upload_id).chmod(0o444)
    only_to_be_read(monkeypatch)
    for _ in range(2):
        (uploads.folder / f"{upload_id}.unchecked").write_text("10")  # whoever sent one was killed
        with uploads.opened(upload_id, owner="ann") as upload:
            upload.expect("sha1")
    assert uploads.find(upload_id, owner="ann").offset == 10
    assert not (uploads.folder / f"{upload_id}.unchecked").exists()


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_an_upload_that_is_removed_while_it_becomes_a_slide_stays_removed(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    upload_id = begin(uploads).record.id
    keep = Uploads._keep

    def keep_and_remove(self: Uploads, record: UploadRecord) -> None:
        keep(self, record)
        if when == "between":
            (uploads.folder / upload_id).unlink()  # the other request has come this far

    with uploads.opened(upload_id, owner="ann") as upload:
        upload.write([b"0123456789"])
        if when == "before":
            uploads.remove(upload_id, owner="ann")
        monkeypatch.setattr(Uploads, "_keep", keep_and_remove)
        uploads.become(upload, "sld_x")
    if when == "after":
        assert uploads.find(upload_id, owner="ann").record.slide == "sld_x"
        uploads.remove(upload_id, owner="ann")
    with pytest.raises(NotFound):
        uploads.find(upload_id, owner="ann")
    assert list(uploads.folder.iterdir()) == []


@pytest.mark.parametrize("checked", [False, True])
def test_a_volume_that_says_at_last_that_it_is_full_is_full(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch, *, checked: bool
) -> None:
    upload_id = begin(uploads).record.id

    def fsync(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def write_and_sync(patch: pytest.MonkeyPatch) -> None:
        with uploads.opened(upload_id, owner="ann") as upload:
            if checked:
                upload.expect("sha256")
            upload.write([b"0123"])
            patch.setattr(os, "fsync", fsync)
            if checked:
                upload.accept()

    with monkeypatch.context() as patch, pytest.raises(StorageFull):
        write_and_sync(patch)
    assert uploads.find(upload_id, owner="ann").offset == 0, "what may not be on the volume does not count"
    assert write(uploads, upload_id, b"01") == 2


def test_many_uploads_that_begin_are_not_each_a_look_at_all_others(tmp_path: Path) -> None:
    now, looked = [time.time()], []

    class Folder(type(tmp_path)):  # type: ignore[misc]
        def iterdir(self) -> Iterator[Path]:
            looked.append(self)
            yield from super().iterdir()

        def glob(self, *_args: object, **_options: object) -> Iterator[Path]:
            raise AssertionError("one upload is found by its name")

    uploads = Uploads(Folder(tmp_path / "uploads"), 0, now=lambda: now[0])
    first = begin(uploads, keep_s=10).record.id
    begun = [begin(uploads, keep_s=1000).record.id for _ in range(20)]
    uploads.remove(begun.pop(), owner="ann")
    assert len(looked) == 1
    now[0] += 61
    begin(uploads)
    assert len(looked) == 2
    assert {path.name.partition(".")[0] for path in (tmp_path / "uploads").iterdir()} >= set(begun)
    assert not (tmp_path / "uploads" / first).exists()
