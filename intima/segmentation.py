"""Use case: slide + model -> mask, uncertainty, measures, artefacts."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import onnxruntime

from intima import __version__
from intima.arrays import Json, RgbImage
from intima.contracts.dataset import label_schema
from intima.contracts.model import ModelCard, ModelVersion, Precision, ProviderName
from intima.contracts.segmentation import (
    SegmentationRequest,
    SegmentationResult,
    SegmentPayload,
    UncertaintySpec,
    UncertaintySummary,
    VesselMeasures,
)
from intima.costs import tile_grid
from intima.formats import ResultArrays
from intima.formats.writing import write_artefacts
from intima.framing import Frame, plan_frame
from intima.geometry import Region
from intima.inference import LoadedModel, load_model, sample_passes
from intima.labels import LabelSchema
from intima.maps import SlideMaps, map_slide
from intima.morphometry import class_areas, measure_vessels
from intima.prediction_intervals import with_evidence
from intima.ranges import Passes, with_ranges
from intima.registry import member_files
from intima.review import expected_dice, expected_foreground_dice, judge, temperature_of
from intima.serving_tiles import require_narrow, serving_tiles
from intima.slides import Slide, open_slide, read_resampled, read_working
from intima.slides.pixel_size import standing_warnings
from intima.store.catalog import StoredSlide, segmentation_parameters
from intima.store.keys import segmentation_id
from intima.store.scratch import Scratch
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.tiling import Work, predict_blocks
from intima.tissue import NearTissue, near_tissue, tissue_mask
from intima.uncertainty import Pass, SamplerName, plan_passes

MAX_THUMBNAIL_PX = 1024
TISSUE_MARGIN_PX = 64
"""Working pixels round tissue that are analysed too."""
_MOST_THREADS = 2
FEW_WORKING_PX = 64


def plan_segmentation(
    slide: StoredSlide,
    model: ModelVersion,
    request: SegmentationRequest,
    *,
    provider: ProviderName = "cpu",
    fallback: bool = False,
) -> SegmentPayload:
    """Check a request against slide and model, and name its result.

    ``provider`` is where the deployment runs models; ``fallback`` lets the CPU stand in for it.

    Raises:
        Invalid: no pixel size where the model needs one or one far too coarse, an impossible sampler, a region outside
            the slide, a number format the model is not published in.
    """
    frame = plan_frame(slide.info, card=model.card, mpp=slide.mpp, region=request.region)
    precision: Precision = "fp32" if request.precision == "auto" else request.precision
    member_files(model.card, precision)
    sampler, passes = passes_of(model.card, request.uncertainty)
    require_narrow(frame.working_slide.width, model.card, passes=len(passes))
    bare = SegmentPayload(
        segmentation="",
        slide=slide.id,
        slide_sha256=slide.sha256,
        slide_name=slide.name,
        subject=slide.subject,
        mpp=slide.mpp,
        model=model.ref,
        region=request.region,
        uncertainty=request.uncertainty.model_copy(update={"sampler": sampler, "passes": len(passes)}),
        precision=precision,
        background=request.background,
        provider=provider,
        provider_fallback=fallback,
    )
    parameters = segmentation_parameters(bare)
    identity = segmentation_id(slide_sha256=slide.sha256, model=model.ref, parameters=parameters)
    return bare.model_copy(update={"segmentation": identity})


def passes_of(card: ModelCard, spec: UncertaintySpec) -> tuple[SamplerName, tuple[Pass, ...]]:
    """Return the sampler that a model is really sampled by, and its passes. Raises Invalid."""
    return plan_passes(spec, members=len(card.members), dropout_rate=card.dropout_rate)


def run_segment(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Do a "segment" unit: the slide is opened in this process, which is a child made for it."""
    payload = SegmentPayload.model_validate(unit.payload)
    report(0.0, "opening the slide")
    slide = open_slide(storage.blobs.path(payload.slide_sha256), name=payload.slide_name)
    try:
        model = load_model(
            storage,
            payload.model,
            precision=payload.precision,
            provider=payload.provider,
            fallback=payload.provider_fallback,
        )
        result = segment_slide(slide, storage, payload=payload, model=model, report=report)
    finally:
        slide.close()
    return result.model_dump(mode="json", by_alias=True)


