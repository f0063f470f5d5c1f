"""Alembic's door: runs on the connection that ``intima.store.migrate`` opened."""

from alembic import context

from intima.store.migrate import VERSION_TABLE
from intima.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
