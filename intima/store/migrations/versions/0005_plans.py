"""Locked plans and the trail of their uses."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "plans",
        sa.Column("id", sa.String(length=48), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint("sha256", name=op.f("uq_plans_sha256")),
    )
    op.create_table(
        "plan_uses",
        sa.Column("plan_id", sa.String(length=48), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("a_sha256", sa.String(length=64), nullable=False),
        sa.Column("b_sha256", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_plan_uses_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", "number", name=op.f("pk_plan_uses")),
    )
    with op.batch_alter_table("plan_uses", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_plan_uses_a_sha256"), ["a_sha256"], unique=False)
        batch_op.create_index(batch_op.f("ix_plan_uses_b_sha256"), ["b_sha256"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("plan_uses")
    op.drop_table("plans")
