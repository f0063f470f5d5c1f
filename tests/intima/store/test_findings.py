"""Findings of finished segmentations, on SQLite and on PostgreSQL."""

from intima.contracts.benchmark import UnitPlan
from intima.contracts.segmentation import SegmentationResult, SegmentPayload, UncertaintySpec
from intima.store import catalog, ledger
from intima.store.findings import page_findings
from intima.store.storage import Storage


def asked(segmentation: str, *, subject: str | None, model: str = "m@1") -> SegmentPayload:
    return SegmentPayload(
        segmentation=segmentation,
        slide="sld_1",
        slide_sha256="0" * 64,
        slide_name="a.png",
        subject=subject,
        mpp=None,
        model=model,
        region=None,
        uncertainty=UncertaintySpec(),
    )


def found(width: int) -> SegmentationResult:
    return SegmentationResult(
        width=width,
        height=1,
        mpp=None,
        origin="full",
        region=None,
        areas=(),
        vessels=(),
        interval_basis="",
        uncertainty=None,
        artefacts=(),
        timings_s={},
        provenance={},
        warnings=(),
    )


def submit(store: Storage, payload: SegmentPayload) -> str:
    """Ask for a segmentation, anew where it exists; return its job."""
    body = payload.model_dump(mode="json")
    unit = UnitPlan(key="segment", kind="segment", queue="inference", payload=body)
    with store.writing() as connection:
        job = ledger.create_job(connection, kind="segmentation", units=[unit], payload=body, result_url="/x")
        catalog.add_segmentation(
            connection, segmentation_id=payload.segmentation, slide=payload.slide, job_id=job, payload=payload
        )
    return job


def finish(store: Storage, job: str, *, width: int | None) -> None:
    """End the job with a result of this width, or with a failure."""
    with store.writing() as connection:
        (ref,) = ledger.take_unsent(connection, job)
        claim = ledger.claim_unit(connection, ref.unit_id, owner="test", lease_s=60)
        assert claim is not None
        if width is None:
            ledger.fail_attempt(connection, claim, code="defect", message="no", retryable=False)
        else:
            ledger.publish(connection, claim, result=found(width).model_dump(mode="json", by_alias=True))


def widths(store: Storage, **query: object) -> dict[str, int]:
    """Segmentation to width of its finding, over all pages."""
    settled = {"subject": None, "model": None, "page_size": 2} | query
    gathered, token = {}, ""
    while True:
        with store.reading() as connection:
            page = page_findings(connection, page_token=token, **settled)  # type: ignore[arg-type]
        gathered |= {f.segmentation: f.result.width for f in page.items}
        token = page.next_page_token
        if not token:
            return gathered


def test_only_what_has_succeeded_is_found_and_filters_hold(store: Storage) -> None:
    finish(store, submit(store, asked("seg_a", subject="a")), width=1)
    finish(store, submit(store, asked("seg_b", subject="b", model="m@2")), width=2)
    finish(store, submit(store, asked("seg_none", subject=None)), width=3)
    finish(store, submit(store, asked("seg_failed", subject="a")), width=None)
    submit(store, asked("seg_waits", subject="a"))
    assert widths(store) == {"seg_a": 1, "seg_b": 2, "seg_none": 3}
    assert widths(store, subject="a") == {"seg_a": 1}
    assert widths(store, model="m@1") == {"seg_a": 1, "seg_none": 3}
    assert widths(store, subject="b", model="m@1") == {}
    assert widths(store, subject="null") == {}
    assert widths(store, subject="a' OR '1'='1") == {}


def test_what_runs_again_or_failed_since_keeps_its_newest_success(store: Storage) -> None:
    payload = asked("seg_a", subject="a")
    finish(store, submit(store, payload), width=1)
    finish(store, submit(store, payload), width=2)
    again = submit(store, payload)
    assert widths(store) == {"seg_a": 2}
    finish(store, again, width=None)
    assert widths(store) == {"seg_a": 2}
    finish(store, submit(store, payload), width=4)
    assert widths(store) == {"seg_a": 4}
