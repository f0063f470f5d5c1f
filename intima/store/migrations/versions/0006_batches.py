"""Batches of slides, and whose turn it is."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables; all jobs so far have the first turn."""
    op.create_table(
        "batches",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_table(
        "batch_items",
        sa.Column("batch_id", sa.String(length=48), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("slide", sa.String(length=48), nullable=False),
        sa.Column("segmentation", sa.String(length=64), nullable=True),
        sa.Column("job_id", sa.String(length=48), nullable=True),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_batch_items_batch_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_batch_items_job_id")),
        sa.PrimaryKeyConstraint("batch_id", "position", name=op.f("pk_batch_items")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("flow", sa.String(length=48), server_default="", nullable=False))
        batch_op.add_column(sa.Column("turn", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("served_turn", sa.Integer(), nullable=True))
        batch_op.create_index("ix_jobs_flow_turn", ["flow", "turn"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_served_turn"), ["served_turn"], unique=False)


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_served_turn"))
        batch_op.drop_index("ix_jobs_flow_turn")
        batch_op.drop_column("served_turn")
        batch_op.drop_column("turn")
        batch_op.drop_column("flow")
    op.drop_table("batch_items")
    op.drop_table("batches")
