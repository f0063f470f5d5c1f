"""Every writer: reads back, repeats its bytes, states the pixel size."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from openslide import OpenSlide
from PIL import Image

from intima.contracts.benchmark import ScoreRow
from intima.contracts.segmentation import (
    ClassArea,
    Interval,
    Measure,
    RegionSpec,
    SegmentationResult,
    VesselMeasures,
)
from intima.formats import FORMATS, ResultArrays, scores_csv
from intima.formats.ome_tiff import halve_labels, halve_map
from intima.formats.png import heat_map, overlay
from intima.formats.tables import MEASURE_COLUMNS, PROFILE_COLUMNS, SCORE_COLUMNS
from intima.geometry import MicronsPerPixel
from intima.labels import ARTERY
from intima.rasters import as_raster
from intima.slides import open_slide, read_mask
from tests.builders import SCRATCH

RNG = np.random.default_rng(6)
MASK = RNG.integers(0, 4, (88, 67), dtype=np.uint8).repeat(8, 0).repeat(8, 1)[:700, :531]
ENTROPY = RNG.random((350, 266), dtype=np.float32)
ARRAYS = ResultArrays(
    mask=as_raster(MASK),
    entropy=as_raster(ENTROPY),
    disagreement=as_raster(ENTROPY / 2),
    thumbnail=RNG.integers(0, 256, (350, 266, 3), dtype=np.uint8),
    schema=ARTERY,
    mpp=MicronsPerPixel(0.5, 0.5),
    working_mpp=MicronsPerPixel(1.0, 1.0),
    origin=(0, 0),
    scratch=SCRATCH,
)
RESULT = SegmentationResult(
    width=531,
    height=700,
    mpp=0.5,
    origin="full",
    region=None,
    areas=(ClassArea(name="lumen", pixels=4, area_um2=1.0, fraction=0.25),),
    vessels=(
        VesselMeasures(
            vessel=1,
            bounds=RegionSpec(x=0, y=0, width=5, height=5),
            measures=(
                Measure(name="stenosis", value=33.25, unit="%", interval=Interval(low=30.5, high=35.0)),
                Measure(name="iel_perimeter", value=None, unit="µm"),
            ),
            warnings=("ring open",),
        ),
    ),
    interval_basis="range over passes",
    uncertainty=None,
    artefacts=(),
    timings_s={"inference": 1.0},
    provenance={"model": "m@1"},
    warnings=(),
)


def written(name: str, arrays: ResultArrays = ARRAYS) -> bytes:
    """The bytes of one artefact."""
    out = io.BytesIO()
    FORMATS[name].write(arrays, RESULT, out)
    return out.getvalue()


@pytest.mark.parametrize("name", list(FORMATS))
def test_bytes_repeat_and_are_not_empty(name: str) -> None:
    first = written(name)
    assert first
    assert written(name) == first
    assert "/" in FORMATS[name].media_type


@pytest.mark.parametrize("name", ["mask.png", "mask.ome.tiff"])
def test_masks_read_back_as_indices(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(written(name))
    assert np.array_equal(read_mask(path), MASK)


def test_mask_png_is_eight_bit_and_shows_the_class_colours() -> None:
    data = written("mask.png")
    assert data[24] == 8
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    colours = np.array([c.rgb for c in ARTERY.classes], np.uint8)
    assert np.array_equal(shown, colours[MASK])


def test_ome_mask_is_a_pyramid_with_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "mask.ome.tiff"
    path.write_bytes(written("mask.ome.tiff"))
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert [level.shape for level in file.series[0].levels] == [(700, 531), (350, 266), (175, 133)]
        assert np.array_equal(file.series[0].levels[1].asarray(), halve_labels(MASK))
        assert file.pages[0].tags.get("DateTime") is None
    with open_slide(path) as slide:
        assert (slide.info.levels, slide.info.mpp) == (3, 0.5)
    with OpenSlide(path) as reference:
        assert reference.dimensions == (531, 700)
        assert float(reference.properties["openslide.mpp-x"]) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize(("name", "factor"), [("entropy.ome.tiff", 1), ("disagreement.ome.tiff", 0.5)])
def test_maps_keep_their_floats(tmp_path: Path, name: str, factor: float) -> None:
    path = tmp_path / name
    path.write_bytes(written(name))
    with tifffile.TiffFile(path) as file:
        assert np.array_equal(file.series[0].asarray(), ENTROPY * np.float32(factor))
        assert 'PhysicalSizeX="1.0"' in file.ome_metadata
        assert np.allclose(file.series[0].levels[1].asarray(), halve_map(ENTROPY) * factor)


def test_without_pixel_size_none_is_stated(tmp_path: Path) -> None:
    from dataclasses import replace

    path = tmp_path / "mask.ome.tiff"
    path.write_bytes(written("mask.ome.tiff", replace(ARRAYS, mpp=None)))
    with open_slide(path) as slide:
        assert slide.info.mpp is None


def test_identifiers_differ_where_the_pixels_differ() -> None:
    from dataclasses import replace

    other = written("mask.ome.tiff", replace(ARRAYS, mask=as_raster((MASK + 1) % 4)))
    assert identifier(other) != identifier(written("mask.ome.tiff"))


def identifier(data: bytes) -> bytes:
    start = data.index(b"urn:uuid:")
    return data[start : start + 45]


@settings(max_examples=150)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 3)))
def test_halved_labels_are_the_majority(mask: np.ndarray) -> None:
    padded = np.pad(mask, [(0, n % 2) for n in mask.shape], mode="edge")
    found = halve_labels(mask)
    assert found.shape == (padded.shape[0] // 2, padded.shape[1] // 2)
    for row, column in np.ndindex(found.shape):
        block = padded[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel()
        counts = np.bincount(block, minlength=4)
        winners = np.flatnonzero(counts == counts.max())
        assert found[row, column] == (winners[0] if len(winners) == 1 else block[0])


def test_overlay_tints_classes_and_leaves_background() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    mask = np.zeros((400, 400), np.uint8)
    mask[100:300, 100:300] = 2
    found = overlay(image, mask, schema=ARTERY)
    assert found.shape == image.shape
    assert np.all(found[:24] == 200)
    assert tuple(found[25, 50]) == ARTERY.classes[2].rgb
    assert np.allclose(found[50, 50], 0.65 * 200 + 0.35 * np.array(ARTERY.classes[2].rgb), atol=1)


def test_overlay_of_a_large_picture_is_limited() -> None:
    found = overlay(np.zeros((100, 4096, 3), np.uint8), np.ones((50, 2048), np.uint8), schema=ARTERY)
    assert found.shape == (50, 2048, 3)


def test_heat_map_is_monotone_in_lightness_and_has_a_legend() -> None:
    ramp = np.linspace(0, 1, 512, dtype=np.float32)[None, :].repeat(64, axis=0)
    found = heat_map(ramp, title="entropy")
    assert found.shape[1] > 512
    lightness = found[0, :512].astype(int) @ np.array([299, 587, 114])
    assert lightness[-1] > lightness[0]
    assert np.all(np.diff(lightness) >= -2000)
    assert heat_map(np.zeros((3000, 5), np.float32), title="x").shape[0] <= 2048


def table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_measures_csv_has_units_and_keeps_undefined_values_empty() -> None:
    rows = table(written("measures.csv"))
    by_name = {row["name"]: row for row in rows}
    assert set(rows[0]) == set(MEASURE_COLUMNS)
    assert by_name["lumen_area"]["unit"] == "µm²"
    assert (by_name["stenosis"]["value"], by_name["stenosis"]["low"]) == ("33.25", "30.5")
    assert by_name["iel_perimeter"]["value"] == ""
    assert by_name["stenosis"]["vessel"] == "1"


def test_the_dictionary_explains_every_column() -> None:
    rows = table(written("measures_dictionary.csv"))
    for name, columns in (("measures.csv", MEASURE_COLUMNS), ("thickness_profiles.csv", PROFILE_COLUMNS)):
        assert [row["column"] for row in rows if row["file"] == name] == list(columns)
    assert all(row["meaning"] for row in rows)


def test_measures_json_is_the_contract_without_run_times() -> None:
    parsed = json.loads(written("measures.json"))
    assert parsed["vessels"][0]["measures"][0]["value"] == 33.25
    assert "timings_s" not in parsed


def score(**changes: object) -> ScoreRow:
    values = {
        "case": "images/a.png",
        "subject": "m1",
        "protocol": "loocv",
        "repeat": 0,
        "fold": 1,
        "seed": 2,
        "architecture": "unet",
        "model": "unet",
        "class": "macro",
        "metric": "dice",
        "value": 0.1 + 0.2,
        "unit": "1",
        "selection_biased": False,
    }
    return ScoreRow.model_validate(values | changes)


def test_scores_csv_has_the_columns_of_the_contract_and_keeps_every_digit() -> None:
    data = scores_csv([score(), score(value=None, selection_biased=True)])
    assert data.decode().splitlines()[0] == ",".join(SCORE_COLUMNS)
    first, second = table(data)
    assert float(first["value"]) == 0.1 + 0.2
    assert (second["value"], second["selection_biased"]) == ("", "true")
    assert first["class"] == "macro"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_text_is_no_formula(text: str) -> None:
    (row,) = table(scores_csv([score(unit=text)]))
    assert row["unit"] == "'" + text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_value_reads_back(value: float) -> None:
    (row,) = table(scores_csv([score(value=value)]))
    assert float(row["value"]) == value