def segment_slide(
    slide: Slide, storage: Storage, *, payload: SegmentPayload, model: LoadedModel, report: Report
) -> SegmentationResult:
    """Segment a slide, measure it and store its artefacts.

    What is as large as the slide stays on the disk of the store until it is written into artefacts.

    Raises:
        Invalid: no pixel size where the model needs one, a region outside the slide, an unsupported sampler.
        StorageFull: no room for intermediate images or artefacts.
    """
    frame = plan_frame(slide.info, card=model.card, mpp=payload.mpp, region=payload.region)
    with storage.scratch() as scratch:
        return _segment(slide, storage, payload=payload, model=model, frame=frame, scratch=scratch, report=report)


def _segment(
    slide: Slide,
    storage: Storage,
    *,
    payload: SegmentPayload,
    model: LoadedModel,
    frame: Frame,
    scratch: Scratch,
    report: Report,
) -> SegmentationResult:
    timings = _Timings()
    schema = label_schema(model.card.classes)
    sampler, passes = passes_of(model.card, payload.uncertainty)
    whole = Region(0, 0, slide.size.width, slide.size.height)
    small = read_small(slide, frame.region)
    near = None
    if payload.background == "skip":
        overview = small if frame.region == whole else read_small(slide, whole)
        near = near_tissue(overview, size=frame.working_slide, margin_px=TISSUE_MARGIN_PX)
    maps = _maps(
        slide, frame=frame, near=near, model=model, passes=passes, payload=payload, scratch=scratch, report=report
    )
    timings.mark("inference")
    report(0.85, "measuring")
    vessels = _vessels(maps, frame=frame, schema=schema, sampled=len(passes) > 1 and sampler != "none")
    vessels, basis = with_evidence(vessels, model.card.evidence, sampler=sampler)
    areas = class_areas(maps.mask, schema=schema, mpp=frame.mpp)
    timings.mark("measures")
    report(0.9, "writing artefacts")
    summary = _summary(maps, sampler=sampler, passes=len(passes), card=model.card)
    bare = SegmentationResult(
        width=frame.native.width,
        height=frame.native.height,
        mpp=None if frame.mpp is None else frame.mpp.mean,
        origin="full",
        region=payload.region,
        areas=areas,
        vessels=vessels,
        interval_basis=basis,
        uncertainty=None if sampler == "none" else summary,
        artefacts=(),
        timings_s={},
        provenance=_provenance(payload, model=model, frame=frame, sampler=sampler, passes=len(passes), near=near),
        warnings=(
            *standing_warnings(slide.info.warnings, mpp=payload.mpp),
            *_warnings(small, frame=frame, card=model.card, sampler=sampler),
        ),
    )
    images = _images(maps, thumbnail=small, frame=frame, schema=schema, scratch=scratch)
    written = write_artefacts(bare, images=images, storage=storage, report=report)
    timings.mark("artefacts")
    return written.model_copy(update={"timings_s": timings.seconds})


def _share(near: NearTissue | None) -> float:
    """Return how much of the slide was looked at."""
    return 1.0 if near is None else round(float(near.mask.mean()), 4)


def _maps(
    slide: Slide,
    *,
    frame: Frame,
    near: NearTissue | None,
    model: LoadedModel,
    passes: Sequence[Pass],
    payload: SegmentPayload,
    scratch: Scratch,
    report: Report,
) -> SlideMaps:
    threads, tiles = threads_for_slides(), serving_tiles(model.card)
    blocks = predict_blocks(
        lambda region: read_working(slide, region, scale=frame.scale),
        size=frame.working_slide,
        predict=sample_passes(model.nets, passes, seed=payload.uncertainty.seed),
        tile_px=tiles.tile_px,
        halo_px=tiles.halo_px,
        even=tiles.even,
        wanted=_wanted(frame, near),
        work=Work(batch=1, threads=threads),
    )
    return map_slide(
        blocks,
        frame=frame,
        near=near,
        passes=len(passes),
        classes=len(model.card.classes),
        scratch=scratch,
        temperature=temperature_of(model.card.evidence),
        report=lambda share: report(0.05 + 0.8 * share, f"{share:.0%} of the slide"),
    )


def _wanted(frame: Frame, near: NearTissue | None) -> Callable[[Region], bool]:
    """Return what tells whether a tile is run."""
    window = frame.window
    return lambda tile: tile.overlaps(window) and (near is None or near.touches(tile))


