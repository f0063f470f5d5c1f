"""Opening: migrations, several processes at once, SQLite's settings, errors of the database."""

import json
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text
from toy_jobs import child_environment, python

from intima.errors import Unavailable
from intima.store.incoming import StorageFull
from intima.store.migrate import VERSION_TABLE, current_revision, migrate
from intima.store.storage import Storage, open_storage
from intima.store.tables import METADATA, database_now, requests


def test_the_migrations_make_exactly_the_tables_of_the_code(store: Storage) -> None:
    with store.engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, METADATA) == []


def test_opening_twice_changes_nothing(store: Storage) -> None:
    with store.reading() as conn:
        before = current_revision(conn)
    migrate(store.engine)
    with store.reading() as conn:
        assert current_revision(conn) == before is not None


def test_processes_that_start_together_migrate_once(tmp_path: Path, empty_database_url: str | None) -> None:
    code = (
        "import sys; from pathlib import Path; from intima.store.storage import open_storage;"
        f"open_storage(Path(sys.argv[1]), {empty_database_url!r})"
    )
    command = python("-c", code, str(tmp_path / "data"))
    started = [subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE) for _ in range(3)]
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()


def test_a_database_of_a_newer_version_is_refused(sqlite_store: Storage) -> None:
    with sqlite_store.writing() as conn:
        conn.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(Unavailable, match="9999") as caught:
        migrate(sqlite_store.engine)
    assert caught.value.code == "schema_newer"


def test_optunas_own_migrations_live_in_the_same_database(sqlite_store: Storage) -> None:
    optuna_storages = pytest.importorskip("optuna.storages")
    url = sqlite_store.engine.url.render_as_string(hide_password=False)
    optuna_storages.RDBStorage(url).remove_session()
    migrate(sqlite_store.engine)
    optuna_storages.RDBStorage(url).remove_session()
    assert "alembic_version" in inspect(sqlite_store.engine).get_table_names()


def test_sqlite_is_told_to_be_safe(sqlite_store: Storage) -> None:
    with sqlite_store.engine.connect() as conn:
        asked = {
            p: conn.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous", "foreign_keys")
        }
        timeout = conn.exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert timeout == 30_000


def test_reading_does_not_wait_for_a_writer(store: Storage) -> None:
    with store.writing() as writer:
        writer.execute(requests.insert().values(_request("held")))
        with store.reading() as reader:
            assert reader.execute(select(requests.c.key)).all() == []


def test_no_update_is_lost_between_writers(store: Storage) -> None:
    """Read-modify-write from 4 threads: with SQLite's default transactions most of these would be lost."""
    with store.writing() as conn:
        conn.execute(requests.insert().values(_request("counter")))

    def count() -> None:
        for _ in range(25):
            with store.writing() as conn:
                row = select(requests.c.status).where(requests.c.key == "counter").with_for_update()
                status = conn.execute(row).scalar_one()
                conn.execute(requests.update().values(status=status + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as conn:
        assert conn.execute(select(requests.c.status)).scalar_one() == 100


def test_an_error_rolls_everything_back(store: Storage) -> None:
    def write_and_fail() -> None:
        with store.writing() as conn:
            conn.execute(requests.insert().values(_request("x")))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    with store.reading() as conn:
        assert conn.execute(select(requests)).all() == []


def test_the_databases_clock_is_the_time_in_seconds(store: Storage) -> None:
    with store.reading() as conn:
        first = conn.execute(select(database_now())).scalar_one()
        wall = conn.exec_driver_sql(
            "SELECT strftime('%s', 'now')" if conn.dialect.name == "sqlite" else "SELECT extract(epoch FROM now())"
        ).scalar_one()
    assert abs(first - float(wall)) < 2


def test_what_no_json_can_hold_is_refused(store: Storage) -> None:
    with pytest.raises(Exception, match="not JSON compliant"), store.writing() as conn:
        conn.execute(requests.insert().values(_request("nan") | {"response": {"x": float("nan")}}))


def test_a_database_out_of_reach_is_unavailable(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(Unavailable) as caught:
        open_storage(tmp_path, "postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2")
    assert caught.value.code == "database_unavailable"
    assert "nobody" not in caught.value.message


def test_a_full_database_says_so_and_stays_sound(sqlite_store: Storage) -> None:
    with sqlite_store.engine.connect() as conn:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        conn.exec_driver_sql(f"PRAGMA max_page_count={pages + 4}")
        conn.rollback()
        with pytest.raises(StorageFull), conn.begin():
            conn.execute(requests.insert().values(_request("big") | {"response": {"x": "y" * 100_000}}))
    sqlite_store.close()
    with sqlite3.connect(sqlite_store.data_dir / "intima.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()


def _request(key: str) -> dict[str, object]:
    row = {"route": "r", "key": key, "body_sha256": "0" * 64, "status": 0, "response": {}, "created_at": 0.0}
    return json.loads(json.dumps(row))  # type: ignore[no-any-return]
