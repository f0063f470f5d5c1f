"""Use case: a mask that a person has corrected -> its measures at once, and its files as those of a segmentation.

A correction is the whole mask anew. Polygons are painted at the slide's own resolution and are all there is; a painted
image is at the model's working resolution, and where it was not touched the mask stays that of its base
(``intima.edits``). Nobody's interval holds for a mask that a person has drawn, so none is stated.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from intima import __version__
from intima.annotations import Annotations, read_annotations
from intima.arrays import Json, LabelMask
from intima.canvas import MOST_WORKING_PX, Canvas, canvas_of, read_labels, refuse_large
from intima.contracts.correction import CorrectionPreview, MaskMeasures, Overlap, VesselPair
from intima.contracts.model import ModelCard
from intima.contracts.segmentation import Artefact, SegmentationResult, SegmentPayload
from intima.edits import edited_mask, working_labels
from intima.errors import Invalid
from intima.formats import ResultArrays
from intima.formats.png import mask_png
from intima.formats.writing import write_artefacts
from intima.framing import Frame
from intima.geometry import MicronsPerPixel
from intima.labels import LabelSchema
from intima.matching import SAME_VESSEL, match_vessels
from intima.morphometry import class_areas, measure_vessels
from intima.polygons import Painting, Shape, TooIntricate, paint
from intima.rasters import HeldRaster, LabelRaster, as_raster, read_blocks, read_whole
from intima.segmentation import read_small
from intima.slides import Slide, open_slide, read_working
from intima.slides.layers import LayerRaster, open_layer
from intima.slides.pixel_size import standing_warnings
from intima.store.models import get_model
from intima.store.scratch import Scratch, ScratchRaster
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.tissue import tissue_mask

MOST_NATIVE_PX = 2**22
"""Of the analysed area, for a preview to measure it at the slide's own resolution."""
WORKING_IMAGE, WORKING_MASK = "working_image.png", "working_mask.png"
BASIS = "none: a person has corrected the mask"


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a person has sent: polygons, or an image of class indices."""

    annotations: Annotations | None
    labels: LabelMask | None


def read_drawn(path: Path, canvas: Canvas, *, source: str, origin: str | None = None) -> Drawn:
    """Read what a person has sent, and refuse what cannot be a mask of this slide.

    Args:
        path: the file.
        canvas: what it is for.
        source: "geojson" or "mask".
        origin: what coordinates of polygons count from; None: what the file says.

    Raises:
        Invalid: see ``intima.annotations``; or no PNG of 8-bit class indices of the working size.
    """
    if source == "mask":
        return Drawn(None, read_labels(path, canvas))
    slide, bounds = canvas.frame.slide, canvas.info.bounds
    found = read_annotations(path.read_bytes(), schema=canvas.schema, slide=slide, bounds=bounds, origin=origin)
    with _painting():
        _native_painting(found, canvas.frame)
    return Drawn(found, None)


def preview_correction(
    storage: Storage, canvas: Canvas, drawn: Drawn, *, base: str, known: SegmentationResult
) -> CorrectionPreview:
    """Return what a correction measures beside its base; nothing is stored.

    ``known`` is the result of the base: what was measured at native resolution is not measured again.

    Raises:
        Invalid: polygons that are too intricate.
        NotFound: the mask of the base is gone.
    """
    frame = canvas.frame
    native = frame.native.pixels <= MOST_NATIVE_PX
    with _open_mask(storage, canvas.mask_sha256) as mask, _painting():
        before = read_whole(mask) if native else working_labels(mask, frame)
        after, painting = _after(drawn, canvas, before=before, native=native)
    mpp = frame.mpp if native else frame.working_mpp
    measured = (
        _known(known) if native else _measures(before, canvas.schema, mpp),
        _measures(after, canvas.schema, mpp),
    )
    changed = int(np.count_nonzero(before != after))
    return CorrectionPreview(
        base=base,
        measured_at="native" if native else "working",
        width=after.shape[1],
        height=after.shape[0],
        mpp=None if mpp is None else mpp.mean,
        before=measured[0],
        after=measured[1],
        pairs=_pairs(*measured),
        changed_px=changed,
        needs_class=() if drawn.annotations is None else drawn.annotations.needs_class,
        overlaps=_overlaps(painting, canvas.schema),
        warnings=tuple(_warnings(drawn, painting, canvas.schema, changed=changed)),
    )


def working_mask_png(storage: Storage, canvas: Canvas) -> bytes:
    """Return a version as PNG of class indices at the model's working resolution: what an editor paints on.

    Raises:
        Invalid: it has too many pixels for an editor.
        NotFound: the mask is gone.
    """
    refuse_large(canvas.frame)
    with _open_mask(storage, canvas.mask_sha256) as mask:
        return mask_png(working_labels(mask, canvas.frame), schema=canvas.schema)


def run_correct(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Do a "correct" unit: the slide is opened in this process, which is a child made for it."""
    payload = SegmentPayload.model_validate(unit.payload)
    correction = payload.correction
    assert correction is not None, "a unit of another kind"
    report(0.0, "opening the slide")
    slide = open_slide(storage.blobs.path(payload.slide_sha256), name=payload.slide_name)
    try:
        with storage.reading() as connection:
            card = get_model(connection, payload.model).card
        canvas = canvas_of(slide.info, payload, card, mask_sha256=correction.base_mask_sha256)
        body = storage.blobs.path(correction.correction_sha256)
        drawn = read_drawn(body, canvas, source=correction.source, origin=correction.origin)
        with storage.scratch() as scratch, _painting():
            result = _corrected(
                slide, storage, payload=payload, card=card, canvas=canvas, drawn=drawn, scratch=scratch, report=report
            )
    finally:
        slide.close()
    return result.model_dump(mode="json", by_alias=True)


