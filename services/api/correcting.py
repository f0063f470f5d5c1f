"""Corrections of masks: read what is sent, preview it, store it as a new version."""

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from intima import annotations
from intima.canvas import Canvas, canvas_of
from intima.contracts.benchmark import UnitPlan
from intima.contracts.correction import CorrectedDatasetRequest, CorrectionPreview
from intima.contracts.job import JobState
from intima.contracts.segmentation import Correction, SegmentationResult, SegmentPayload, UncertaintySpec
from intima.corrected_datasets import CorrectedMask, import_corrections
from intima.corrections import preview_correction, read_drawn, working_mask_png
from intima.datasets import ImportedDataset
from intima.errors import Conflict, Invalid
from intima.store import catalog, ledger, models
from intima.store.catalog import StoredSegmentation
from intima.store.corrections import Versions, get_versions, refuse_outdated
from intima.store.keys import json_sha256, new_id
from services.access.web import caller_of
from services.api.dependencies import State, Transaction, once, send_ready
from services.api.results import result_of
from services.api.segmenting import UNIT, result_url
from services.api.writing import Writer, writing
from services.telemetry.context import current

MOST_PNG_BYTES = 16 * 2**20
WAIT_S = 60.0
Source = Literal["geojson", "mask"]
Origin = Literal["full", "openslide-bounds"]
_SOURCES: dict[str, Source] = {"application/geo+json": "geojson", "application/json": "geojson", "image/png": "mask"}
_MOST_BYTES: dict[Source, int] = {"geojson": annotations.MOST_BYTES, "mask": MOST_PNG_BYTES}
T = TypeVar("T")


class CorrectionView(BaseModel):
    """A version of a mask that a person has corrected."""

    id: str
    """A segmentation like any other: GET /v1/segmentations/{id} has its measures, layers and files."""
    parent: str
    number: int
    base: str
    author: str
    author_name: str
    note: str
    source: Source
    sha256: str
    """Of what was sent."""
    created_at: str
    job: str
    """Writes the files: GET /v1/jobs/{job}."""
    state: JobState


@dataclass(frozen=True, slots=True)
class Sent:
    """A correction on disk."""

    path: Path
    source: Source
    origin: Origin | None


@dataclass(frozen=True, slots=True)
class _Base:
    """The version that is corrected."""

    stored: StoredSegmentation
    canvas: Canvas
    result: SegmentationResult


@asynccontextmanager
async def receive(request: Request, origin: Origin | None) -> AsyncIterator[Sent]:
    """Write the body of a request into a file that is gone at the end.

    Raises:
        Invalid: another media type, too many bytes, a client that left.
    """
    source = _SOURCES.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    if source is None:
        raise Invalid(
            "A correction is application/geo+json or image/png.",
            code="unsupported_media_type",
            hint="Set Content-Type to application/geo+json (polygons) or image/png (class indices).",
        )
    with tempfile.NamedTemporaryFile(prefix="intima-correction-") as file:
        try:
            async with writing(file.writelines) as writer:
                await _take(request, writer, most=_MOST_BYTES[source])
        except ClientDisconnect as error:
            raise Invalid("The client left before its request was whole.", code="bad_body") from error
        file.flush()
        yield Sent(Path(file.name), source, origin)


async def _take(request: Request, writer: Writer, *, most: int) -> None:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise Invalid(f"The limit of a correction is {most} bytes.", code="too_large")
        await writer.take([chunk])
    await writer.finish()


async def in_turn(state: State, work: Callable[[], T]) -> T:
    """Do work when a turn of requests that compute comes. Raises Unavailable."""
    return await state.segment_turns.run(work, wait_s=WAIT_S)


def preview(state: State, segmentation_id: str, sent: Sent, *, base: str | None) -> CorrectionPreview:
    """Return what a correction measures beside its base: the version named, else the newest."""
    found = _base(state, segmentation_id, base)
    drawn = read_drawn(sent.path, found.canvas, source=sent.source, origin=sent.origin)
    return preview_correction(state.storage, found.canvas, drawn, base=found.stored.id, known=found.result)


def working_mask(state: State, segmentation_id: str) -> bytes:
    """Return one version as PNG of class indices at working resolution."""
    return working_mask_png(state.storage, _base(state, segmentation_id, segmentation_id).canvas)


def _base(state: State, segmentation_id: str, base: str | None) -> _Base:
    with state.storage.reading() as connection:
        versions = get_versions(connection, segmentation_id)
        stored = versions.newest if base is None else catalog.get_segmentation(connection, base)
        _refuse_stranger(versions, stored)
        slide = catalog.get_slide(connection, stored.slide)
        card = models.get_model(connection, stored.payload.model).card
        result = _result_of(connection, stored)
    mask = next(a for a in result.artefacts if a.name == "mask.ome.tiff")
    return _Base(stored, canvas_of(slide.info, stored.payload, card, mask_sha256=mask.sha256), result)


