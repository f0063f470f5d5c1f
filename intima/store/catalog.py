"""Rows of the catalog: datasets, splits, slides, benchmarks, segmentations; all in the caller's transaction."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, func, insert, select, update

from intima.arrays import Json
from intima.contracts.benchmark import BenchmarkSpec, ImportedSplit
from intima.contracts.dataset import Dataset
from intima.contracts.segmentation import SegmentPayload, SlideInfo
from intima.contracts.splits import StoredSplits
from intima.contracts.upload import SlideChange
from intima.errors import Conflict, NotFound
from intima.store import locks
from intima.store import tables as t
from intima.store.keys import json_sha256, new_id
from intima.store.paging import Page, page_of


@dataclass(frozen=True, slots=True)
class StoredSlide:
    """A slide: its bytes are the blob ``sha256``."""

    id: str
    sha256: str
    name: str
    """Name of the uploaded file; metadata only."""
    info: SlideInfo
    mpp: float | None
    """Override in µm per pixel; null: what the file says."""
    subject: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class StoredBenchmark:
    """A submitted benchmark; its state is that of its job."""

    id: str
    job_id: str
    dataset: str
    spec: BenchmarkSpec
    created_at: str


@dataclass(frozen=True, slots=True)
class StoredSegmentation:
    """A requested segmentation; state and result are those of its job."""

    id: str
    slide: str
    job_id: str
    payload: SegmentPayload
    created_at: str


def rfc3339(epoch_s: float) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def add_dataset(conn: Connection, dataset: Dataset) -> Dataset:
    """Store a dataset, or return the stored one of the same version (content).

    One that was stored before images were compared gains what the comparison found.
    """
    known = conn.execute(select(t.datasets.c.body).where(t.datasets.c.version == dataset.version)).scalar()
    if known is not None:
        return _compared(conn, Dataset.model_validate(known), dataset)
    body = dataset.model_dump(mode="json")
    conn.execute(
        insert(t.datasets).values(
            id=dataset.id, version=dataset.version, name=dataset.name, body=body, created_at=t.database_now()
        )
    )
    return dataset


def _compared(conn: Connection, known: Dataset, again: Dataset) -> Dataset:
    if known.similarity is not None or again.similarity is None:
        return known
    found = known.model_copy(update={"similarity": again.similarity})
    where = t.datasets.c.id == known.id
    conn.execute(update(t.datasets).where(where).values(body=found.model_dump(mode="json")))
    return found


def get_dataset(conn: Connection, dataset_id: str) -> Dataset:
    """Return a dataset. Raises NotFound."""
    return Dataset.model_validate(_get(conn, t.datasets, dataset_id, "dataset").body)


def find_dataset_version(conn: Connection, version: str) -> Dataset | None:
    """Return the dataset of this content, or null where it is not in this store."""
    row = conn.execute(select(t.datasets.c.id).where(t.datasets.c.version == version)).scalar()
    return None if row is None else get_dataset(conn, row)


def list_datasets(conn: Connection, *, page_size: int = 50, page_token: str = "") -> Page[Dataset]:
    """Return datasets, newest first. Raises Invalid for a bad page."""
    page = page_of(conn, t.datasets, page_size=page_size, page_token=page_token)
    return page.map(lambda row: Dataset.model_validate(row.body))


def add_splits(conn: Connection, splits: StoredSplits) -> StoredSplits:
    """Store imported splits, or return the stored ones of the same content."""
    known = conn.execute(select(t.splits.c.body).where(t.splits.c.sha256 == splits.sha256)).scalar()
    if known is not None:
        return StoredSplits.model_validate(known)
    row = {"id": splits.id, "dataset": splits.dataset, "sha256": splits.sha256, "body": splits.model_dump(mode="json")}
    conn.execute(insert(t.splits).values(**row, created_at=t.database_now()))
    return splits


def get_splits(conn: Connection, splits_id: str) -> StoredSplits:
    """Return imported splits. Raises NotFound."""
    return StoredSplits.model_validate(_get(conn, t.splits, splits_id, "split").body)


def named_splits(conn: Connection, spec: BenchmarkSpec) -> dict[str, StoredSplits]:
    """Return the imported splits that a benchmark names, by id. Raises NotFound."""
    return {p.split: get_splits(conn, p.split) for p in spec.protocols if isinstance(p, ImportedSplit)}


def add_slide(
    conn: Connection,
    *,
    sha256: str,
    name: str,
    info: SlideInfo,
    mpp: float | None = None,
    subject: str | None = None,
    slide_id: str | None = None,
) -> StoredSlide:
    """Store a slide, or return the stored one with the same bytes, name, pixel size and subject.

    A slide that is stored gets ``slide_id``; null: a new one.
    """
    identity = _slide_identity(sha256=sha256, name=name, mpp=mpp, subject=subject)
    known = conn.execute(select(t.slides).where(t.slides.c.identity == identity)).one_or_none()
    if known is not None:
        return _slide(known)
    row_id = slide_id or new_id("sld")
    conn.execute(
        insert(t.slides).values(
            id=row_id,
            identity=identity,
            sha256=sha256,
            name=name,
            info=info.model_dump(mode="json"),
            mpp=mpp,
            subject=subject,
            created_at=t.database_now(),
        )
    )
    return get_slide(conn, row_id)


def _slide_identity(*, sha256: str, name: str, mpp: float | None, subject: str | None) -> str:
    return json_sha256({"sha256": sha256, "name": name, "mpp": mpp, "subject": subject})


def get_slide(conn: Connection, slide_id: str) -> StoredSlide:
    """Return a slide. Raises NotFound."""
    return _slide(_get(conn, t.slides, slide_id, "slide"))


def hold_slide(conn: Connection, slide_id: str) -> None:
    """Let nobody erase a slide, where it is there, until this transaction ends: something is about to name it."""
    conn.execute(select(t.slides.c.id).where(t.slides.c.id == slide_id).with_for_update(read=True, key_share=True))


def change_slide(conn: Connection, slide_id: str, change: SlideChange) -> StoredSlide:
    """Set the pixel size or the subject of a slide that nothing was made of yet.

    Raises:
        NotFound: there is no such slide.
        Conflict: results name the slide as it is, or there is one like the changed one.
    """
    conn.execute(select(t.slides.c.id).where(t.slides.c.id == slide_id).with_for_update())
    slide = get_slide(conn, slide_id)
    values = {"mpp": slide.mpp, "subject": slide.subject} | change.model_dump(exclude_unset=True)
    if values == {"mpp": slide.mpp, "subject": slide.subject}:
        return slide
    made = conn.execute(select(t.segmentations.c.id).where(t.segmentations.c.slide == slide_id).limit(1)).scalar()
    if made is not None:
        raise Conflict(
            f"The segmentation {made} was made of this slide as it is.",
            code="slide_has_results",
            hint="Store the file again with the other pixel size or subject; both slides then share its bytes.",
        )
    identity = _slide_identity(sha256=slide.sha256, name=slide.name, mpp=values["mpp"], subject=values["subject"])
    twin = conn.execute(select(t.slides.c.id).where(t.slides.c.identity == identity)).scalar()
    if twin is not None:
        raise Conflict(
            f"The slide {twin} has the same bytes, name, pixel size and subject.",
            code="slide_exists",
            hint=f"Use {twin}, and delete this one.",
        )
    conn.execute(update(t.slides).where(t.slides.c.id == slide_id).values(**values, identity=identity))
    return get_slide(conn, slide_id)


def list_slides(conn: Connection, *, page_size: int = 50, page_token: str = "", search: str = "") -> Page[StoredSlide]:
    """Return slides, newest first; with ``search`` those whose name or subject has it.

    Raises:
        Invalid: a bad page.
    """
    slides, wanted = t.slides.c, search.lower()
    has = func.lower(slides.name).contains(wanted, autoescape=True)
    has |= func.lower(slides.subject).contains(wanted, autoescape=True)
    where = (has,) if search else ()
    return page_of(conn, t.slides, page_size=page_size, page_token=page_token, where=where).map(_slide)


def add_benchmark(
    conn: Connection, *, benchmark_id: str, job_id: str, dataset: str, spec: BenchmarkSpec
) -> StoredBenchmark:
    """Store a benchmark beside its job."""
    conn.execute(
        insert(t.benchmarks).values(
            id=benchmark_id,
            job_id=job_id,
            dataset=dataset,
            spec=spec.model_dump(mode="json"),
            created_at=t.database_now(),
        )
    )
    return get_benchmark(conn, benchmark_id)


def get_benchmark(conn: Connection, benchmark_id: str) -> StoredBenchmark:
    """Return a benchmark. Raises NotFound."""
    return _benchmark(_get(conn, t.benchmarks, benchmark_id, "benchmark"))


def list_benchmarks(conn: Connection, *, page_size: int = 50, page_token: str = "") -> Page[StoredBenchmark]:
    """Return benchmarks, newest first. Raises Invalid for a bad page."""
    return page_of(conn, t.benchmarks, page_size=page_size, page_token=page_token).map(_benchmark)


def lock_segmentation(conn: Connection, segmentation_id: str) -> None:
    """Let nobody else look for this segmentation, or start it, before the transaction ends."""
    locks.hold(conn, int.from_bytes(hashlib.sha256(segmentation_id.encode()).digest()[:8], "big", signed=True))


def find_segmentation(conn: Connection, segmentation_id: str) -> StoredSegmentation | None:
    """Return the segmentation of this identity, or null where nobody asked for it yet."""
    row = conn.execute(select(t.segmentations).where(t.segmentations.c.id == segmentation_id)).one_or_none()
    return None if row is None else stored_segmentation(row)


def get_segmentation(conn: Connection, segmentation_id: str) -> StoredSegmentation:
    """Return a segmentation. Raises NotFound."""
    return stored_segmentation(_get(conn, t.segmentations, segmentation_id, "segmentation"))


def add_segmentation(
    conn: Connection, *, segmentation_id: str, slide: str, job_id: str, payload: SegmentPayload
) -> StoredSegmentation:
    """Store a segmentation beside its job; where the identity exists, point it at the new job."""
    body = payload.model_dump(mode="json")
    if find_segmentation(conn, segmentation_id) is None:
        made = payload.correction
        row = {"id": segmentation_id, "slide": slide, "job_id": job_id, "payload": body, "model": payload.model}
        version = {} if made is None else {"parent": made.parent, "number": made.number}
        conn.execute(insert(t.segmentations).values(**row, **version, created_at=t.database_now()))
    else:
        renew = update(t.segmentations).where(t.segmentations.c.id == segmentation_id)
        conn.execute(renew.values(slide=slide, job_id=job_id, payload=body, model=payload.model))
    return get_segmentation(conn, segmentation_id)


def _get(conn: Connection, table: Table, row_id: str, what: str) -> Row[tuple[object, ...]]:
    row = conn.execute(select(table).where(table.c.id == row_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no {what} {row_id[:80]!r}.", code=f"{what}_not_found")
    return row


def _slide(row: Row[tuple[object, ...]]) -> StoredSlide:
    info = SlideInfo.model_validate(row.info)
    return StoredSlide(row.id, row.sha256, row.name, info, row.mpp, row.subject, rfc3339(row.created_at))


def _benchmark(row: Row[tuple[object, ...]]) -> StoredBenchmark:
    spec = BenchmarkSpec.model_validate(row.spec)
    return StoredBenchmark(row.id, row.job_id, row.dataset, spec, rfc3339(row.created_at))


def stored_segmentation(row: Row[Any]) -> StoredSegmentation:
    """Return a row of the table of segmentations."""
    payload = SegmentPayload.model_validate(row.payload)
    return StoredSegmentation(row.id, row.slide, row.job_id, payload, rfc3339(row.created_at))


PROCEDURE = 3
"""Raised whenever the same request gives other pixels, measures or files than before: older results are not reused."""


def segmentation_parameters(payload: SegmentPayload) -> Json:
    """Return what decides a segmentation, its provenance included, besides slide content and model."""
    decisive = {"mpp", "region", "uncertainty", "subject", "slide_name"}
    if payload.precision != "fp32":
        decisive.add("precision")
    if payload.background != "skip":
        decisive.add("background")
    if payload.provider != "cpu":
        decisive |= {"provider", "provider_fallback"}
    return {"procedure": PROCEDURE, **payload.model_dump(mode="json", include=decisive)}
