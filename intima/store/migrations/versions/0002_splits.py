"""Imported splits."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table of splits."""
    op.create_table(
        "splits",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("dataset", sa.String(length=48), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_splits")),
        sa.UniqueConstraint("sha256", name=op.f("uq_splits_sha256")),
    )
    with op.batch_alter_table("splits", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_splits_dataset"), ["dataset"], unique=False)


def downgrade() -> None:
    """Drop the table of splits."""
    with op.batch_alter_table("splits", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_splits_dataset"))

    op.drop_table("splits")
