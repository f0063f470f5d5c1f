"""Use case: slide + model -> mask, uncertainty, measures, artefacts."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from intima import __version__
from intima.arrays import FloatMatrix, Json, LabelMask, RgbImage, UncertaintyMap
from intima.contracts.dataset import label_schema
from intima.contracts.model import ModelCard, ModelVersion, Precision
from intima.contracts.segmentation import (
    Artefact,
    RegionSpec,
    SegmentationRequest,
    SegmentationResult,
    SegmentPayload,
    SlideInfo,
    UncertaintySpec,
    UncertaintySummary,
    VesselMeasures,
)
from intima.errors import Invalid
from intima.formats import FORMATS, ResultArrays
from intima.geometry import MicronsPerPixel, Region, Size
from intima.inference import LoadedModel, load_model, sample_passes
from intima.labels import LabelSchema
from intima.morphometry import class_areas, measure_vessels
from intima.prediction_intervals import with_evidence
from intima.ranges import Passes, with_ranges
from intima.registry import member_files
from intima.review import expected_dice, expected_foreground_dice, judge, temperature_of
from intima.slides import Slide, open_slide, read_working
from intima.slides.memory import crop_slide
from intima.store.catalog import StoredSlide, segmentation_parameters
from intima.store.keys import segmentation_id
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.tiling import Read, Strip, label_strips, predict_tiled
from intima.tissue import tissue_mask
from intima.uncertainty import Pass, PassStatistics, SamplerName, pairwise_dice, plan_passes, summarise_passes

MAX_THUMBNAIL_PX = 1024
MAX_ENLARGEMENT = 3.0
"""Slides coarser than the model's pixel size by more than this are refused."""
FEW_WORKING_PX = 64
_LEAST = np.finfo(np.float32).tiny
"""A probability of 0 is taken for this one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """How native pixels of the analysed region map to the model's working pixels."""

    region: Region
    """Analysed part of the slide in level-0 pixels."""
    working: Size
    """The same part in working pixels."""
    scale: float
    """Working pixels per level-0 pixel."""
    mpp: MicronsPerPixel | None
    """Pixel size at level 0."""

    @property
    def work_px(self) -> int:
        """Working pixels of one pass."""
        return self.working.pixels

    @property
    def native(self) -> Size:
        """Size of the analysed part in level-0 pixels."""
        return self.region.size

    @property
    def working_mpp(self) -> MicronsPerPixel | None:
        """Pixel size of the working image."""
        if self.mpp is None:
            return None
        return MicronsPerPixel(
            self.mpp.x * self.native.width / self.working.width, self.mpp.y * self.native.height / self.working.height
        )


@dataclass(frozen=True, slots=True)
class SegmentedSlide:
    """Arrays of one segmentation."""

    mask: LabelMask
    """Native resolution, (height, width) of the region."""
    working_mask: LabelMask
    """Working resolution."""
    entropy: UncertaintyMap
    """Working resolution."""
    disagreement: UncertaintyMap
    """Working resolution."""
    pass_labels: NDArray[np.uint8]
    """(passes, height, width) at working resolution."""
    overlap: FloatMatrix
    """(classes, 3) what the calibrated mean expects of its own mask (``intima.review``)."""


def plan_segmentation(slide: StoredSlide, model: ModelVersion, request: SegmentationRequest) -> SegmentPayload:
    """Check a request against slide and model, and name its result.

    Raises:
        Invalid: no pixel size where the model needs one or one far too coarse, an impossible sampler, a region outside
            the slide, a number format the model is not published in.
    """
    plan_frame(slide.info, card=model.card, mpp=slide.mpp, region=request.region)
    precision: Precision = "fp32" if request.precision == "auto" else request.precision
    member_files(model.card, precision)
    sampler, passes = passes_of(model.card, request.uncertainty)
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
        model = load_model(storage, payload.model, precision=payload.precision)
        result = segment_slide(slide, storage, payload=payload, model=model, report=report)
    finally:
        slide.close()
    return result.model_dump(mode="json", by_alias=True)


