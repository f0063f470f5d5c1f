"""What a correction is drawn on, and an image of class indices that a person has painted on it."""

from dataclasses import dataclass
from pathlib import Path

from intima.arrays import LabelMask
from intima.contracts.dataset import label_schema
from intima.contracts.model import ModelCard
from intima.contracts.segmentation import SegmentPayload, SlideInfo
from intima.errors import Invalid
from intima.framing import Frame, plan_frame
from intima.geometry import Size
from intima.labels import LabelSchema
from intima.slides.isolation import decode_mask_isolated

MOST_WORKING_PX = 2**25
"""Of a working image that is painted on."""
_PNG_HEAD_BYTES = 26


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is corrected: a mask and how it lies on its slide."""

    frame: Frame
    schema: LabelSchema
    info: SlideInfo
    mask_sha256: str
    """Its mask.ome.tiff."""


def canvas_of(info: SlideInfo, payload: SegmentPayload, card: ModelCard, *, mask_sha256: str) -> Canvas:
    """Return what a version of a mask is corrected on."""
    frame = plan_frame(info, card=card, mpp=payload.mpp, region=payload.region)
    return Canvas(frame, label_schema(card.classes), info, mask_sha256)


def read_labels(path: Path, canvas: Canvas) -> LabelMask:
    """Return a painted image. Raises Invalid."""
    refuse_large(canvas.frame)
    window = canvas.frame.window
    with path.open("rb") as file:
        head = file.read(_PNG_HEAD_BYTES)
    if len(head) < _PNG_HEAD_BYTES or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise _bad_image("a body that is no PNG")
    size = Size(max(1, int.from_bytes(head[16:20])), max(1, int.from_bytes(head[20:24])))
    if size != window.size:
        raise _bad_image(
            f"{size.width} x {size.height} pixels where the working image has {window.width} x {window.height}"
        )
    if head[24] != 8 or head[25] not in {0, 3}:
        raise _bad_image(f"a PNG of {head[24]} bits and colour type {head[25]}")
    try:
        labels = decode_mask_isolated(path, name="mask", max_pixels=MOST_WORKING_PX)
    except Invalid as error:
        raise Invalid(error.message, code=error.code, hint=error.hint, pointer="/mask") from error
    if labels.shape != (window.height, window.width):
        raise _bad_image(f"an image that is turned to {labels.shape[1]} x {labels.shape[0]} pixels")
    largest = int(labels.max())
    if largest >= len(canvas.schema):
        known = ", ".join(f"{c.index} {c.name}" for c in canvas.schema.classes)
        raise Invalid(
            f"The mask holds value {largest}; the classes are {known}.", code="unknown_class", pointer="/mask"
        )
    return labels


def _bad_image(found: str) -> Invalid:
    return Invalid(
        f"Got {found}.",
        code="bad_mask",
        hint="Send an 8-bit grey or palette PNG of class indices, of the size of "
        "/v1/segmentations/{id}/working_mask.png.",
        pointer="/mask",
    )


def refuse_large(frame: Frame) -> None:
    """Raise Invalid where a working image has too many pixels for an editor."""
    window = frame.window
    if window.size.pixels > MOST_WORKING_PX:
        raise Invalid(
            f"The working image has {window.width} x {window.height} pixels; at most {MOST_WORKING_PX} are painted on.",
            code="image_too_large",
            hint="Send polygons (GeoJSON), or segment a region of the slide and correct that.",
            pointer="/mask",
        )
