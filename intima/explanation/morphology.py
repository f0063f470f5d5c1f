"""The morphology layer: measures, shapes, order and closure checks of the prediction against those of the truth."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from skimage import measure

from intima.arrays import BinaryMask, LabelMask
from intima.contracts.explanation import MeasurePair, MorphologyLayer, RegionShape, VesselPair
from intima.contracts.segmentation import VesselMeasures
from intima.geometry import MicronsPerPixel
from intima.labels import LUMEN, MEDIA, NEOINTIMA, LabelSchema
from intima.matching import match_vessels
from intima.morphometry import measure_vessels

NOT_ARTERIAL = "not arterial: the classes hold no lumen, neointima and media; areas and pieces per class only"
_SMALLEST_PX = 16
"""A piece below this has no shape."""


def explain_morphology(
    truth: LabelMask, predicted: LabelMask, *, schema: LabelSchema, mpp: float | None
) -> MorphologyLayer:
    """Measure truth and prediction the same way and set the numbers side by side.

    Each true vessel is paired with the predicted vessel whose bounding box overlaps its own most (intersection over
    union), largest true vessel first. A schema that is not arterial has areas and pieces of its classes only.

    Raises:
        Invalid: a mask that is not (height, width) or holds a value the schema does not know.
    """
    if not schema.is_arterial:
        shapes = [_region_shape(c.name, truth == c.index, predicted == c.index, mpp=mpp) for c in schema.foreground]
        return MorphologyLayer(
            arterial=False, note=NOT_ARTERIAL, vessels=(), invented_vessels=0, shapes=tuple(map(_area_only, shapes))
        )
    pixel = None if mpp is None else MicronsPerPixel(mpp, mpp)
    vessels, invented = _pair_vessels(
        measure_vessels(truth, schema=schema, mpp=pixel), measure_vessels(predicted, schema=schema, mpp=pixel)
    )
    parts = zip(_regions(truth, schema).items(), _regions(predicted, schema).values(), strict=True)
    shapes = [_region_shape(name, one, other, mpp=mpp) for (name, one), other in parts]
    return MorphologyLayer(arterial=True, note="", vessels=vessels, invented_vessels=invented, shapes=tuple(shapes))


def _pair_vessels(
    truth: Sequence[VesselMeasures], predicted: Sequence[VesselMeasures]
) -> tuple[tuple[VesselPair, ...], int]:
    """Return the pairs and the number of predicted vessels that no true one has taken."""
    pairs = list(match_vessels(truth, predicted, least=0.0))
    taken = sum(found is not None for _, found in pairs)
    return tuple(_vessel_pair(vessel, found) for vessel, found in pairs), len(predicted) - taken


def _vessel_pair(truth: VesselMeasures, predicted: VesselMeasures | None) -> VesselPair:
    values: Mapping[str, float | None] = {} if predicted is None else {m.name: m.value for m in predicted.measures}
    return VesselPair(
        vessel=truth.vessel,
        predicted_vessel=None if predicted is None else predicted.vessel,
        measures=tuple(_pair(m.name, m.unit, m.value, values.get(m.name)) for m in truth.measures),
        truth_checks=truth.warnings,
        predicted_checks=() if predicted is None else predicted.warnings,
    )


def _regions(mask: LabelMask, schema: LabelSchema) -> dict[str, BinaryMask]:
    lumen, neointima, media = (mask == schema.index_of(name) for name in (LUMEN, NEOINTIMA, MEDIA))
    extra = {c.name: mask == c.index for c in schema.foreground if c.name not in {LUMEN, NEOINTIMA, MEDIA}}
    layers = {LUMEN: lumen, NEOINTIMA: neointima, MEDIA: media}
    return {**layers, "iel": lumen | neointima, "eel": lumen | neointima | media, **extra}


def _region_shape(name: str, truth: BinaryMask, predicted: BinaryMask, *, mpp: float | None) -> RegionShape:
    one, other = _describe(truth, mpp=mpp), _describe(predicted, mpp=mpp)
    area_unit = "px^2" if mpp is None else "µm²"
    return RegionShape(
        region=name,
        pieces=_pair("pieces", "", one["pieces"], other["pieces"]),
        area=_pair("area", area_unit, one["area"], other["area"]),
        circularity=_pair("circularity", "", one["circularity"], other["circularity"]),
        solidity=_pair("solidity", "", one["solidity"], other["solidity"]),
        elongation=_pair("elongation", "", one["elongation"], other["elongation"]),
    )


def _describe(region: BinaryMask, *, mpp: float | None) -> dict[str, float | None]:
    labels = measure.label(region, connectivity=2)  # type: ignore[no-untyped-call]
    pieces = measure.regionprops(labels)  # type: ignore[no-untyped-call]
    area = float(np.count_nonzero(region)) * (1.0 if mpp is None else mpp**2)
    nothing: dict[str, float | None] = {"circularity": None, "solidity": None, "elongation": None}
    found = {"pieces": float(len(pieces)), "area": area}
    largest = max(pieces, key=lambda p: p.area, default=None)
    if largest is None or largest.area < _SMALLEST_PX:
        return {**found, **nothing}
    perimeter, short = float(largest.perimeter_crofton), float(largest.axis_minor_length)
    filled = float(largest.area_filled)
    return {
        **found,
        "circularity": 4 * math.pi * filled / perimeter**2 if perimeter > 0 else None,
        "solidity": float(largest.area / largest.area_convex),
        "elongation": float(largest.axis_major_length) / short if short > 0 else None,
    }


def _area_only(shape: RegionShape) -> RegionShape:
    """Take away the shapes: of classes that are no layers of one vessel they say nothing."""
    blank = {name: _pair(name, "", None, None) for name in ("circularity", "solidity", "elongation")}
    return shape.model_copy(update=blank)


def _pair(name: str, unit: str, truth: float | None, predicted: float | None) -> MeasurePair:
    difference = None if truth is None or predicted is None else predicted - truth
    return MeasurePair(name=name, unit=unit, truth=truth, predicted=predicted, difference=difference)
