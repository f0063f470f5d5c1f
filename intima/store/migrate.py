"""Bring the database to this version's schema."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DefaultClause,
    Engine,
    MetaData,
    Table,
    case,
    func,
    select,
    text,
)

from intima.errors import Conflict, Unavailable
from intima.store import locks

VERSION_TABLE = "intima_alembic_version"
"""Not Alembic's default name, which Optuna uses for itself in the same database."""

_FOLDER = Path(__file__).parent / "migrations"


def migrate(engine: Engine, revision: str = "head") -> None:
    """Upgrade the schema in one transaction; does nothing where it is current.

    Raises:
        Unavailable: the database was written by a newer version.
    """
    with engine.begin() as connection:
        config, script, current = _take_over(connection)
        if current != script.get_current_head() or revision != "head":
            command.upgrade(config, revision)


def rewind(engine: Engine, revision: str) -> None:
    """Bring the schema to an earlier or a later version, without losing anything.

    Raises:
        Conflict: the earlier version has no place for something that is stored.
        Unavailable: this version does not know the revision, or that of the database.
    """
    with engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        config, script, current = _take_over(connection)
        _refuse_unknown(revision, script)
        if revision in {s.revision for s in script.iterate_revisions(current or "base", "base")}:
            before = _contents(connection)
            command.downgrade(config, revision)
            _refuse_lost(before, _contents(connection))
        else:
            command.upgrade(config, revision)
        if engine.dialect.name == "sqlite":
            assert not connection.exec_driver_sql("PRAGMA foreign_key_check").all()


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """Let SQLite write tables anew that others refer to; the pragma does nothing inside a transaction."""
    driver = connection.connection.dbapi_connection
    if not isinstance(driver, sqlite3.Connection):
        yield
        return
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


@dataclass(frozen=True, slots=True)
class _Table:
    rows: int
    filled: dict[str, int]
    """By column: rows that say something other than null and the column's default."""


def _contents(connection: Connection) -> dict[str, _Table]:
    metadata = MetaData()
    metadata.reflect(connection)
    return {t.name: _content(connection, t) for t in metadata.sorted_tables if t.name != VERSION_TABLE}


def _content(connection: Connection, table: Table) -> _Table:
    counts = [func.count(), *(func.count(case((_says(column), 1))) for column in table.columns)]
    found = connection.execute(select(*counts).select_from(table)).one()
    return _Table(found[0], dict(zip(table.columns.keys(), found[1:], strict=True)))


def _says(column: Column[Any]) -> ColumnElement[bool]:
    says = column.is_not(None)
    default = column.server_default
    return says if not isinstance(default, DefaultClause) else says & (column != text(str(default.arg)))


def _refuse_lost(before: dict[str, _Table], after: dict[str, _Table]) -> None:
    """Refuse where a table with rows, rows of one, or a column that said something is gone."""
    lost = [f"table {name}" for name, table in before.items() if table.rows and name not in after]
    for name, table in before.items():
        if name in after:
            kept = after[name]
            lost += [f"rows of {name}"] if kept.rows < table.rows else []
            lost += [f"{name}.{column}" for column, n in table.filled.items() if n and column not in kept.filled]
    if lost:
        raise Conflict(
            f"The earlier schema has no place for {', '.join(lost)}.",
            code="downgrade_loses",
            hint="Restore a backup of the earlier version into an empty store, or stay with this one.",
        )


def current_revision(connection: Connection) -> str | None:
    """Return the schema version of a database; null when it has none."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def _take_over(connection: Connection) -> tuple[Config, ScriptDirectory, str | None]:
    """Let no other process migrate, and return what Alembic needs and the version there is. Raises Unavailable."""
    locks.hold(connection, locks.MIGRATION)
    config = _config(connection)
    script = ScriptDirectory.from_config(config)
    current = current_revision(connection)
    _refuse_unknown(current, script)
    return config, script, current


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    return config


def _refuse_unknown(current: str | None, script: ScriptDirectory) -> None:
    known = {s.revision for s in script.walk_revisions()}
    if current is not None and current not in known:
        raise Unavailable(
            f"The database has schema {current!r}, which this version of Intima does not know.",
            code="schema_newer",
            hint="Start the version that wrote it, or a newer one.",
        )