def _refuse_stranger(versions: Versions, stored: StoredSegmentation) -> None:
    made = stored.payload.correction
    if (stored.id if made is None else made.parent) != versions.parent.id:
        raise Invalid(f"{stored.id} is no version of {versions.parent.id}.", code="bad_base", pointer="/base")


def _result_of(connection: Transaction, stored: StoredSegmentation) -> SegmentationResult:
    result = result_of(connection, stored)
    if result is None:
        hint = f"Watch /v1/jobs/{stored.job_id}."
        raise Conflict(f"{stored.id} has no mask yet.", code="not_ready", hint=hint, pointer="/base")
    return result


def store_correction(
    state: State, request: Request, segmentation_id: str, sent: Sent, *, base: str, note: str, key: str | None
) -> CorrectionView:
    """Check a correction and store it as a new version; a job writes its files.

    Raises:
        NotFound: no such segmentation or base.
        Invalid: what was sent is no mask of this slide.
        Conflict: a newer version is there, the base has no mask yet, the key was used for another body.
    """
    found = _base(state, segmentation_id, base)
    read_drawn(sent.path, found.canvas, source=sent.source, origin=sent.origin)
    sha256 = state.storage.blobs.put_file(sent.path)
    caller = caller_of(request)
    body = json_sha256({"base": base, "note": note, "source": sent.source, "origin": sent.origin, "sha256": sha256})

    def make() -> CorrectionView:
        parent = get_versions(connection, base).parent
        correction = Correction(
            parent=parent.id,
            number=1,
            base=base,
            base_mask_sha256=found.canvas.mask_sha256,
            author=caller.id,
            author_name=caller.name,
            note=note,
            source=sent.source,
            origin=sent.origin,
            correction_sha256=sha256,
        )
        return _create(connection, found.stored, correction)

    with state.storage.writing() as connection:
        route = f"create_correction/{segmentation_id}"
        view = once(connection, make, key=key, route=route, body_sha256=body, kind=CorrectionView)
    send_ready(state)
    return view


def _create(connection: Transaction, base: StoredSegmentation, correction: Correction) -> CorrectionView:
    catalog.hold_slide(connection, base.slide)
    catalog.lock_segmentation(connection, correction.parent)
    versions = get_versions(connection, correction.parent)
    refuse_outdated(versions, correction)
    numbered = correction.model_copy(update={"number": versions.highest + 1})
    payload = base.payload.model_copy(
        update={
            "segmentation": new_id("seg"),
            "uncertainty": UncertaintySpec(sampler="none", passes=1),
            "correction": numbered,
        }
    )
    return correction_view(connection, _add(connection, payload))


def _add(connection: Transaction, payload: SegmentPayload) -> StoredSegmentation:
    body = payload.model_dump(mode="json")
    job_id = ledger.create_job(
        connection,
        kind="segmentation",
        units=[UnitPlan(key=UNIT, kind="correct", queue="inference", payload=body)],
        payload=body,
        result_url=result_url(payload.segmentation),
        traceparent=current().traceparent,
    )
    return catalog.add_segmentation(
        connection, segmentation_id=payload.segmentation, slide=payload.slide, job_id=job_id, payload=payload
    )


def correction_view(connection: Transaction, stored: StoredSegmentation) -> CorrectionView:
    """Return what clients see of a correction."""
    made = stored.payload.correction
    assert made is not None, "a mask of a model"
    return CorrectionView(
        id=stored.id,
        parent=made.parent,
        number=made.number,
        base=made.base,
        author=made.author,
        author_name=made.author_name,
        note=made.note,
        source=made.source,
        sha256=made.correction_sha256,
        created_at=stored.created_at,
        job=stored.job_id,
        state=ledger.read_job(connection, stored.job_id).state,
    )


def make_dataset(state: State, request: CorrectedDatasetRequest) -> ImportedDataset:
    """Store corrections as a dataset.

    Raises:
        NotFound: no such segmentation.
        Invalid: a mask that nobody has corrected, a slide without a subject.
        Conflict: the files of a correction are not written yet.
    """
    with state.storage.reading() as connection:
        masks = [_corrected(connection, name, place) for place, name in enumerate(request.segmentations)]
    return import_corrections(state.storage, request, masks)


def _corrected(connection: Transaction, segmentation_id: str, position: int) -> CorrectedMask:
    named = catalog.get_segmentation(connection, segmentation_id)
    stored = get_versions(connection, segmentation_id).newest if named.payload.correction is None else named
    at = f"/segmentations/{position}"
    if stored.payload.correction is None:
        raise Invalid(
            f"Nobody has corrected {stored.id}: a mask of a model is no truth to train on.",
            code="not_corrected",
            hint="Correct it first; a correction that changes nothing says that a person has looked.",
            pointer=at,
        )
    result = result_of(connection, stored)
    if result is None:
        hint = f"Watch /v1/jobs/{stored.job_id}."
        raise Conflict(f"The files of {stored.id} are not written yet.", code="not_ready", hint=hint, pointer=at)
    card = models.get_model(connection, stored.payload.model).card
    return CorrectedMask(stored.id, stored.payload, result, tuple(card.classes))