def _corrected(
    slide: Slide,
    storage: Storage,
    *,
    payload: SegmentPayload,
    card: ModelCard,
    canvas: Canvas,
    drawn: Drawn,
    scratch: Scratch,
    report: Report,
) -> SegmentationResult:
    frame, schema = canvas.frame, canvas.schema
    report(0.1, "painting")
    mask, changed, painting = _write_mask(storage, canvas, drawn, scratch)
    report(0.5, "measuring")
    small = read_small(slide, frame.region)
    warnings = list(_warnings(drawn, painting, schema, changed=changed))
    bare = SegmentationResult(
        width=frame.native.width,
        height=frame.native.height,
        mpp=None if frame.mpp is None else frame.mpp.mean,
        origin="full",
        region=payload.region,
        areas=class_areas(mask, schema=schema, mpp=frame.mpp),
        vessels=measure_vessels(mask, schema=schema, mpp=frame.mpp),
        interval_basis=BASIS,
        uncertainty=None,
        artefacts=(),
        timings_s={},
        provenance=_provenance(payload, card=card, frame=frame, changed=changed),
        warnings=(
            *standing_warnings(slide.info.warnings, mpp=payload.mpp),
            *warnings,
            *_of_slide(frame, has_tissue=bool(tissue_mask(small).any())),
        ),
    )
    nothing = HeldRaster(np.zeros((1, 1), np.float32))
    images = ResultArrays(
        mask=mask,
        entropy=nothing,
        disagreement=nothing,
        thumbnail=small,
        schema=schema,
        mpp=frame.mpp,
        working_mpp=frame.working_mpp,
        origin=(frame.region.x, frame.region.y),
        scratch=scratch,
    )
    written = write_artefacts(bare, images=images, storage=storage, report=report)
    return _with_working_pair(written, slide, storage, mask=mask, canvas=canvas)


def _write_mask(
    storage: Storage, canvas: Canvas, drawn: Drawn, scratch: Scratch
) -> tuple[LabelRaster, int, Painting | None]:
    """Return the corrected mask, how many pixels have another class than in the base, and the polygons."""
    shape = (canvas.frame.native.height, canvas.frame.native.width)
    base: ScratchRaster[np.uint8] = scratch.raster(shape, np.uint8)
    mask: ScratchRaster[np.uint8] = scratch.raster(shape, np.uint8)
    with _open_mask(storage, canvas.mask_sha256) as stored:
        for top, rows in read_blocks(stored, multiple=256):
            base.write(top, 0, rows)
    changed, every = 0, slice(0, shape[1])
    rows_of, painting = _native_rows(drawn, canvas, base=base)
    for top, rows in rows_of:
        mask.write(top, 0, rows)
        changed += int(np.count_nonzero(rows != base.read(slice(top, top + len(rows)), every)))
    return mask, changed, painting


def _after(drawn: Drawn, canvas: Canvas, *, before: LabelMask, native: bool) -> tuple[LabelMask, Painting | None]:
    """Return the corrected mask at the resolution of ``before``."""
    if native:
        rows, painting = _native_rows(drawn, canvas, base=as_raster(before))
    elif drawn.labels is not None:
        return drawn.labels, None
    else:
        assert drawn.annotations is not None, "nothing was drawn"
        painting = _working_painting(drawn.annotations, canvas.frame)
        rows = painting.rows()
    return np.concatenate([part for _, part in rows]), painting


def _native_rows(
    drawn: Drawn, canvas: Canvas, *, base: LabelRaster
) -> tuple[Iterator[tuple[int, LabelMask]], Painting | None]:
    frame = canvas.frame
    if drawn.labels is not None:
        before = working_labels(base, frame)
        return edited_mask(base, before=before, after=drawn.labels, frame=frame, classes=len(canvas.schema)), None
    assert drawn.annotations is not None, "nothing was drawn"
    painting = _native_painting(drawn.annotations, frame)
    return painting.rows(), painting


def _native_painting(found: Annotations, frame: Frame) -> Painting:
    corner = np.array([frame.region.x, frame.region.y], np.float64)
    moved = [Shape(s.value, tuple(ring - corner for ring in s.rings)) for s in found.shapes]
    return paint(moved, frame.native)