def segment_slide(
    slide: Slide, storage: Storage, *, payload: SegmentPayload, model: LoadedModel, report: Report
) -> SegmentationResult:
    """Segment a slide, measure it and store its artefacts.

    Raises:
        Invalid: no pixel size where the model needs one, a region outside the slide, an unsupported sampler.
    """
    timings = _Timings()
    frame = plan_frame(slide.info, card=model.card, mpp=payload.mpp, region=payload.region)
    part = crop_slide(slide, frame.region)
    schema = label_schema(model.card.classes)
    sampler, passes = passes_of(model.card, payload.uncertainty)
    predict = sample_passes(model.nets, passes, seed=payload.uncertainty.seed)
    strips = predict_tiled(
        _reader(part, frame),
        size=frame.working,
        predict=predict,
        tile_px=model.card.tile_px,
        halo_px=model.card.halo_px,
    )
    temperature = temperature_of(model.card.evidence)
    arrays = collect_strips(strips, frame=frame, classes=len(schema), report=report, temperature=temperature)
    timings.mark("inference")
    report(0.85, "measuring")
    vessels = _vessels(arrays, frame=frame, schema=schema, sampled=len(passes) > 1 and sampler != "none")
    vessels, basis = with_evidence(vessels, model.card.evidence, sampler=sampler)
    areas = class_areas(arrays.mask, schema=schema, mpp=frame.mpp)
    timings.mark("measures")
    report(0.9, "writing artefacts")
    summary = _summary(arrays, sampler=sampler, passes=len(passes), card=model.card, classes=len(schema))
    provenance = _provenance(payload, model=model, frame=frame, sampler=sampler, passes=len(passes))
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
        provenance=provenance,
        warnings=(*slide.info.warnings, *_warnings(part, frame=frame, card=model.card, sampler=sampler)),
    )
    artefacts = tuple(_artefacts(bare, arrays=arrays, slide=part, frame=frame, schema=schema, storage=storage))
    timings.mark("artefacts")
    return bare.model_copy(update={"artefacts": artefacts, "timings_s": timings.seconds})


