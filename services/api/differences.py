"""Two segmentations that can be laid over each other, and how far they agree."""

import hashlib
from dataclasses import dataclass

from pydantic import ValidationError

from intima.contracts.difference import Difference
from intima.contracts.segmentation import SegmentationResult
from intima.errors import Conflict, Invalid, NotFound
from intima.formats.differences import (
    class_agreement,
    class_pairs,
    count_pairs,
    kinds_of_difference,
    mean_foreground_dice,
)
from intima.slides.layers import open_layer
from intima.store.storage import Storage
from services.api.counting import GoOn
from services.api.dependencies import State
from services.api.results import SegmentationView, read_segmentation

_MASK = "mask.ome.tiff"
_MADE_AS = "difference 1"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two finished segmentations of one slide, region and set of classes."""

    a: str
    b: str
    slide: str
    result_a: SegmentationResult
    result_b: SegmentationResult

    @property
    def masks(self) -> tuple[str, str]:
        """SHA-256 of both mask pyramids."""
        return _mask(self.result_a), _mask(self.result_b)

    @property
    def etag(self) -> str:
        """Of all that is made of the two masks."""
        return "-".join(self.masks)

    @property
    def key(self) -> str:
        """Of how far they agree, in the cache."""
        return hashlib.sha256(f"{_MADE_AS} {self.a} {self.b} {self.etag}".encode()).hexdigest()


def find_pair(state: State, a: str, b: str) -> Pair:
    """Return two segmentations that can be compared pixel by pixel.

    Raises:
        NotFound: there is no such segmentation.
        Conflict: "not_ready" where one has no result yet.
        Invalid: they are of different slides, regions or classes.
    """
    first, second = read_segmentation(state, a), read_segmentation(state, b)
    pair = Pair(a, b, first.slide, _result(first), _result(second))
    if first.slide != second.slide:
        raise _incomparable("slides_differ", f"{a} is of slide {first.slide} and {b} of {second.slide}")
    if _frame(pair.result_a) != _frame(pair.result_b):
        raise _incomparable("regions_differ", f"{a} is of {_words(pair.result_a)} and {b} of {_words(pair.result_b)}")
    if _names(pair.result_a) != _names(pair.result_b):
        raise _incomparable("classes_differ", f"the classes are {_names(pair.result_a)} and {_names(pair.result_b)}")
    return pair


def kept_difference(storage: Storage, pair: Pair) -> Difference | None:
    """Return how far a pair agrees where the cache has it."""
    kept = storage.cache.read(pair.key)
    try:
        return None if kept is None else Difference.model_validate_json(kept)
    except ValidationError:
        return None


def count_difference(storage: Storage, pair: Pair, go_on: GoOn) -> Difference:
    """Return how far a pair agrees, counted and then kept in the cache. Raises what ``go_on`` raises."""
    made = _counted(storage, pair, go_on)
    storage.cache.write(pair.key, made.model_dump_json().encode())
    return made


def _counted(storage: Storage, pair: Pair, go_on: GoOn) -> Difference:
    names = _names(pair.result_a)
    mask_a, mask_b = pair.masks
    with open_layer(storage.blobs.path(mask_a)) as a, open_layer(storage.blobs.path(mask_b)) as b:
        counts = count_pairs(a, b, len(names), go_on=go_on)
    mpp = pair.result_a.mpp if pair.result_a.mpp == pair.result_b.mpp else None
    pixel_um2 = None if mpp is None else mpp * mpp
    classes = class_agreement(counts, names, pixel_um2)
    agreeing = int(counts.trace())
    return Difference(
        a=pair.a,
        b=pair.b,
        slide=pair.slide,
        region=pair.result_a.region,
        width=pair.result_a.width,
        height=pair.result_a.height,
        mpp=mpp,
        pixels=int(counts.sum()),
        agreeing_pixels=agreeing,
        agreeing_share=agreeing / int(counts.sum()),
        mean_foreground_dice=mean_foreground_dice(classes),
        classes=tuple(classes),
        pairs=tuple(class_pairs(counts, names, pixel_um2)),
        kinds=tuple(kinds_of_difference(counts, pixel_um2)),
    )


def _result(view: SegmentationView) -> SegmentationResult:
    if view.result is None:
        raise Conflict(f"{view.id} has no result yet.", code="not_ready", hint=f"Watch /v1/jobs/{view.job}.")
    return view.result


def _mask(result: SegmentationResult) -> str:
    found = next((a.sha256 for a in result.artefacts if a.name == _MASK), None)
    if found is None:
        raise NotFound(f"One of both has no {_MASK}.", hint="Segment the slide again.")
    return found


def _frame(result: SegmentationResult) -> tuple[object, ...]:
    return result.region, result.width, result.height, result.origin


def _words(result: SegmentationResult) -> str:
    where = result.region
    return "the whole slide" if where is None else f"{where.width} x {where.height} pixels at {where.x}, {where.y}"


def _names(result: SegmentationResult) -> tuple[str, ...]:
    return tuple(area.name for area in result.areas)


def _incomparable(code: str, found: str) -> Invalid:
    return Invalid(
        f"These two cannot be compared pixel by pixel: {found}.",
        code=code,
        hint="Choose two segmentations of one slide and region, by models with the same classes.",
    )
