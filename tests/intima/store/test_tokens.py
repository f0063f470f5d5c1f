"""Tokens and the audit log in the store, on both databases."""

import threading

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from intima.contracts.access import AuditEntry, Limits, TokenRequest
from intima.errors import Conflict, IntimaError, Invalid, NotFound
from intima.store import audit, tokens
from intima.store.storage import Storage
from intima.store.tables import audit as audit_table
from intima.store.tables import tokens as token_table


def entry(number: int, *, caller: str = "tok_a", size: int = 0) -> AuditEntry:
    return AuditEntry(
        caller=caller, name="lab", operation="create_slide", target=f"/v1/slides/{number}", request_id="r", bytes=size
    )


def test_a_secret_is_shown_once_and_only_its_hash_is_kept(store: Storage) -> None:
    wanted = TokenRequest(name="microscope", scopes=("segment", "read"), limits=Limits(starts_per_day=3))
    with store.writing() as connection:
        made = tokens.create_token(connection, wanted, by="command line")
    secret = made.token
    assert secret.startswith("intima_")
    assert len(secret) == len("intima_") + 64
    assert made.view.scopes == ("read", "segment")
    with store.reading() as connection:
        row = tokens.find_row(connection, secret)
        assert row is not None
        assert secret not in repr(connection.execute(select(token_table)).all())
        assert tokens.find_row(connection, secret[:-1] + "x") is None
        caller = tokens.caller_of(row)
    assert (caller.id, caller.limits.starts_per_day) == (made.view.id, 3)
    assert caller.may("read")
    assert not caller.may("train")


def test_a_revoked_token_stays_revoked(store: Storage) -> None:
    with store.writing() as connection:
        made = tokens.create_token(connection, TokenRequest(name="a", scopes=("read",)), by="x")
        first = tokens.revoke_token(connection, made.view.id)
        again = tokens.revoke_token(connection, made.view.id)
        assert first.revoked_at is not None
        assert again == first
        with pytest.raises(NotFound):
            tokens.revoke_token(connection, "tok_" + "0" * 32)


def test_the_admin_token_is_the_one_that_is_set_and_no_other(store: Storage) -> None:
    first, second = "a" * 40, "b" * 40
    with store.writing() as connection:
        with pytest.raises(Invalid, match="31 characters"):
            tokens.know_admin_token(connection, "a" * 31)
        for secret in (first, first, second):
            tokens.know_admin_token(connection, secret)
        rows = {s: tokens.find_row(connection, s) for s in (first, second)}
        assert rows[first] is not None
        assert rows[first].revoked_at is not None
        assert rows[second] is not None
        assert rows[second].revoked_at is None
        with pytest.raises(Conflict, match="INTIMA_ADMIN_TOKEN"):
            tokens.revoke_token(connection, rows[second].id)
        tokens.know_admin_token(connection, first)
        back = tokens.find_row(connection, first)
        assert back is not None
        assert back.revoked_at is None
        tokens.forget_admin_token(connection)
        none = tokens.find_row(connection, first)
        assert none is not None
        assert none.revoked_at is not None


def test_the_audit_log_is_a_chain_that_several_writers_lengthen(store: Storage) -> None:
    def write(caller: str) -> None:
        for number in range(10):
            with store.writing() as connection:
                audit.append(connection, entry(number, caller=caller, size=5))

    threads = [threading.Thread(target=write, args=(f"tok_{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as connection:
        checked = audit.check_chain(connection)
        records = audit.list_records(connection, after=0, limit=1000)
        used = audit.use_of_day(connection, "tok_1")
    assert (checked.records, checked.intact, checked.broken_at) == (40, True, None)
    assert checked.last_sha256 == records[-1].sha256
    assert [r.number for r in records] == list(range(1, 41))
    assert used[:2] == (10, 50)
    assert 86_000 < used[2] <= 86_400


@pytest.mark.parametrize("statement", ["UPDATE audit SET caller = 'x'", "DELETE FROM audit", "TRUNCATE audit"])
def test_the_database_refuses_to_change_the_log(store: Storage, statement: str) -> None:
    with store.writing() as connection:
        audit.append(connection, entry(1))
    with pytest.raises((DBAPIError, IntimaError)), store.writing() as connection:
        connection.execute(text(statement))
    with store.reading() as connection:
        assert audit.check_chain(connection).records == 1


@pytest.mark.parametrize(
    ("column", "value"), [("bytes", -5), ("at", 1e300), ("at", "x"), ("number", -3), ("name", None)]
)
def test_what_could_never_be_written_breaks_the_chain_too(sqlite_store: Storage, column: str, value: object) -> None:
    with sqlite_store.writing() as connection:
        for number in range(3):
            audit.append(connection, entry(number))
        connection.execute(text("DROP TRIGGER audit_no_UPDATE"))
        if value is None:
            connection.execute(text(f"UPDATE audit SET {column} = X'00FF' WHERE number = 2"))
        else:
            connection.execute(text(f"UPDATE audit SET {column} = :value WHERE number = 2"), {"value": value})
        assert not audit.check_chain(connection).intact


@pytest.mark.parametrize("column", ["caller", "target", "at", "previous_sha256", "sha256", "bytes"])
def test_one_altered_field_breaks_the_chain_where_it_was_altered(sqlite_store: Storage, column: str) -> None:
    with sqlite_store.writing() as connection:
        for number in range(5):
            audit.append(connection, entry(number))
        connection.execute(text("DROP TRIGGER audit_no_UPDATE"))
        other: object = {"at": 1.0, "bytes": 7}.get(column, "f" * 64)
        connection.execute(update(audit_table).where(audit_table.c.number == 3).values({column: other}))
        assert audit.check_chain(connection).broken_at == 3


def test_a_record_taken_out_is_missed(sqlite_store: Storage) -> None:
    with sqlite_store.writing() as connection:
        for number in range(5):
            audit.append(connection, entry(number))
        connection.execute(text("DROP TRIGGER audit_no_DELETE"))
        connection.execute(text("DELETE FROM audit WHERE number = 2"))
        found = audit.check_chain(connection)
    assert (found.intact, found.broken_at, found.records) == (False, 3, 1)
