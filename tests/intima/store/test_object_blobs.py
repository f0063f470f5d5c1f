"""What is particular to blobs of a bucket: copies, refusals, crashes of the server, what others see."""

import hashlib
import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import obstore
import pytest
from servers import S3_SECRET, Bucket, nanio_server
from store_fixtures import part_of
from toy_jobs import child_environment, python

from intima.errors import Invalid, NotFound, Unavailable
from intima.store.addresses import S3Address, parse_s3_url
from intima.store.blobs import BlobCorrupt, Blobs
from intima.store.object_blobs import ONE_PUT_BYTES, RENEW_S, BlobsUnavailable, ObjectBlobs, open_bucket
from intima.store.storage import attach_storage


def opened(folder: Path, at: S3Address) -> ObjectBlobs:
    blobs: Blobs = attach_storage(folder, floor_bytes=0, blobs_at=at).blobs
    assert isinstance(blobs, ObjectBlobs)
    return blobs


def copies_in(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "copies").rglob("*") if p.is_file())


def test_machines_see_each_others_blobs_under_a_key_that_is_the_hash(bucket: S3Address, tmp_path: Path) -> None:
    here, there = opened(tmp_path / "here", bucket), opened(tmp_path / "there", bucket)
    name = here.put(b"shared")
    assert there.exists(name)
    assert copies_in(tmp_path / "there") == []
    assert there.path(name).read_bytes() == b"shared"
    assert copies_in(tmp_path / "there") == [name]
    assert [m["path"] for some in obstore.list(open_bucket(bucket)) for m in some] == [f"{name[:2]}/{name}"]


def test_a_blob_of_several_parts(bucket: S3Address, tmp_path: Path) -> None:
    data = os.urandom(ONE_PUT_BYTES + 1_000_000)
    name = opened(tmp_path / "here", bucket).put(data)
    assert opened(tmp_path / "there", bucket).read(name) == data


def test_a_damaged_object_is_noticed_and_makes_no_copy(bucket: S3Address, tmp_path: Path) -> None:
    name = opened(tmp_path / "here", bucket).put(b"sound")
    obstore.put(open_bucket(bucket), f"{name[:2]}/{name}", b"soumd")
    there = opened(tmp_path / "there", bucket)
    for ask in (there.read, there.path):
        with pytest.raises(BlobCorrupt):
            ask(name)
    assert copies_in(tmp_path / "there") == []


def test_a_damaged_copy_is_fetched_again(bucket: S3Address, tmp_path: Path) -> None:
    blobs = opened(tmp_path, bucket)
    name = blobs.put(b"sound")
    copy = blobs.path(name)
    copy.chmod(0o644)
    copy.write_bytes(b"soumd")
    assert blobs.read(name) == b"sound"


def test_an_old_object_is_written_again_so_that_it_is_not_collected(
    bucket: S3Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = opened(tmp_path, bucket)
    name = blobs.put(b"old")
    (before,) = blobs.stored()
    real = before.written_at
    monkeypatch.setattr("intima.store.object_blobs.time.time", lambda: real + RENEW_S + 60)
    sent: list[str] = []
    monkeypatch.setattr(
        "intima.store.object_blobs.obstore.put", lambda _store, key, *_, **__: sent.append(key) or {"e_tag": None}
    )
    assert blobs.put(b"old") == name
    assert blobs.renew(name)
    assert sent == [f"{name[:2]}/{name}"] * 2


def test_copies_keep_to_their_budget_and_those_in_use_stay(moto: Bucket, tmp_path: Path) -> None:
    at = replace(part_of(moto), copies_bytes=5_000)
    writer = opened(tmp_path / "writer", at)
    names = [writer.put(os.urandom(1_000)) for _ in range(20)]
    reader, other = opened(tmp_path / "reader", at), opened(tmp_path / "reader", at)
    held = [reader.path(name) for name in names[:2]]
    for name in names[2:]:
        assert hashlib.sha256(other.path(name).read_bytes()).hexdigest() == name
    assert all(path.is_file() for path in held)
    assert len(copies_in(tmp_path / "reader")) <= 5
    assert all(reader.read(name) for name in names)


def test_copies_of_many_processes_keep_to_one_budget(moto: Bucket, tmp_path: Path) -> None:
    """Each unit of work is a process of its own, and none of them writes enough to look after the budget alone."""
    at = replace(part_of(moto), copies_bytes=640_000)
    names = [opened(tmp_path / "writer", at).put(os.urandom(9_000)) for _ in range(120)]
    for name in names:
        assert opened(tmp_path / "reader", at).path(name).stat().st_size == 9_000
    assert 60 <= len(copies_in(tmp_path / "reader")) <= 640_000 * (1 + 2 / 64) / 9_000


READER = """
import hashlib, random, sys
from pathlib import Path
from intima.store.addresses import S3Address
from intima.store.storage import attach_storage

at = S3Address(*sys.argv[2:4], endpoint=sys.argv[4], access_key_id="k", secret_access_key="s", copies_bytes=30_000)
blobs = attach_storage(Path(sys.argv[1]), floor_bytes=0, blobs_at=at).blobs
names = sys.argv[5:]
for _ in range(100):
    name = random.choice(names)
    assert hashlib.sha256(blobs.path(name).read_bytes()).hexdigest() == name
"""


def test_processes_share_copies_that_are_too_few_for_all(moto: Bucket, tmp_path: Path) -> None:
    at = part_of(moto)
    writer = opened(tmp_path / "writer", at)
    names = [writer.put(os.urandom(5_000)) for _ in range(12)]
    command = python("-c", READER, str(tmp_path / "shared"), at.bucket, at.prefix, str(at.endpoint), *names)
    started = [subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE) for _ in range(3)]
    ended = [process.communicate(timeout=60)[1].decode() for process in started]
    assert [(process.returncode, errors) for process, errors in zip(started, ended, strict=True)] == [(0, "")] * 3


