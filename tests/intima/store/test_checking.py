"""Looking at every blob, and knowing which there must be."""

import os
import typing
from collections.abc import Iterator

import obstore
import pytest
from full_store import add_slide, damage, fill_store

import intima.contracts
from intima.contracts._base import Contract
from intima.store.checking import check_store
from intima.store.object_blobs import ObjectBlobs
from intima.store.references import BLOB_NAMES, find_references
from intima.store.storage import Storage

OTHER_NAMES = {"score_sha256s", "previous_sha256", "last_sha256"}
"""Hashes of what is no blob: scores that a client sent, entries of a trail."""
NO_BLOBS = {"EncoderStart", "SlideChoices", "StoredSplits", "Plan", "PlanUse", "PlanStanding"}
"""Contracts whose ``sha256`` is of something else: a file of a package, a content."""


def contracts() -> Iterator[type[Contract]]:
    waiting = [Contract]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += one.__subclasses__()


def test_of_every_hash_in_a_contract_it_is_known_whether_it_is_a_blobs() -> None:
    """A new field must be told apart here, or in ``references``: else a blob could be missed by ``verify``."""
    assert intima.contracts
    for contract in (c for c in contracts() if c.__module__.startswith("intima.contracts")):
        names = {name for name in contract.model_fields if name.endswith(("sha256", "sha256s"))}
        assert names - {"sha256"} <= BLOB_NAMES | OTHER_NAMES, contract
        if "sha256" in names:
            assert ("bytes" in contract.model_fields) != (contract.__name__ in NO_BLOBS), contract


def test_what_rows_name_is_found_at_any_depth(sqlite_store: Storage) -> None:
    blobs = list(fill_store(sqlite_store))
    with sqlite_store.reading() as conn:
        found = find_references(conn)
    assert found.blobs == set(blobs[:4])
    assert found.seen >= {*blobs, "e" * 64}


def test_a_sound_store(whole_store: Storage) -> None:
    blobs = fill_store(whole_store)
    whole_store.blobs.put(b"spare")
    found = check_store(whole_store)
    assert found.good
    assert (found.sound, found.sound_bytes) == (len(blobs) + 1, sum(map(len, blobs.values())) + 5)
    assert (found.unreferenced, found.unreferenced_bytes) == (1, 5)


def test_a_hundred_of_a_hundred_flipped_blobs_are_found(sqlite_store: Storage) -> None:
    names = [add_slide(sqlite_store, n, os.urandom(1 + 37 * n)) for n in range(100)]
    sound = [add_slide(sqlite_store, 100 + n, os.urandom(50)) for n in range(10)]
    for n, name in enumerate(names):
        damage(sqlite_store.blobs.path(name), position=n * 37 // 2)
    found = check_store(sqlite_store, quarantine=True)
    assert (set(found.damaged), found.quarantined, found.sound) == (set(names), 100, 10)
    assert not found.good
    again = check_store(sqlite_store)
    assert (set(again.missing), again.damaged, again.sound) == (set(names), (), 10)
    assert {p.name for p in (sqlite_store.data_dir / "blobs" / "quarantine").iterdir()} == set(names)
    assert all(sqlite_store.blobs.read(name) for name in sound)


@pytest.mark.parametrize("whole_store", ["postgresql-bucket"], indirect=True)
def test_damage_in_a_bucket_is_found(whole_store: Storage) -> None:
    assert isinstance(whole_store.blobs, ObjectBlobs)
    good, bad = add_slide(whole_store, 1, b"good"), add_slide(whole_store, 2, b"bad!")
    obstore.put(whole_store.blobs.bucket, f"{bad[:2]}/{bad}", b"bad?")
    found = check_store(whole_store, quarantine=True)
    assert (found.damaged, found.missing, found.sound) == ((bad,), (), 1)
    again = check_store(whole_store)
    assert (again.damaged, again.missing) == ((), (bad,))
    assert whole_store.blobs.read(good) == b"good"
    assert whole_store.blobs.put(b"bad!") == bad
    assert check_store(whole_store).good


def test_the_names_of_blobs_are_names_of_fields() -> None:
    fields = {name for contract in contracts() for name in contract.model_fields}
    assert fields >= BLOB_NAMES, typing.cast(object, BLOB_NAMES - fields)
