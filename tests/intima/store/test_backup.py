"""Backups: whole or none, and the same again in any other store."""

import hashlib
import json
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from any_rows import contents
from full_store import add_slide, damage, fill_store
from servers import create_database
from store_fixtures import part_of

from intima.contracts.access import AuditEntry, TokenRequest
from intima.errors import Conflict, Invalid, Unavailable
from intima.store import audit, tokens
from intima.store.backup import back_up
from intima.store.guard import collecting
from intima.store.incoming import StorageFull
from intima.store.keys import is_sha256
from intima.store.manifest import MANIFEST, read_manifest
from intima.store.migrate import current_revision, rewind
from intima.store.restore import restore
from intima.store.retention import collect
from intima.store.storage import Storage, attach_storage, open_storage


@pytest.fixture(params=["sqlite-folder", "postgresql-bucket"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty store that was never opened."""
    url, at = None, None
    if request.param == "postgresql-bucket":
        url = create_database(request.getfixturevalue("postgresql"), f"t{uuid.uuid4().hex}")
        at = part_of(request.getfixturevalue("moto"))
    opened = attach_storage(tmp_path / "other", url, floor_bytes=0, blobs_at=at)
    yield opened
    opened.close()


def rows_of(storage: Storage) -> dict[str, object]:
    with storage.reading() as conn:
        return dict(contents(conn))


def files_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_a_backup_is_the_same_in_every_store(whole_store: Storage, other: Storage, tmp_path: Path) -> None:
    blobs = fill_store(whole_store)
    spare = whole_store.blobs.put(b"named by no row")
    made = back_up(whole_store, tmp_path / "backup")
    assert made.whole
    assert (made.blobs, made.blob_bytes) == (len(blobs), sum(map(len, blobs.values())))
    assert made == read_manifest(tmp_path / "backup")
    assert restore(other, tmp_path / "backup") == made
    assert rows_of(other) == rows_of(whole_store)
    assert made.rows == sum(len(rows) for rows in rows_of(other).values())  # type: ignore[arg-type]
    assert {b.sha256: other.blobs.read(b.sha256) for b in other.blobs.stored()} == blobs
    assert not other.blobs.exists(spare)


def test_a_backup_of_an_earlier_schema_is_brought_to_this_one(
    sqlite_store: Storage, other: Storage, tmp_path: Path
) -> None:
    add_slide(sqlite_store, 1, b"slide")
    made = back_up(sqlite_store, tmp_path / "backup")
    rewind(sqlite_store.engine, "0005")
    rows = rows_of(sqlite_store)
    manifest = json.loads((tmp_path / "backup" / MANIFEST).read_text())
    manifest["schema_version"] = "0005"
    manifest["tables"] = [t for t in manifest["tables"] if t["name"] in rows]
    (tmp_path / "backup" / MANIFEST).write_text(json.dumps(manifest))
    restore(other, tmp_path / "backup")
    with other.reading() as conn:
        assert current_revision(conn) == made.schema_version
    assert rows_of(other)["slides"] == rows["slides"]


def test_a_backup_of_a_newer_schema_is_refused(sqlite_store: Storage, other: Storage, tmp_path: Path) -> None:
    back_up(sqlite_store, tmp_path / "backup")
    text = (tmp_path / "backup" / MANIFEST).read_text()
    (tmp_path / "backup" / MANIFEST).write_text(
        text.replace(read_manifest(tmp_path / "backup").schema_version, "9999", 1)
    )
    with pytest.raises(Unavailable, match="9999") as caught:
        restore(other, tmp_path / "backup")
    assert caught.value.code == "schema_newer"


@pytest.mark.parametrize("name", ["strangers", "../../etc/passwd", ""])
def test_a_manifest_that_names_other_tables_is_refused(sqlite_store: Storage, tmp_path: Path, name: str) -> None:
    back_up(sqlite_store, tmp_path / "backup")
    manifest = json.loads((tmp_path / "backup" / MANIFEST).read_text())
    manifest["tables"][0]["name"] = name
    (tmp_path / "backup" / MANIFEST).write_text(json.dumps(manifest))
    (tmp_path / "backup" / "rows" / "strangers.jsonl").write_text("")
    fresh = attach_storage(tmp_path / "fresh", floor_bytes=0)
    with pytest.raises(Invalid) as caught:
        restore(fresh, tmp_path / "backup")
    assert caught.value.code == "bad_backup"
    assert not any(rows_of(fresh).values())
    fresh.close()


def test_only_an_empty_store_takes_a_backup(sqlite_store: Storage, tmp_path: Path) -> None:
    add_slide(sqlite_store, 1, b"slide")
    back_up(sqlite_store, tmp_path / "backup")
    before = rows_of(sqlite_store)
    with pytest.raises(Conflict) as caught:
        restore(sqlite_store, tmp_path / "backup")
    assert caught.value.code == "store_not_empty"
    assert rows_of(sqlite_store) == before


def test_a_backup_goes_into_an_empty_folder_only(sqlite_store: Storage, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("keep")
    with pytest.raises(Conflict, match="not empty"):
        back_up(sqlite_store, tmp_path / "folder")
    assert files_in(tmp_path / "folder") == {"mine"}


def test_any_damage_to_a_backup_is_found_before_a_row_is_there(sqlite_store: Storage, tmp_path: Path) -> None:
    fill_store(sqlite_store)
    back_up(sqlite_store, tmp_path / "good")
    for number, name in enumerate(sorted(files_in(tmp_path / "good"))):
        folder = shutil.copytree(tmp_path / "good", tmp_path / f"bad{number}")
        if (folder / name).stat().st_size:
            damage(folder / name, position=(folder / name).stat().st_size // 2)
        else:
            (folder / name).unlink()
        fresh = attach_storage(tmp_path / f"fresh{number}", floor_bytes=0)
        if name == MANIFEST:  # no hash covers it; what it says is checked against the rest
            (folder / name).write_text("{}")
        with pytest.raises(Invalid) as caught:
            restore(fresh, folder)
        assert caught.value.code in {"backup_damaged", "bad_backup"}
        assert not any(rows_of(fresh).values())
        fresh.close()


def test_half_a_backup_is_none(sqlite_store: Storage, tmp_path: Path) -> None:
    back_up(sqlite_store, tmp_path / "backup")
    (tmp_path / "backup" / MANIFEST).unlink()
    with pytest.raises(Invalid, match="half of one") as caught:
        restore(sqlite_store, tmp_path / "backup")
    assert caught.value.code == "no_backup"


def test_a_store_that_lacks_blobs_is_backed_up_and_that_is_said(sqlite_store: Storage, tmp_path: Path) -> None:
    names = [add_slide(sqlite_store, n, bytes([n]) * 10) for n in range(3)]
    sqlite_store.blobs.path(names[0]).unlink()
    damage(sqlite_store.blobs.path(names[1]))
    made = back_up(sqlite_store, tmp_path / "backup")
    assert (made.missing, made.damaged, made.blobs, made.whole) == ((names[0],), (names[1],), 1, False)
    fresh = attach_storage(tmp_path / "fresh", floor_bytes=0)
    assert restore(fresh, tmp_path / "backup") == made
    assert rows_of(fresh) == rows_of(sqlite_store)
    fresh.close()


def test_blobs_of_an_earlier_backup_are_linked_if_they_are_sound(sqlite_store: Storage, tmp_path: Path) -> None:
    old, bad = add_slide(sqlite_store, 1, b"old"), add_slide(sqlite_store, 2, b"bad")
    back_up(sqlite_store, tmp_path / "monday")
    damage(tmp_path / "monday" / "blobs" / bad[:2] / bad)
    new = add_slide(sqlite_store, 3, b"new")
    assert back_up(sqlite_store, tmp_path / "tuesday", base=tmp_path / "monday").blobs == 3
    links = {name: (tmp_path / "tuesday" / "blobs" / name[:2] / name).stat().st_nlink for name in (old, bad, new)}
    assert links == {old: 2, bad: 1, new: 1}
    shutil.rmtree(tmp_path / "monday")
    fresh = attach_storage(tmp_path / "fresh", floor_bytes=0)
    assert restore(fresh, tmp_path / "tuesday").blobs == 3
    fresh.close()


def test_nothing_is_collected_while_a_backup_is_made(store: Storage, tmp_path: Path) -> None:
    with collecting(store):
        for refused in (lambda: back_up(store, tmp_path / "backup"), lambda: collect(store)):
            with pytest.raises(Conflict) as caught:
                refused()
            assert caught.value.code == "store_busy"
    assert list((tmp_path / "backup").iterdir()) == []
    assert back_up(store, tmp_path / "backup").whole
    assert collect(store).blobs == 0


def test_a_full_volume_leaves_nothing_that_looks_like_a_backup(sqlite_store: Storage, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine allows no mount")
    try:
        for number in range(30):
            add_slide(sqlite_store, number, bytes([number]) * 100_000)
        with pytest.raises(StorageFull):
            back_up(sqlite_store, small / "backup")
        assert files_in(small) == set()
        fresh = attach_storage(tmp_path / "fresh", floor_bytes=0)
        with pytest.raises(Invalid):
            restore(fresh, small / "backup")
        fresh.close()
    finally:
        subprocess.run(["umount", small], check=True)


def test_rows_that_come_meanwhile_wait_for_the_next_backup(whole_store: Storage, tmp_path: Path) -> None:
    """Every row of one moment with every blob it names, whatever is written at the same time."""
    stop = threading.Event()
    acknowledged: list[str] = []

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            acknowledged.append(add_slide(whole_store, number, uuid.uuid4().bytes))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(acknowledged) < 5:
            stop.wait(0.01)
        before = list(acknowledged)
        made = back_up(whole_store, tmp_path / "backup")
    finally:
        stop.set()
        writer.join()
    assert made.whole
    fresh = attach_storage(tmp_path / "fresh", floor_bytes=0)
    restore(fresh, tmp_path / "backup")
    names = {row["sha256"] for row in rows_of(fresh)["slides"]}  # type: ignore[attr-defined]
    assert names >= set(before)
    assert all(is_sha256(name) and fresh.blobs.read(name) for name in names)
    fresh.close()


def test_a_restore_that_was_stopped_can_be_started_again(sqlite_store: Storage, tmp_path: Path) -> None:
    fill_store(sqlite_store)
    back_up(sqlite_store, tmp_path / "backup")
    fresh = open_storage(tmp_path / "fresh", floor_bytes=0)
    (name, *_) = (p for p in (tmp_path / "backup" / "blobs").rglob("*") if is_sha256(p.name))
    name.rename(tmp_path / "taken")
    with pytest.raises(Invalid, match="missing or damaged"):
        restore(fresh, tmp_path / "backup")
    (tmp_path / "taken").rename(name)
    restore(fresh, tmp_path / "backup")
    assert rows_of(fresh) == rows_of(sqlite_store)
    fresh.close()


def test_users_and_the_audit_log_come_back_whole(sqlite_store: Storage, other: Storage, tmp_path: Path) -> None:
    asked = AuditEntry(caller="tok_a", name="ä", operation="create_slide", target="/v1/slides", request_id="r", bytes=5)
    with sqlite_store.writing() as conn:
        made = tokens.create_token(conn, TokenRequest(name="ä", scopes=("train",)), by="test")
        for _ in range(3):
            last = audit.append(conn, asked)
    back_up(sqlite_store, tmp_path / "set")
    restore(other, tmp_path / "set")
    with other.writing() as conn:
        assert audit.check_chain(conn).last_sha256 == last.sha256
        assert audit.append(conn, asked).number == 4
        assert audit.check_chain(conn).intact
        row = tokens.find_row(conn, made.token)
        assert row is not None
        assert tokens.caller_of(row).scopes == ("train",)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("slides.jsonl", b"{\n"),
        ("slides.jsonl", b"[]\n"),
        ("slides.jsonl", b'{"id": "a", "evil": 1}\n'),
        ("blobs.txt", b"x\n"),
    ],
)
def test_a_set_that_somebody_made_up_is_refused(
    sqlite_store: Storage, other: Storage, tmp_path: Path, name: str, content: bytes
) -> None:
    folder = tmp_path / "set"
    back_up(sqlite_store, folder)
    made_up, digest = next(folder.rglob(name)), hashlib.sha256(content).hexdigest()
    old = hashlib.sha256(made_up.read_bytes()).hexdigest()
    made_up.chmod(0o644)
    made_up.write_bytes(content)
    manifest = next(folder.glob("manifest*"))
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text().replace(old, digest))
    with pytest.raises(Invalid):
        restore(other, folder)