class _Timings:
    """Seconds by stage, for the user; no part of the result's identity."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 3)
        self._last = now


def plan_frame(info: SlideInfo, *, card: ModelCard, mpp: float | None, region: RegionSpec | None) -> Frame:
    """Decide region and working size.

    Raises:
        Invalid: the model works in µm and the slide has no pixel size or one far too coarse, or the region leaves
            the slide.
    """
    full = Size(info.width, info.height)
    area = Region(0, 0, full.width, full.height)
    if region is not None:
        area = Region(region.x, region.y, region.width, region.height)
    if not area.inside(full):
        raise Invalid(
            f"Got a region up to ({area.x + area.width}, {area.y + area.height}); "
            f"the slide is {full.width} x {full.height} px.",
            code="region_outside",
            hint="Give a region inside the slide, in level-0 pixels.",
            pointer="/region",
        )
    known = mpp if mpp is not None else info.mpp
    pixel = None if known is None else MicronsPerPixel(known, known)
    scale = working_scale(card, pixel)
    return Frame(region=area, working=area.size.scaled(scale), scale=scale, mpp=pixel)


def working_scale(card: ModelCard, mpp: MicronsPerPixel | None) -> float:
    """Return working pixels per level-0 pixel. Raises Invalid where the pixel size is missing or too coarse."""
    if card.mpp is None:
        return card.pixel_scale
    if mpp is None:
        raise Invalid(
            f"The slide states no pixel size, and model {card.name} works at {card.mpp:g} µm per pixel.",
            code="missing_pixel_size",
            hint="Give mpp, the side of one pixel in µm, when uploading the slide (form field mpp).",
            pointer="/mpp",
        )
    scale = mpp.mean / card.mpp
    if scale > MAX_ENLARGEMENT:
        raise Invalid(
            f"The slide has {mpp.mean:g} µm per pixel and model {card.name} works at {card.mpp:g}: it would have to be "
            f"enlarged {scale:.1f} times, and detail that was never scanned cannot be segmented.",
            code="too_coarse",
            hint=f"Check mpp, or scan finer than {MAX_ENLARGEMENT * card.mpp:g} µm per pixel.",
            pointer="/mpp",
        )
    return scale


def _reader(slide: Slide, frame: Frame) -> Read:
    """Read tiles of the analysed region in working pixels."""
    return lambda region: read_working(slide, region, scale=frame.scale)


def collect_strips(
    strips: Iterator[Strip], *, frame: Frame, classes: int, report: Report, temperature: float = 1.0
) -> SegmentedSlide:
    """Gather streamed strips of stacked passes into masks and maps.

    The logarithm of the mean probability is brought to the native size, as scoring does with logits.
    """
    height = frame.working.height
    statistics: list[PassStatistics] = []

    def mean_strips() -> Iterator[Strip]:
        for top, stacked in strips:
            done = summarise_passes(stacked, classes=classes, temperature=temperature)
            statistics.append(done)
            report(0.05 + 0.8 * (top + stacked.shape[1]) / height, f"row {top + stacked.shape[1]} of {height}")
            yield top, np.log(np.maximum(done.probabilities, _LEAST))

    labels = [rows for _, rows in label_strips(mean_strips(), working=frame.working, native=frame.native)]
    return SegmentedSlide(
        mask=np.concatenate(labels),
        working_mask=np.concatenate([s.probabilities.argmax(0).astype(np.uint8) for s in statistics]),
        entropy=np.concatenate([s.entropy for s in statistics]),
        disagreement=np.concatenate([s.disagreement for s in statistics]),
        pass_labels=np.concatenate([s.labels for s in statistics], axis=1),
        overlap=np.sum([s.overlap for s in statistics], axis=0),
    )


def _vessels(arrays: SegmentedSlide, *, frame: Frame, schema: LabelSchema, sampled: bool) -> tuple[VesselMeasures, ...]:
    native = measure_vessels(arrays.mask, schema=schema, mpp=frame.mpp)
    if not sampled:
        return native
    passes = Passes(
        mean_mask=arrays.working_mask,
        labels=arrays.pass_labels,
        schema=schema,
        mpp=frame.working_mpp,
        scale_x=frame.working.width / frame.native.width,
        scale_y=frame.working.height / frame.native.height,
    )
    return tuple(with_ranges(vessel, passes) for vessel in native)


def _summary(arrays: SegmentedSlide, *, sampler: str, passes: int, card: ModelCard, classes: int) -> UncertaintySummary:
    dice = expected_foreground_dice(arrays.overlap)
    review, reason = judge(dice, card.evidence)
    by_class = zip(label_schema(card.classes).foreground, expected_dice(arrays.overlap), strict=True)
    return UncertaintySummary(
        sampler=sampler,
        passes=passes,
        mean_entropy=float(arrays.entropy.mean()),
        mean_disagreement=float(arrays.disagreement.mean()),
        pairwise_dice=pairwise_dice(arrays.pass_labels, classes=classes),
        calibration=card.calibration,
        temperature=temperature_of(card.evidence),
        expected_foreground_dice=dice,
        expected_dice={c.name: value for c, value in by_class},
        review=review,
        review_reason=reason,
    )


def _provenance(
    payload: SegmentPayload, *, model: LoadedModel, frame: Frame, sampler: str, passes: int
) -> dict[str, object]:
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
        "working_width": frame.working.width,
        "working_height": frame.working.height,
        "tile_px": model.card.tile_px,
        "halo_px": model.card.halo_px,
        "sampler": sampler,
        "passes": passes,
        "temperature": temperature_of(model.card.evidence),
        "seed": payload.uncertainty.seed,
        "provider": model.provider,
        "onnxruntime": onnxruntime.__version__,
        "intima": __version__,
    }


def _warnings(slide: Slide, *, frame: Frame, card: ModelCard, sampler: SamplerName) -> Iterator[str]:
    if sampler == "mc_dropout":
        yield "Draws of dropout differ in the head only: look for errors in the entropy, not the disagreement."
    if card.synthetic:
        yield "The model was trained on synthetic phantoms only: do not report its numbers on real tissue."
    if min(frame.working.width, frame.working.height) < FEW_WORKING_PX:
        yield f"Only {frame.working.width} x {frame.working.height} pixels at the model's resolution: check mpp."
    if frame.mpp is None:
        yield "No pixel size: areas are in pixels, ratios have no unit."
    if not tissue_mask(thumbnail(slide, frame)).any():
        yield "No tissue was found in the analysed region."


def thumbnail(slide: Slide, frame: Frame) -> RgbImage:
    """Return the analysed region with at most 1024 pixels on its long side."""
    scale = min(1.0, MAX_THUMBNAIL_PX / max(frame.native.width, frame.native.height))
    size = frame.native.scaled(scale)
    return read_working(slide, Region(0, 0, size.width, size.height), scale=scale)


def _artefacts(
    result: SegmentationResult,
    *,
    arrays: SegmentedSlide,
    slide: Slide,
    frame: Frame,
    schema: LabelSchema,
    storage: Storage,
) -> Iterator[Artefact]:
    bundle = ResultArrays(
        mask=arrays.mask,
        entropy=arrays.entropy,
        disagreement=arrays.disagreement,
        thumbnail=thumbnail(slide, frame),
        schema=schema,
        mpp=frame.mpp,
        working_mpp=frame.working_mpp,
        origin=(frame.region.x, frame.region.y),
    )
    maps = {"entropy.ome.tiff", "disagreement.ome.tiff", "uncertainty.png"}
    for name, form in FORMATS.items():
        if result.uncertainty is None and name in maps:
            continue
        data = form.write(bundle, result)
        sha256 = storage.blobs.put(data)
        yield Artefact(name=name, sha256=sha256, bytes=len(data), media_type=form.media_type)
