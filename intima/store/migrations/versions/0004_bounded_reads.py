"""When a unit last told its progress, and an index of what overviews of a job read."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column and the index."""
    with op.batch_alter_table("units", schema=None) as batch_op:
        batch_op.add_column(sa.Column("told_at", sa.Double(), nullable=True))
        batch_op.create_index("ix_units_job_id_kind_state", ["job_id", "kind", "state", "key", "position"])


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("units", schema=None) as batch_op:
        batch_op.drop_index("ix_units_job_id_kind_state")
        batch_op.drop_column("told_at")
