"""Units that wait for the end of others, with or without a result."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Say of every need whether its result is required; so far all are."""
    with op.batch_alter_table("unit_needs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("required", sa.Boolean(), server_default=sa.true(), nullable=False))


def downgrade() -> None:
    """Require every result again."""
    with op.batch_alter_table("unit_needs", schema=None) as batch_op:
        batch_op.drop_column("required")
