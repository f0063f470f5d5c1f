"""The range of each measure over several passes: how much the ensemble and the orientations disagree on it.

Each pass is measured at the model's working resolution and compared with the mean mask there; that difference is added
to the measure of the native mask. The range always contains the measure. It is not calibrated against truth.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from intima.arrays import LabelMask
from intima.contracts.segmentation import Interval, Measure, RegionSpec, VesselMeasures
from intima.geometry import MicronsPerPixel
from intima.labels import LabelSchema
from intima.matching import SAME_VESSEL, Box, box_of, box_overlap
from intima.morphometry import measure_vessels
from intima.rasters import LabelRaster

_MARGIN_PX = 8
_POWER_OF_PX = {"px": 1, "px^2": 2}


@dataclass(frozen=True, slots=True)
class Passes:
    """Masks of several passes at working resolution."""

    mean_mask: LabelRaster
    """Of the mean over passes."""
    labels: Sequence[LabelRaster]
    """Of each pass."""
    schema: LabelSchema
    mpp: MicronsPerPixel | None
    """Pixel size at working resolution."""
    scale_x: float
    """Working pixels per native pixel along x."""
    scale_y: float
    """Working pixels per native pixel along y."""
    corner_x: float = 0.0
    """Where the native mask begins in working pixels along x."""
    corner_y: float = 0.0
    """Where it begins along y."""


def with_ranges(vessel: VesselMeasures, passes: Passes) -> VesselMeasures:
    """Return a vessel of the native mask with the range of each measure, and with a warning where it is partial."""
    window = _window(vessel.bounds, passes)
    reference = _same_vessel(passes.mean_mask.read(*window), vessel.bounds, window=window, passes=passes)
    each = [_same_vessel(m.read(*window), vessel.bounds, window=window, passes=passes) for m in passes.labels]
    native_px = 1.0 if passes.mpp is not None else 1.0 / passes.scale_x
    measures = tuple(_ranged(m, reference=reference, each=each, native_px=native_px) for m in vessel.measures)
    return vessel.model_copy(update={"measures": measures, "warnings": (*vessel.warnings, *_partial(vessel, each))})


def _partial(vessel: VesselMeasures, each: Sequence[dict[str, float]]) -> Iterator[str]:
    """Tell for which measures the range rests on a part of the passes."""
    defined = {m.name: sum(m.name in e for e in each) for m in vessel.measures if m.value is not None}
    for count in sorted({n for n in defined.values() if n < len(each)}):
        names = ", ".join(name for name, n in defined.items() if n == count)
        basis = f"the interval rests on the other {count}" if count > 1 else "no interval is given"
        yield f"Undefined in {len(each) - count} of {len(each)} passes, so {basis}: {names}."


def _box(bounds: RegionSpec, passes: Passes) -> Box:
    """Return left, top, right and bottom of a vessel in working pixels."""
    left, top = bounds.x * passes.scale_x + passes.corner_x, bounds.y * passes.scale_y + passes.corner_y
    return left, top, left + bounds.width * passes.scale_x, top + bounds.height * passes.scale_y


def _window(bounds: RegionSpec, passes: Passes) -> tuple[slice, slice]:
    """Return the vessel's surroundings in working pixels."""
    left, top, right, bottom = _box(bounds, passes)
    height, width = passes.mean_mask.shape
    rows = slice(max(0, int(top) - _MARGIN_PX), min(int(bottom) + _MARGIN_PX, height))
    return rows, slice(max(0, int(left) - _MARGIN_PX), min(int(right) + _MARGIN_PX, width))


def _same_vessel(
    mask: LabelMask, bounds: RegionSpec, *, window: tuple[slice, slice], passes: Passes
) -> dict[str, float]:
    """Measure the vessel of a window whose bounds overlap those of the native vessel most; nothing where none does."""
    rows, columns = window
    left, top, right, bottom = _box(bounds, passes)
    box = (left - columns.start, top - rows.start, right - columns.start, bottom - rows.start)
    found = measure_vessels(mask, schema=passes.schema, mpp=passes.mpp)
    best = max(found, key=lambda vessel: box_overlap(box_of(vessel.bounds), box), default=None)
    if best is None or box_overlap(box_of(best.bounds), box) < SAME_VESSEL:
        return {}
    return {m.name: m.value for m in best.measures if m.value is not None}


def _ranged(
    measure: Measure, *, reference: dict[str, float], each: Sequence[dict[str, float]], native_px: float
) -> Measure:
    centre = reference.get(measure.name)
    values = [e[measure.name] for e in each if measure.name in e]
    if measure.value is None or centre is None or len(values) < 2:
        return measure
    factor = native_px ** _POWER_OF_PX.get(measure.unit, 0)
    low = measure.value + min(0.0, min(values) - centre) * factor
    high = measure.value + max(0.0, max(values) - centre) * factor
    spread = float(np.std(values, ddof=1)) * factor
    return measure.model_copy(update={"interval": Interval(low=low, high=high), "pass_sd": spread})
