"""Where masks stand in the queue of those to look at, when a worker was last heard, and curves of what runs."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_UNKNOWN = -1.0


def upgrade() -> None:
    """Add the columns, and rank what is there: one result after the other, as results are large."""
    with op.batch_alter_table("segmentations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("model", sa.String(length=200), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("doubt", sa.Double(), nullable=True))
    with op.batch_alter_table("units", schema=None) as batch_op:
        batch_op.add_column(sa.Column("beat_at", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("live", sa.JSON(), nullable=True))
    with op.batch_alter_table("segmentations", schema=None) as batch_op:
        batch_op.create_index("ix_segmentations_doubt_created_at_id", ["doubt", "created_at", "id"], unique=False)
        batch_op.create_index("ix_segmentations_slide_created_at", ["slide", "created_at"], unique=False)
    _fill()


def _fill() -> None:
    conn = op.get_bind()
    table = sa.table(
        "segmentations", sa.column("id"), sa.column("model"), sa.column("payload", sa.JSON), sa.column("doubt")
    )
    last = _last_units(conn)
    rows = conn.execute(sa.select(table.c.id, table.c.payload)).all()
    for row in rows:
        model = str(row.payload.get("model", ""))[:200] if isinstance(row.payload, dict) else ""
        values = {"model": model, "doubt": _doubt_of(conn, last.get(f"/v1/segmentations/{row.id}"))}
        conn.execute(sa.update(table).where(table.c.id == row.id).values(**values))


_LAST = sa.text(
    "SELECT jobs.result_url, units.id FROM units JOIN jobs ON jobs.id = units.job_id "
    "WHERE jobs.state = 'succeeded' AND units.kind = 'segment' ORDER BY jobs.finished_at"
)
_RESULT = sa.text("SELECT units.result FROM units WHERE units.id = :unit")


def _last_units(conn: sa.Connection) -> dict[str, str]:
    """Return the unit that made the last result, by its URL: no index finds the jobs of one segmentation."""
    return {row.result_url: row.id for row in conn.execute(_LAST) if row.result_url is not None}


def _doubt_of(conn: sa.Connection, unit: str | None) -> float | None:
    """Return the doubt about the result of a unit; null where there is none."""
    stored = None if unit is None else conn.execute(_RESULT, {"unit": unit}).scalar()
    result: Any = json.loads(stored) if isinstance(stored, str) else stored
    if not isinstance(result, dict):
        return None
    found = result.get("uncertainty")
    if not isinstance(found, dict) or found.get("review") is None or found.get("calibration") == "not measured":
        return _UNKNOWN
    dice = found.get("expected_foreground_dice")
    return (2.0 if dice is None else 1.0 - float(dice)) + (2.0 if found["review"] else 0.0)


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("units", schema=None) as batch_op:
        batch_op.drop_column("live")
        batch_op.drop_column("beat_at")
    with op.batch_alter_table("segmentations", schema=None) as batch_op:
        batch_op.drop_index("ix_segmentations_slide_created_at")
        batch_op.drop_index("ix_segmentations_doubt_created_at_id")
        batch_op.drop_column("doubt")
        batch_op.drop_column("model")
