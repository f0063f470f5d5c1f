"""Rows as lines of JSON, one file a table: the same from SQLite and from PostgreSQL."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Connection, MetaData, Table, func, insert, inspect, select

from intima.errors import Invalid
from intima.store.keys import canonical_json
from intima.store.manifest import TableFile
from intima.store.references import References
from intima.store.storage import Storage
from intima.store.tables import METADATA

_BATCH = 500


@contextmanager
def snapshot(storage: Storage) -> Iterator[Connection]:
    """Open a transaction that reads one state over all its queries, while others write."""
    if storage.engine.dialect.name == "postgresql":
        with storage.engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn, conn.begin():
            yield conn
        return
    with storage.reading() as conn:
        yield conn


def write_rows(conn: Connection, folder: Path, found: References) -> list[TableFile]:
    """Write every table into a file of its own, durably, and take in which blobs its rows name."""
    folder.mkdir()
    return [_write_table(conn, table, folder / f"{table.name}.jsonl", found) for table in METADATA.sorted_tables]


def _write_table(conn: Connection, table: Table, path: Path, found: References) -> TableFile:
    digest, count = hashlib.sha256(), 0
    key = list(table.primary_key.columns)
    rows = conn.execution_options(yield_per=_BATCH).execute(select(table).order_by(*key)).mappings()
    with path.open("xb") as file:
        for row in map(dict, rows):
            found.add(table.name, row)
            line = (canonical_json(row) + "\n").encode()
            digest.update(line)
            file.write(line)
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return TableFile(name=table.name, rows=count, sha256=digest.hexdigest())


def check_rows(folder: Path, tables: Sequence[TableFile]) -> None:
    """Check the files of rows against a manifest.

    Raises:
        Invalid: one is missing or not as it was written.
    """
    for table in tables:
        path = folder / f"{table.name}.jsonl"
        if not path.is_file():
            raise Invalid(f"The backup lacks {path.name}.", code="backup_damaged")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != table.sha256:
                raise Invalid(f"{path.name} of the backup is damaged.", code="backup_damaged", hint="Take another.")


def read_rows(conn: Connection, folder: Path, tables: Sequence[TableFile]) -> None:
    """Insert checked files of rows into the tables of a database of the same schema.

    Raises:
        Invalid: the schema has no such table, or a row is none of it.
    """
    unknown = {table.name for table in tables} - set(inspect(conn).get_table_names())
    if unknown:
        raise Invalid(f"The schema of the backup has no table {min(unknown)}.", code="bad_backup")
    metadata = MetaData()
    metadata.reflect(conn, only=[table.name for table in tables])
    for table in metadata.sorted_tables:
        _keep_nulls(table)
        with (folder / f"{table.name}.jsonl").open(encoding="utf-8") as file:
            while lines := list(islice(file, _BATCH)):
                conn.execute(insert(table), [_row(line, table) for line in lines])


def _row(line: str, table: Table) -> dict[str, Any]:
    """Return one row. Raises Invalid where it is none of the table."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise Invalid(f"A row of {table.name} in the backup is no JSON.", code="bad_backup") from error
    if not isinstance(row, dict) or set(row) != set(table.c.keys()):
        raise Invalid(f"A row of {table.name} in the backup has other columns than the table.", code="bad_backup")
    return row


def _keep_nulls(table: Table) -> None:
    """Let null be null where a column may be, and JSON's null where it may not: reflection tells no more."""
    for column in table.columns:
        if isinstance(column.type, JSON):
            column.type = JSON(none_as_null=bool(column.nullable))


def filled_tables(conn: Connection) -> dict[str, int]:
    """Return the number of rows of every table of ours that has any."""
    there = set(inspect(conn).get_table_names())
    tables = [table for table in METADATA.sorted_tables if table.name in there]
    counts: Mapping[str, Any] = {t.name: conn.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}
    return {name: count for name, count in counts.items() if count}
