"""A database of an earlier version, with rows, is still there after migration."""

from pathlib import Path

from sqlalchemy import MetaData, Table, insert, select, text

from intima.contracts.benchmark import UnitPlan
from intima.store import ledger
from intima.store.migrate import current_revision, migrate
from intima.store.storage import attach_storage, open_storage
from intima.store.tables import events, jobs, unit_needs, units


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
