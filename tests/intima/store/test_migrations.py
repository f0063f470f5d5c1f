"""A database of an earlier version, with rows, is still there after migration."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from any_rows import Rows, contents, fill
from sqlalchemy import MetaData, Table, insert, select, text

from intima.contracts.benchmark import UnitPlan
from intima.errors import Conflict, Unavailable
from intima.store import ledger, storage
from intima.store.migrate import VERSION_TABLE, current_revision, migrate, rewind
from intima.store.storage import attach_storage, open_storage
from intima.store.tables import METADATA, events, jobs, unit_needs, units


def test_jobs_units_and_events_outlive_every_later_migration(tmp_path: Path, empty_database_url: str | None) -> None:
    made = open_storage(tmp_path / "made")
    with made.writing() as connection:
        plans = [UnitPlan(key="a", kind="trial", queue="training", payload={})]
        plans.append(UnitPlan(key="b", kind="trial", queue="training", payload={"n": [1]}, needs=("a",)))
        job = ledger.create_job(connection, kind="benchmark", units=plans, payload={"x": 1}, result_url=None)
        tables = (jobs, units, unit_needs, events)
        rows = {t.name: [dict(row) for row in connection.execute(select(t)).mappings()] for t in tables}
    made.close()

    old = attach_storage(tmp_path / "old", empty_database_url)
    migrate(old.engine, "0005")
    with old.writing() as connection:
        assert current_revision(connection) == "0005"
        for name, found in rows.items():
            before = Table(name, MetaData(), autoload_with=connection)
            known = [{key: value for key, value in row.items() if key in before.c} for row in found]
            connection.execute(insert(before), known)
    old.close()

    new = open_storage(tmp_path / "old", empty_database_url)
    with new.writing() as connection:
        if new.engine.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        view = ledger.read_job(connection, job)
        assert (view.state, view.progress.total) == ("queued", 2)
        assert len(ledger.read_events(connection, job, 0)) == len(rows["events"])
        claim = ledger.claim_next(connection, owner="me", queues=["training"], lease_s=60)
        assert claim is not None
        assert claim.key == "a"
    new.close()


MIGRATIONS = Path(storage.__file__).parent / "migrations"
NOTHING_NEW = {"0010"}
"""Versions after which nothing came that rows could be lost with."""
REVISIONS = sorted(s.revision for s in ScriptDirectory(str(MIGRATIONS)).walk_revisions())
HEAD = REVISIONS[-1]


def of_columns(rows: Rows, like: Rows) -> Rows:
    """Return the part of rows that an earlier schema had."""
    return {t: [{c: r[c] for c in old} for r, old in zip(rows[t], like[t], strict=True)] for t in like}


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_version_goes_up_down_and_up_with_equal_rows(
    tmp_path: Path, empty_database_url: str | None, revision: str
) -> None:
    store = attach_storage(tmp_path, empty_database_url)
    rewind(store.engine, revision)
    with store.writing() as connection:
        fill(connection)
        before = contents(connection)
    migrate(store.engine)
    with store.reading() as connection:
        assert current_revision(connection) == HEAD
        above = contents(connection)
    assert of_columns(above, before) == before
    rewind(store.engine, revision)
    with store.reading() as connection:
        assert current_revision(connection) == revision
        assert contents(connection) == before
    migrate(store.engine)
    with store.reading() as connection:
        assert contents(connection) == above
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, METADATA) == []
    with store.writing() as connection:  # foreign keys are looked after again
        if store.engine.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()


@pytest.mark.parametrize("revision", [r for r in REVISIONS if r not in {HEAD, *NOTHING_NEW}])
def test_going_down_is_refused_where_something_would_be_lost(
    tmp_path: Path, empty_database_url: str | None, revision: str
) -> None:
    store = open_storage(tmp_path, empty_database_url)
    with store.writing() as connection:
        fill(connection)
        before = contents(connection)
    with pytest.raises(Conflict, match="no place for") as caught:
        rewind(store.engine, revision)
    assert caught.value.code == "downgrade_loses"
    with store.reading() as connection:
        assert current_revision(connection) == HEAD
        assert contents(connection) == before
    store.close()


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    store = open_storage(tmp_path)
    with pytest.raises(Unavailable, match="0000"):
        rewind(store.engine, "0000")
    store.close()
