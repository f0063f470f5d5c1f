"""Bring the database to this version's schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from intima.errors import Unavailable

VERSION_TABLE = "intima_alembic_version"
"""Not Alembic's default name, which Optuna uses for itself in the same database."""

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x696E74696D61
"""Advisory lock of PostgreSQL under which one process migrates ("intima")."""


def migrate(engine: Engine, revision: str = "head") -> None:
    """Upgrade the schema in one transaction; does nothing where it is current.

    Raises:
        Unavailable: the database was written by a newer version.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config = _config(connection)
        script = ScriptDirectory.from_config(config)
        current = current_revision(connection)
        _refuse_unknown(current, script)
        if current != script.get_current_head() or revision != "head":
            command.upgrade(config, revision)


def current_revision(connection: Connection) -> str | None:
    """Return the schema version of a database; null when it has none."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


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
