"""Indexes of what every tile of a mask and every list of masks looks up."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add them."""
    op.create_index("ix_jobs_result_url", "jobs", ["result_url"])
    op.create_index("ix_segmentations_created_at_id", "segmentations", ["created_at", "id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_segmentations_created_at_id", "segmentations")
    op.drop_index("ix_jobs_result_url", "jobs")
