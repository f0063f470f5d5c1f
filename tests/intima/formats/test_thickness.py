"""Thickness along rays, against circles whose thickness is known."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from intima.contracts.segmentation import SegmentationResult
from intima.formats import FORMATS, ResultArrays
from intima.formats.tables import PROFILE_COLUMNS
from intima.geometry import MicronsPerPixel
from intima.labels import ARTERY
from intima.morphometry import measure_vessels
from intima.rasters import as_raster
from tests.builders import rings
from tests.intima.formats.test_writers import ARRAYS, RESULT


def profile_rows(mask: np.ndarray, mpp: float | None) -> list[dict[str, str]]:
    pixel = None if mpp is None else MicronsPerPixel(mpp, mpp)
    arrays: ResultArrays = replace(ARRAYS, mask=as_raster(mask), mpp=pixel)
    vessels = measure_vessels(mask, schema=ARTERY, mpp=pixel)
    result: SegmentationResult = RESULT.model_copy(update={"vessels": vessels})
    out = io.BytesIO()
    FORMATS["thickness_profiles.csv"].write(arrays, result, out)
    return list(csv.DictReader(io.StringIO(out.getvalue().decode(), newline="")))


@pytest.mark.parametrize(("mpp", "unit", "side"), [(2.0, "µm", 2.0), (None, "px", 1.0)])
def test_layers_of_circles_are_as_thick_as_their_radii_say(mpp: float | None, unit: str, side: float) -> None:
    rows = profile_rows(rings(), mpp)
    assert list(rows[0]) == list(PROFILE_COLUMNS)
    assert [float(row["angle_deg"]) for row in rows] == [float(n) for n in range(360)]
    assert {row["unit"] for row in rows} == {unit}
    for row in rows:
        assert float(row["intima"]) == pytest.approx(30 * side, abs=1.0 * side)
        assert float(row["media"]) == pytest.approx(30 * side, abs=1.0 * side)
        assert (float(row["center_x_px"]), float(row["center_y_px"])) == pytest.approx((200, 200), abs=0.5)


def test_the_angle_runs_from_right_to_down() -> None:
    mask = rings()
    mask[:, :200][rings()[:, :200] == 2] = 1
    rows = profile_rows(mask, 1.0)
    assert float(rows[45]["intima"]) > 20
    assert float(rows[135]["intima"]) == 0.0
    lower = rings()
    lower[200:][lower[200:] == 2] = 1
    rows = profile_rows(lower, 1.0)
    assert float(rows[90]["intima"]) == 0.0
    assert float(rows[270]["intima"]) == pytest.approx(30, abs=1)


def test_two_vessels_are_numbered_as_in_the_measures() -> None:
    mask = np.concatenate([rings(200, radii=(30, 40, 50), center=100), rings(200, radii=(30, 50, 80), center=100)], 1)
    rows = profile_rows(mask, 1.0)
    assert [row["vessel"] for row in rows] == ["1"] * 360 + ["2"] * 360
    assert float(rows[0]["media"]) == pytest.approx(30, abs=1)
    assert float(rows[360]["media"]) == pytest.approx(10, abs=1)


def test_where_the_ring_is_open_the_thickness_is_not_stated() -> None:
    mask = rings()
    mask[:, 200:][mask[:, 200:] == 3] = 0
    rows = profile_rows(mask, 1.0)
    assert len(rows) == 360
    assert {(row["intima"], row["media"]) for row in rows} == {("", "")}


def test_without_vessels_there_is_a_header_only() -> None:
    assert profile_rows(np.zeros((30, 30), np.uint8), 1.0) == []
