"""thickness_profiles.csv: how thick the layers of every vessel are along the rays from its centre."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from intima.contracts.segmentation import SegmentationResult
from intima.formats._result import ResultArrays
from intima.formats.tables import PROFILE_COLUMNS, Cell, csv_table
from intima.morphometry import ThicknessProfile, thickness_profiles


def write_profiles(arrays: ResultArrays, result: SegmentationResult, out: BinaryIO) -> None:
    """Write 360 lines for each vessel; a layer whose thickness is undefined has empty fields."""
    out.write(csv_table(tuple(PROFILE_COLUMNS), ()))
    profiles = thickness_profiles(arrays.mask, schema=arrays.schema, mpp=arrays.mpp) if result.vessels else ()
    defined = {v.vessel: {m.name for m in v.measures if m.value is not None} for v in result.vessels}
    for number, profile in enumerate(profiles, start=1):
        out.write(csv_table(None, _rows(number, profile, defined=defined.get(number, set()))))


def _rows(vessel: int, profile: ThicknessProfile, *, defined: set[str]) -> Iterator[Sequence[Cell]]:
    intima, media = (
        along.tolist() if f"{layer}_thickness_mean" in defined else [None] * len(along)
        for layer, along in (("intima", profile.intima), ("media", profile.media))
    )
    for angle, inner, outer in zip(np.rad2deg(profile.angles_rad).round(9).tolist(), intima, media, strict=True):
        yield (vessel, angle, inner, outer, profile.unit, *profile.center_px)
