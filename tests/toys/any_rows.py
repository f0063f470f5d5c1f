"""Rows of made-up content for every table of a schema, whatever version it is of."""

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    insert,
    select,
)

Rows = dict[str, list[dict[str, Any]]]
VERSION_TABLES = {"intima_alembic_version", "alembic_version"}


def reflected(connection: Connection) -> list[Table]:
    """Return the tables there are, in order of dependence, with JSON columns that keep null apart from JSON's null."""
    metadata = MetaData()
    metadata.reflect(connection)
    tables = [table for table in metadata.sorted_tables if table.name not in VERSION_TABLES]
    for table in tables:
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type = JSON(none_as_null=bool(column.nullable))
    return tables


def fill(connection: Connection, *, n: int = 3) -> None:
    """Put n rows into every table."""
    for table in reflected(connection):
        connection.execute(insert(table), [{c.name: _value(c, i) for c in table.columns} for i in range(n)])


def contents(connection: Connection) -> Rows:
    """Return all rows of all tables, by key."""
    return {
        table.name: [
            dict(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
        ]
        for table in reflected(connection)
    }


def _value(column: Column[Any], i: int) -> Any:
    for key in column.foreign_keys:
        return _value(key.column, i)
    if i == 0 and column.nullable:
        return None
    kind = column.type
    if isinstance(kind, Boolean):
        return bool(i % 2)
    if isinstance(kind, Integer):
        return i
    if isinstance(kind, Float):
        return i + 0.1
    if isinstance(kind, JSON):
        return {"number": i, "text": 'ä "\n', "list": [None, True, 0.1], "empty": {}}
    if isinstance(kind, LargeBinary):
        return bytes([i])
    assert isinstance(kind, String), f"{column} is of a type this cannot make: {kind!r}"
    return f"{i} ä {column.name}"[: kind.length]
