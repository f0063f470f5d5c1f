"""Versions of a mask: a correction names its parent, which may have one of each number."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns; what there is was made by models."""
    with op.batch_alter_table("segmentations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("parent", sa.String(length=48), nullable=True))
        batch_op.add_column(sa.Column("number", sa.Integer(), nullable=True))
        batch_op.create_unique_constraint("uq_segmentations_parent", ["parent", "number"])


def downgrade() -> None:
    """Drop them, and the corrections' place among the versions with them."""
    with op.batch_alter_table("segmentations", schema=None) as batch_op:
        batch_op.drop_constraint("uq_segmentations_parent", type_="unique")
        batch_op.drop_column("number")
        batch_op.drop_column("parent")