def test_threads_that_want_one_blob_fetch_it_once(
    moto: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = part_of(moto)
    name = opened(tmp_path / "writer", at).put(os.urandom(3_000_000))
    blobs = opened(tmp_path / "reader", at)
    fetched: list[str] = []
    get = obstore.get
    monkeypatch.setattr(
        "intima.store.object_blobs.obstore.get", lambda store, key: fetched.append(key) or get(store, key)
    )
    threads = [threading.Thread(target=blobs.path, args=(name,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1
    assert copies_in(tmp_path / "reader") == [name]


def test_wrong_credentials_are_named_and_told_to_nobody(nanio: Bucket, tmp_path: Path) -> None:
    wrong = replace(part_of(nanio), secret_access_key="not-" + S3_SECRET)
    blobs = opened(tmp_path, wrong)
    for ask in (lambda: blobs.put(b"x"), lambda: blobs.exists("0" * 64), lambda: list(blobs.stored())):
        with pytest.raises(Unavailable) as caught:
            ask()
        assert caught.value.code == "blobs_refused"
        said = f"{caught.value.message} {caught.value.hint} {caught.value!r} {wrong} {wrong!r}"
        assert S3_SECRET not in said
        assert str(wrong.access_key_id) not in said
        assert caught.value.__cause__ is None
    assert copies_in(tmp_path) == []


def test_a_bucket_out_of_reach_is_unavailable_within_bounds(tmp_path: Path) -> None:
    at = S3Address("intima", endpoint="http://127.0.0.1:1", access_key_id="k", secret_access_key="s")
    blobs = opened(tmp_path, at)
    for ask in (lambda: blobs.put(b"x"), lambda: blobs.read("0" * 64), lambda: list(blobs.stored())):
        with pytest.raises(BlobsUnavailable) as caught:
            ask()
        assert caught.value.code == "blobs_unavailable"
    assert copies_in(tmp_path) == []


def test_a_bucket_that_is_not_there_is_unavailable(bucket: S3Address, tmp_path: Path) -> None:
    blobs = opened(tmp_path, replace(bucket, bucket="missing"))
    for ask in (lambda: blobs.put(b"x"), lambda: list(blobs.stored()), lambda: list(blobs.pieces("0" * 64))):
        with pytest.raises(BlobsUnavailable, match="no bucket"):
            ask()


def test_a_server_killed_in_a_put_keeps_what_it_acknowledged_and_nothing_half(tmp_path: Path) -> None:
    data = os.urandom(40_000_000)
    with nanio_server(tmp_path / "server") as server:
        blobs = opened(tmp_path / "data", part_of(server))
        kept = blobs.put(b"acknowledged")
        killer = threading.Timer(0.1, server.kill)
        killer.start()
        try:
            big = blobs.put(data)
        except Unavailable:
            big = hashlib.sha256(data).hexdigest()
        killer.join()
        server.kill()
        server.start()
        other = opened(tmp_path / "other", blobs.address)
        assert other.read(kept) == b"acknowledged"
        try:
            assert other.read(big) == data
        except NotFound:
            assert blobs.put(data) == big
            assert other.read(big) == data


@pytest.mark.parametrize(
    "url", ["", "bucket", "https://bucket/x", "s3://", "s3:///x", "s3://key:secret@bucket/x", "s3://bucket/x?y=1"]
)
def test_what_is_no_address_is_refused_without_saying_it_again(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_s3_url(url)
    assert caught.value.code == "bad_blobs_url"
    assert "secret" not in caught.value.message


def test_an_address_has_a_bucket_and_perhaps_a_prefix() -> None:
    assert parse_s3_url("s3://bucket/a/b/") == ("bucket", "a/b")
    assert parse_s3_url("s3://bucket") == ("bucket", "")