class _Timings:
    """Seconds by stage, for the user; no part of the result's identity."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 3)
        self._last = now


def _vessels(maps: SlideMaps, *, frame: Frame, schema: LabelSchema, sampled: bool) -> tuple[VesselMeasures, ...]:
    native = measure_vessels(maps.mask, schema=schema, mpp=frame.mpp)
    if not sampled:
        return native
    window = frame.window
    passes = Passes(
        mean_mask=maps.working_mask,
        labels=maps.pass_labels,
        schema=schema,
        mpp=frame.working_mpp,
        scale_x=frame.scale_x,
        scale_y=frame.scale_y,
        corner_x=frame.region.x * frame.scale_x - window.x,
        corner_y=frame.region.y * frame.scale_y - window.y,
    )
    return tuple(with_ranges(vessel, passes) for vessel in native)


def _summary(maps: SlideMaps, *, sampler: str, passes: int, card: ModelCard) -> UncertaintySummary:
    dice = expected_foreground_dice(maps.overlap)
    review, reason = judge(dice, card.evidence)
    by_class = zip(label_schema(card.classes).foreground, expected_dice(maps.overlap), strict=True)
    return UncertaintySummary(
        sampler=sampler,
        passes=passes,
        mean_entropy=maps.mean_entropy,
        mean_disagreement=maps.mean_disagreement,
        pairwise_dice=maps.pairwise_dice,
        calibration=card.calibration,
        temperature=temperature_of(card.evidence),
        expected_foreground_dice=dice,
        expected_dice={c.name: value for c, value in by_class},
        review=review,
        review_reason=reason,
    )


def _provenance(
    payload: SegmentPayload,
    *,
    model: LoadedModel,
    frame: Frame,
    sampler: str,
    passes: int,
    near: NearTissue | None,
) -> dict[str, object]:
    tiles, window = serving_tiles(model.card), frame.window
    grid = tile_grid(frame, model.card)
    return {
        "slide_sha256": payload.slide_sha256,
        "slide_name": payload.slide_name,
        "subject": payload.subject,
        "model": payload.model,
        "precision": model.precision,
        "member_sha256": [m.sha256 for m in model.card.files(model.precision)],
        "synthetic_training_data": model.card.synthetic,
        "mpp_source": "given" if payload.mpp is not None else ("file" if frame.mpp is not None else "none"),
        "working_scale": frame.scale,
        "working_width": window.width,
        "working_height": window.height,
        "working_x": window.x,
        "working_y": window.y,
        "background": payload.background,
        "looked_at": _share(near),
        "tiles": sum(map(_wanted(frame, near), chain.from_iterable(grid.rows()))),
        "tile_width": grid.tile.width,
        "tile_height": grid.tile.height,
        "tile_px": tiles.tile_px,
        "halo_px": tiles.halo_px,
        "sampler": sampler,
        "passes": passes,
        "temperature": temperature_of(model.card.evidence),
        "seed": payload.uncertainty.seed,
        "provider": model.provider,
        "provider_asked": payload.provider,
        "onnxruntime": onnxruntime.__version__,
        "intima": __version__,
    }


def _warnings(small: RgbImage, *, frame: Frame, card: ModelCard, sampler: SamplerName) -> Iterator[str]:
    if sampler == "mc_dropout":
        yield "Draws of dropout differ in the head only: look for errors in the entropy, not the disagreement."
    if card.synthetic:
        yield "The model was trained on synthetic phantoms only: do not report its numbers on real tissue."
    window = frame.window
    if min(window.width, window.height) < FEW_WORKING_PX:
        yield f"Only {window.width} x {window.height} pixels at the model's resolution: check mpp."
    if frame.mpp is None:
        yield "No pixel size: areas are in pixels, ratios have no unit."
    if not tissue_mask(small).any():
        yield "No tissue was found in the analysed region."


def read_small(slide: Slide, region: Region) -> RgbImage:
    """Return a region with at most 1024 pixels on its long side."""
    size = region.size.scaled(min(1.0, MAX_THUMBNAIL_PX / max(region.width, region.height)))
    return read_resampled(slide, Region(0, 0, size.width, size.height), frame=region, working=size)


def threads_for_slides() -> int:
    """Return how many calls of a net run at a time on a slide; more would take memory that others need."""
    return min(_MOST_THREADS, len(os.sched_getaffinity(0)))


def _images(
    maps: SlideMaps, *, thumbnail: RgbImage, frame: Frame, schema: LabelSchema, scratch: Scratch
) -> ResultArrays:
    return ResultArrays(
        mask=maps.mask,
        entropy=maps.entropy,
        disagreement=maps.disagreement,
        thumbnail=thumbnail,
        schema=schema,
        mpp=frame.mpp,
        working_mpp=frame.working_mpp,
        origin=(frame.region.x, frame.region.y),
        scratch=scratch,
    )