def _working_painting(found: Annotations, frame: Frame) -> Painting:
    scale = np.array([frame.scale_x, frame.scale_y])
    corner = np.array([frame.window.x, frame.window.y], np.float64)
    moved = [Shape(s.value, tuple(ring * scale - corner for ring in s.rings)) for s in found.shapes]
    return paint(moved, frame.window.size)


@contextmanager
def _painting() -> Iterator[None]:
    """Say plainly that polygons are too intricate. Raises Invalid."""
    try:
        yield
    except TooIntricate as error:
        raise Invalid(
            f"The shapes are too intricate: {error}.",
            code="too_intricate",
            hint="Simplify the outlines, or remove shapes that lie over each other.",
            pointer="/features",
        ) from error


@contextmanager
def _open_mask(storage: Storage, sha256: str) -> Iterator[LabelRaster]:
    with open_layer(storage.blobs.path(sha256)) as layer:
        yield LayerRaster(layer)


def _measures(mask: LabelMask, schema: LabelSchema, mpp: MicronsPerPixel | None) -> MaskMeasures:
    return MaskMeasures(
        areas=class_areas(mask, schema=schema, mpp=mpp), vessels=measure_vessels(mask, schema=schema, mpp=mpp)
    )


def _known(result: SegmentationResult) -> MaskMeasures:
    """Return what a stored mask measures, without the intervals of the model that made it."""
    bare = {"interval": None, "pass_sd": None}
    vessels = (
        v.model_copy(update={"measures": tuple(m.model_copy(update=bare) for m in v.measures)}) for v in result.vessels
    )
    return MaskMeasures(areas=result.areas, vessels=tuple(vessels))


def _pairs(before: MaskMeasures, after: MaskMeasures) -> tuple[VesselPair, ...]:
    """Return which vessel is which; those that are new come last."""
    matched = match_vessels(before.vessels, after.vessels, least=SAME_VESSEL)
    pairs = [VesselPair(before=b.vessel, after=None if a is None else a.vessel) for b, a in matched]
    new = {v.vessel for v in after.vessels} - {p.after for p in pairs}
    return (*pairs, *(VesselPair(before=None, after=number) for number in sorted(new)))


def _overlaps(painting: Painting | None, schema: LabelSchema) -> tuple[Overlap, ...]:
    hidden = {} if painting is None else painting.hidden
    names = schema.names
    return tuple(Overlap(below=names[b], on_top=names[t], pixels=n) for (b, t), n in hidden.items())


def _warnings(drawn: Drawn, painting: Painting | None, schema: LabelSchema, *, changed: int) -> Iterator[str]:
    if drawn.annotations is not None:
        yield from drawn.annotations.warnings
        for overlap in _overlaps(painting, schema):
            yield (
                f"{overlap.pixels} px lie in shapes of {overlap.below} and of {overlap.on_top}: they are "
                f"{overlap.on_top}, the smaller shape."
            )
    if changed == 0:
        yield "Nothing differs from the version that was corrected."


def _of_slide(frame: Frame, *, has_tissue: bool) -> Iterator[str]:
    if frame.mpp is None:
        yield "No pixel size: areas are in pixels, ratios have no unit."
    if not has_tissue:
        yield "No tissue was found in the analysed region."


def _provenance(payload: SegmentPayload, *, card: ModelCard, frame: Frame, changed: int) -> dict[str, object]:
    window, mpp = frame.window, frame.working_mpp
    assert payload.correction is not None, "no correction"
    return {
        "slide_sha256": payload.slide_sha256,
        "slide_name": payload.slide_name,
        "subject": payload.subject,
        "model": payload.model,
        "synthetic_training_data": card.synthetic,
        "mpp_source": "given" if payload.mpp is not None else ("file" if frame.mpp is not None else "none"),
        "working_scale": frame.scale,
        "working_width": window.width,
        "working_height": window.height,
        "working_x": window.x,
        "working_y": window.y,
        "working_mpp": None if mpp is None else mpp.mean,
        "correction": payload.correction.model_dump(mode="json"),
        "changed_px": changed,
        "intima": __version__,
    }


def _with_working_pair(
    result: SegmentationResult, slide: Slide, storage: Storage, *, mask: LabelRaster, canvas: Canvas
) -> SegmentationResult:
    """Return the result with the image and the mask at working resolution: a case of a dataset, where not too large."""
    frame = canvas.frame
    if frame.window.size.pixels > MOST_WORKING_PX:
        note = f"There is no {WORKING_IMAGE}: the working image has more than {MOST_WORKING_PX} pixels."
        return result.model_copy(update={"warnings": (*result.warnings, note)})
    labels = mask_png(working_labels(mask, frame), schema=canvas.schema)

    def write_image(out: BinaryIO) -> None:
        Image.fromarray(read_working(slide, frame.window, scale=frame.scale)).save(out, "PNG")

    pair = {WORKING_IMAGE: storage.blobs.put_written(write_image), WORKING_MASK: storage.blobs.put(labels)}
    made = (Artefact(name=n, sha256=s, bytes=storage.blobs.size(s), media_type="image/png") for n, s in pair.items())
    return result.model_copy(update={"artefacts": (*result.artefacts, *made)})
