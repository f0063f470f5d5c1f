"""Locks that a whole installation shares; each number is one thing that a transaction at a time may do.

On PostgreSQL they are advisory locks, held to the end of the transaction. SQLite has one writer anyway.
"""

from sqlalchemy import Connection, func, select

MIGRATION = 0x696E74696D61
"""Bring the schema to another version ("intima")."""
COLLECTION = 0x636F6C6C656374
"""Remove blobs; shared by who copies them ("collect")."""
AUDIT = 0x61756469
"""Lengthen the audit log ("audi")."""
ADMIN_TOKEN = 0x746F6B65
"""Set the token of INTIMA_ADMIN_TOKEN ("toke")."""


def hold(conn: Connection, number: int) -> None:
    """Wait for a lock and hold it until the transaction ends."""
    if conn.dialect.name == "postgresql":
        conn.execute(select(func.pg_advisory_xact_lock(number)))
