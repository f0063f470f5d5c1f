"""What every tile of a mask and every list of masks looks up is found by an index."""

from pathlib import Path

import pytest
from sqlalchemy import text

from intima.store.storage import open_storage


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT id FROM jobs WHERE result_url = 'x' AND state = 'succeeded'", "ix_jobs_result_url"),
        (
            "SELECT id FROM segmentations ORDER BY created_at DESC, id DESC LIMIT 50",
            "ix_segmentations_created_at_id",
        ),
    ],
)
def test_the_database_takes_the_index(tmp_path: Path, query: str, index: str) -> None:
    store = open_storage(tmp_path)
    with store.reading() as connection:
        plan = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
    store.close()
    assert index in plan
    assert "TEMP B-TREE" not in plan
