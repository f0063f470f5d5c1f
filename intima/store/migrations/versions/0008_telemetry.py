"""Which trace a job belongs to, since when a unit is ready, and indexes that count for whoever watches."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns; units that are ready have been so since their job was queued."""
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("traceparent", sa.String(length=55), nullable=True))
        batch_op.create_index("ix_jobs_state_kind", ["state", "kind"], unique=False)
    with op.batch_alter_table("units", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ready_at", sa.Double(), nullable=True))
        batch_op.drop_index("ix_units_state_queue")
        batch_op.create_index("ix_units_state_queue_ready_at", ["state", "queue", "ready_at"], unique=False)
    op.execute(
        "UPDATE units SET ready_at = (SELECT jobs.queued_at FROM jobs WHERE jobs.id = units.job_id) "
        "WHERE state = 'ready'"
    )


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("units", schema=None) as batch_op:
        batch_op.drop_index("ix_units_state_queue_ready_at")
        batch_op.create_index("ix_units_state_queue", ["state", "queue"], unique=False)
        batch_op.drop_column("ready_at")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index("ix_jobs_state_kind")
        batch_op.drop_column("traceparent")
