"""The queue of masks to look at: by expected error, in stable pages, on both databases."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import MetaData, Table, event, func, insert, select, update

from intima.contracts.benchmark import UnitPlan
from intima.contracts.segmentation import Correction, SegmentPayload, UncertaintySpec
from intima.errors import Invalid
from intima.store import catalog, ledger, reviewing
from intima.store.migrate import migrate
from intima.store.storage import Storage, attach_storage, open_storage
from intima.store.tables import jobs, segmentations, units

Doubt = dict[str, object] | None


def add(store: Storage, name: str, *, slide: str = "sld_1", model: str = "net@v1") -> None:
    payload = SegmentPayload(
        segmentation=name,
        slide=slide,
        slide_sha256="a" * 64,
        slide_name="a.tif",
        subject=None,
        mpp=None,
        model=model,
        region=None,
        uncertainty=UncertaintySpec(),
    )
    unit = UnitPlan(key="segment", kind="segment", queue="inference", payload=payload.model_dump(mode="json"))
    with store.writing() as connection:
        job = ledger.create_job(connection, kind="segmentation", units=[unit], payload={}, result_url=None)
        catalog.add_segmentation(connection, segmentation_id=name, slide=slide, job_id=job, payload=payload)


def finish(store: Storage, doubt: Doubt) -> None:
    with store.writing() as connection:
        claim = ledger.claim_next(connection, owner="me", queues=["inference"], lease_s=30)
        assert claim is not None
        assert ledger.publish(connection, claim, result={"uncertainty": doubt})


def doubt(dice: float | None, *, review: bool | None, calibration: str = "out-of-fold, 9 subjects") -> Doubt:
    return {
        "sampler": "tta",
        "passes": 8,
        "mean_entropy": 0.1,
        "mean_disagreement": 0.1,
        "pairwise_dice": None,
        "calibration": calibration,
        "expected_foreground_dice": dice,
        "review": review,
    }


def pages(store: Storage, *, size: int, **wanted: str) -> list[str]:
    found, token = [], ""
    while True:
        with store.reading() as connection:
            page = reviewing.list_segmentations(
                connection, order="expected_error", page_size=size, page_token=token, **wanted
            )
        found += [s.id for s in page.items]
        if not (token := page.next_page_token):
            return found


CASES: dict[str, Doubt] = {
    "fine": doubt(0.97, review=False),
    "bad": doubt(0.55, review=True),
    "unmeasured": doubt(0.10, review=True, calibration="not measured"),
    "empty": doubt(None, review=True),
    "worse": doubt(0.30, review=True),
    "good but below a strict rule": doubt(0.93, review=True),
    "unsampled": None,
    "less fine": doubt(0.90, review=False),
}
ORDER = ["empty", "worse", "bad", "good but below a strict rule", "less fine", "fine", "unsampled", "unmeasured"]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_is_most_in_doubt_comes_first_and_what_is_unknown_last(store: Storage, size: int) -> None:
    for name, found in CASES.items():
        add(store, name)
        finish(store, found)
    add(store, "not finished")
    assert pages(store, size=size) == ORDER


def test_rows_of_one_moment_and_one_doubt_are_each_on_one_page(store: Storage) -> None:
    for n in range(7):
        add(store, f"s{n}")
        finish(store, doubt(0.5, review=False))
    with store.writing() as connection:
        connection.execute(update(segmentations).values(created_at=1.0))
    assert pages(store, size=2) == [f"s{n}" for n in range(6, -1, -1)]


def test_slides_and_models_are_told_apart_by_name_and_version(store: Storage) -> None:
    models = ["net@v1", "net@v2", "net-wide@v1", "n_t@v1"]
    for n, model in enumerate(models):
        add(store, f"s{n}", slide=f"sld_{n % 2}", model=model)
        finish(store, doubt(0.5 + n / 10, review=False))
    assert pages(store, size=1, model="net") == ["s0", "s1"]
    assert pages(store, size=9, model="net@v2") == ["s1"]
    assert pages(store, size=9, model="n_t") == ["s3"]
    assert pages(store, size=9, slide="sld_0") == ["s0", "s2"]
    with store.reading() as connection:
        newest = reviewing.list_segmentations(connection, slide="sld_1", model="net").items
    assert [s.id for s in newest] == ["s1"]


def test_a_result_made_anew_takes_its_new_place(store: Storage) -> None:
    add(store, "a")
    finish(store, doubt(0.9, review=False))
    add(store, "b")
    finish(store, doubt(0.5, review=True))
    add(store, "a")
    assert pages(store, size=9) == ["b", "a"]
    finish(store, doubt(0.1, review=True))
    assert pages(store, size=9) == ["a", "b"]


def correct(store: Storage, parent: str, number: int) -> str:
    """Store a correction of a mask, and return its job."""
    name = f"{parent} by hand {number}"
    made = Correction(
        parent=parent,
        number=number,
        base=parent,
        base_mask_sha256="b" * 64,
        author="local",
        author_name="",
        note="",
        source="mask",
        correction_sha256="c" * 64,
    )
    with store.writing() as connection:
        body = catalog.get_segmentation(connection, parent).payload
        payload = body.model_copy(update={"segmentation": name, "correction": made})
        unit = UnitPlan(key="segment", kind="correct", queue="inference", payload=payload.model_dump(mode="json"))
        job = ledger.create_job(connection, kind="segmentation", units=[unit], payload={}, result_url=None)
        catalog.add_segmentation(connection, segmentation_id=name, slide="sld_1", job_id=job, payload=payload)
    return job


def test_what_a_person_has_corrected_waits_for_no_review_unless_the_correction_came_to_nothing(store: Storage) -> None:
    for name, dice in (("a", 0.3), ("b", 0.5), ("c", 0.7)):
        add(store, name)
        finish(store, doubt(dice, review=True))
    first = correct(store, "a", 1)
    correct(store, "b", 1)
    assert pages(store, size=1) == ["c"]
    with store.writing() as connection:
        ledger.cancel_job(connection, first)
    assert pages(store, size=1) == ["a", "c"]
    correct(store, "a", 2)
    assert pages(store, size=1) == ["c"]
    with store.reading() as connection:
        newest = reviewing.list_segmentations(connection, order="newest").items
    assert {"a", "b", "c", "a by hand 1", "a by hand 2", "b by hand 1"} == {s.id for s in newest}


@pytest.mark.parametrize("token", ["x", "W10=", "WyJuYW4iLCAiMHgxcCswIiwgImEiXQ=="])
def test_strange_tokens_and_those_of_the_other_order_are_refused(store: Storage, token: str) -> None:
    for n in range(2):
        add(store, f"s{n}")
    with store.reading() as connection:
        other = reviewing.list_segmentations(connection, page_size=1).next_page_token
        for given in (token, other):
            with pytest.raises(Invalid):
                reviewing.list_segmentations(connection, order="expected_error", page_token=given)


@pytest.mark.parametrize("name", list(CASES))
def test_results_of_earlier_versions_are_placed_as_new_ones_are(
    tmp_path: Path, empty_database_url: str | None, name: str
) -> None:
    made = open_storage(tmp_path / "made")
    add(made, name)
    finish(made, CASES[name])
    with made.writing() as connection:
        connection.execute(update(jobs).values(result_url=f"/v1/segmentations/{name}"))
    tables = (jobs, units, segmentations)
    with made.reading() as connection:
        rows = {t.name: [dict(row) for row in connection.execute(select(t)).mappings()] for t in tables}
        wanted = connection.execute(select(segmentations.c.doubt, segmentations.c.model)).one()
    made.close()

    old = attach_storage(tmp_path / "old", empty_database_url)
    migrate(old.engine, "0008")
    with old.writing() as connection:
        for table, found in rows.items():
            before = Table(table, MetaData(), autoload_with=connection)
            connection.execute(insert(before), [{k: v for k, v in row.items() if k in before.c} for row in found])
    migrate(old.engine)
    with old.reading() as connection:
        assert connection.execute(select(segmentations.c.doubt, segmentations.c.model)).one() == wanted
    old.close()


def test_the_migration_looks_at_each_job_once_however_many_there_are(tmp_path: Path) -> None:
    made = open_storage(tmp_path / "made")
    add(made, "a")
    finish(made, CASES["bad"])
    with made.reading() as connection:
        rows = [(t, dict(connection.execute(select(t)).mappings().one())) for t in (jobs, units, segmentations)]
    made.close()
    steps = {number: _steps_of_migration(tmp_path / str(number), rows, number) for number in (50, 500)}
    assert steps[500] < 20 * steps[50], "more than in proportion"


def _steps_of_migration(folder: Path, rows: list[tuple[Table, dict[str, object]]], number: int) -> int:
    """Return how many thousand steps SQLite takes to migrate ``number`` copies of a segmentation with its job."""
    old = attach_storage(folder)
    migrate(old.engine, "0008")
    with old.writing() as connection:
        for table, row in rows:
            before = Table(table.name, MetaData(), autoload_with=connection)
            copies = [
                {k: v for k, v in row.items() if k in before.c}
                | {k: f"{k} {n}" for k in ("id", "job_id") if k in before.c}
                for n in range(number)
            ]
            for n, copy in enumerate(copies):
                if table is jobs:
                    copy |= {"id": f"job_id {n}", "result_url": f"/v1/segmentations/id {n}"}
            connection.execute(insert(before), copies)
    steps = [0]

    def step() -> int:
        steps[0] += 1
        return 0

    @event.listens_for(old.engine, "checkout")
    def watch(driver: sqlite3.Connection, *_: object) -> None:
        driver.set_progress_handler(step, 1000)

    migrate(old.engine)
    with old.reading() as connection:
        assert connection.execute(select(func.count()).where(segmentations.c.doubt > 0)).scalar() == number
    old.close()
    return steps[0]
