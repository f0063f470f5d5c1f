"""The audit log: a chain of records of what was asked for, each holding the hash of the one before.

A record is committed before what it tells of is begun, so that nothing is done without one. The database refuses to
change or delete rows; who gets around that breaks the chain, which ``check_chain`` sees.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from intima.contracts.access import AuditCheck, AuditEntry, AuditRecord
from intima.errors import Invalid
from intima.store import locks
from intima.store.catalog import rfc3339
from intima.store.keys import json_sha256
from intima.store.paging import MAX_PAGE_SIZE
from intima.store.tables import audit
from intima.store.tokens import now_s

BEGINNING = "0" * 64
"""Stands for the hash before the first."""
_DAY_S = 86_400.0
_ROWS_AT_ONCE = 1000


def append(conn: Connection, entry: AuditEntry) -> AuditRecord:
    """Add a record at the end of the chain."""
    wait_for_turn(conn)
    last = conn.execute(select(audit.c.number, audit.c.sha256).order_by(audit.c.number.desc()).limit(1)).one_or_none()
    number, previous = (1, BEGINNING) if last is None else (last.number + 1, last.sha256)
    at = round(now_s(conn), 3)
    body = entry.model_dump(mode="json") | {"number": number, "at": rfc3339(at), "previous_sha256": previous}
    record = AuditRecord.model_validate(body | {"sha256": json_sha256(body)})
    row = entry.model_dump(mode="json") | {"number": number, "at": at, "previous_sha256": previous}
    conn.execute(insert(audit).values(**row, sha256=record.sha256))
    return record


def wait_for_turn(conn: Connection) -> None:
    """Hold the end of the chain until this transaction ends: SQLite does so anyway."""
    locks.hold(conn, locks.AUDIT)


def use_of_day(conn: Connection, caller: str, *, uncounted: Collection[str] = ()) -> tuple[int, int, float]:
    """Return how many records a caller has of the last 24 h, their bytes, and seconds until the oldest is older.

    Operations that are ``uncounted`` are in none of these.
    """
    now = now_s(conn)
    since = (audit.c.caller == caller, audit.c.at > now - _DAY_S, audit.c.operation.not_in(uncounted))
    query = select(func.count(), func.coalesce(func.sum(audit.c.bytes), 0), func.min(audit.c.at)).where(*since)
    count, total, oldest = conn.execute(query).one()
    return int(count), int(total), 0.0 if oldest is None else max(0.0, oldest + _DAY_S - now)


def list_records(conn: Connection, *, after: int, limit: int) -> list[AuditRecord]:
    """Return the next records after a number, oldest first. Raises Invalid for a bad limit."""
    if not 1 <= limit <= MAX_PAGE_SIZE:
        raise Invalid(f"Got limit {limit}; need 1 to {MAX_PAGE_SIZE}.", pointer="/limit")
    query = select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(limit)
    return [_record(row) for row in conn.execute(query)]


def check_chain(conn: Connection) -> AuditCheck:
    """Follow the chain from its beginning; ``last_sha256`` is of its last record that fits."""
    previous, expected = BEGINNING, 1
    in_order = select(audit).order_by(audit.c.number).execution_options(yield_per=_ROWS_AT_ONCE)
    for row in conn.execute(in_order):
        if (row.number, row.previous_sha256, row.sha256) != (expected, previous, _hash_of(row)):
            return AuditCheck(records=expected - 1, intact=False, broken_at=row.number, last_sha256=previous)
        previous, expected = row.sha256, expected + 1
    return AuditCheck(records=expected - 1, intact=True, broken_at=None, last_sha256=previous)


def _record(row: Row[Any]) -> AuditRecord:
    return AuditRecord.model_validate(dict(row._mapping) | {"at": rfc3339(row.at)})


def _hash_of(row: Row[Any]) -> str | None:
    """Return the hash of what is stored; null where no record could ever have been so."""
    body = {name: value for name, value in row._mapping.items() if name != "sha256"}
    try:
        return json_sha256(body | {"at": rfc3339(row.at)})
    except (ValueError, TypeError, OverflowError):
        return None
