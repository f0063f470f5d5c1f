"""The page for the lab book: says everything, stays on its pages, repeats its bytes."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

from intima.contracts.segmentation import (
    Interval,
    Measure,
    RegionSpec,
    SegmentationResult,
    UncertaintySummary,
    VesselMeasures,
)
from intima.formats import FORMATS, ResultArrays
from intima.formats.report import number, write_report
from intima.formats.report_pictures import overlay_picture, scale_bar
from intima.geometry import MicronsPerPixel
from intima.labels import ARTERY, LabelSchema, TissueClass
from intima.morphometry import class_areas
from intima.rasters import as_raster
from tests.builders import COLORS, SCRATCH, rings

HASHES = {"slide": "a" * 64, "one": "b" * 64, "two": "c" * 64}
PROVENANCE: dict[str, object] = {
    "slide_sha256": HASHES["slide"],
    "slide_name": "m1 section 4.svs",
    "subject": "mouse 1",
    "model": "phantom-unet@abc",
    "member_sha256": [HASHES["one"], HASHES["two"]],
    "synthetic_training_data": True,
    "mpp_source": "given",
    "provider": "CPUExecutionProvider",
    "onnxruntime": "1.2.3",
    "intima": "0.1.0",
    "seed": 7,
}
SAMPLED = UncertaintySummary(
    sampler="tta", passes=8, mean_entropy=0.1, mean_disagreement=0.05, pairwise_dice=0.98, calibration="not measured"
)


def images(mask: np.ndarray, *, mpp: float | None = 0.5, schema: LabelSchema = ARTERY) -> ResultArrays:
    pixel = None if mpp is None else MicronsPerPixel(mpp, mpp)
    return ResultArrays(
        mask=as_raster(mask),
        entropy=as_raster(np.linspace(0, 1, mask.size, dtype=np.float32).reshape(mask.shape)),
        disagreement=as_raster(np.zeros(mask.shape, np.float32)),
        thumbnail=COLORS[np.minimum(mask, 3)],
        schema=schema,
        mpp=pixel,
        working_mpp=pixel,
        origin=(0, 0),
        scratch=SCRATCH,
    )


def vessel(n: int, *, warnings: tuple[str, ...] = ()) -> VesselMeasures:
    return VesselMeasures(
        vessel=n,
        bounds=RegionSpec(x=80, y=80, width=240, height=240),
        measures=(
            Measure(name="lumen_area", value=12345.678, unit="µm²", interval=Interval(low=12000.4, high=12999.6)),
            Measure(name="intima_media_ratio", value=0.31234, unit="", interval=Interval(low=0.3, high=0.33)),
            Measure(name="stenosis", value=None, unit="%"),
        ),
        warnings=warnings,
    )


def result(mask: np.ndarray, **changes: Any) -> SegmentationResult:
    given = images(mask)
    values: dict[str, Any] = {
        "width": mask.shape[1],
        "height": mask.shape[0],
        "mpp": 0.5,
        "origin": "full",
        "region": None,
        "areas": class_areas(given.mask, schema=ARTERY, mpp=given.mpp),
        "vessels": (vessel(1),),
        "interval_basis": "range over passes; not calibrated against truth",
        "uncertainty": SAMPLED,
        "artefacts": (),
        "timings_s": {"inference": 1.0},
        "provenance": PROVENANCE,
        "warnings": ("The model was trained on synthetic phantoms only.",),
    }
    return SegmentationResult(**(values | changes))


def report(arrays: ResultArrays, found: SegmentationResult) -> PdfReader:
    out = io.BytesIO()
    write_report(arrays, found, out)
    return PdfReader(out)


def words(reader: PdfReader) -> str:
    return " ".join(" ".join(page.extract_text() for page in reader.pages).split())


def test_it_says_who_what_with_what_and_how_sure() -> None:
    mask = rings()
    reader = report(images(mask), result(mask))
    text = words(reader)
    for expected in (
        "m1 section 4.svs",
        "mouse 1",
        "phantom-unet@abc, trained on SYNTHETIC data only",
        "0.5 µm, given at upload",
        "Lumen area µm² 12,346 12,000 to 13,000",
        "Intima-to-media ratio – 0.3123 0.3000 to 0.3300",
        "Stenosis % – –",
        "not calibrated against truth",
        "trained on synthetic phantoms only",
        "CPUExecutionProvider",
        "ONNX Runtime 1.2.3",
        "seed 7",
        *HASHES.values(),
    ):
        assert expected in text, expected
    for area in result(mask).areas:
        assert f"{area.name} {area.pixels:,}" in text
    assert len(reader.pages) <= 2
    assert len(reader.pages[0].images) == 2


def test_equal_results_are_equal_bytes_and_bear_no_run_time() -> None:
    mask = rings()
    first, second = io.BytesIO(), io.BytesIO()
    write_report(images(mask), result(mask), first)
    write_report(images(mask), result(mask, timings_s={"inference": 99.0}), second)
    assert first.getvalue() == second.getvalue()


def test_without_pixel_size_uncertainty_and_vessel_it_is_a_sensible_page() -> None:
    mask = np.zeros((60, 40), np.uint8)
    bare = images(mask, mpp=None)
    areas = class_areas(bare.mask, schema=ARTERY, mpp=None)
    found = result(
        mask, mpp=None, vessels=(), uncertainty=None, areas=areas, warnings=(), provenance={}, interval_basis="none"
    )
    reader = report(bare, found)
    text = words(reader)
    assert "unknown: areas and lengths are in pixels" in text
    assert "There is no scale bar" in text
    assert "No vessel was found" in text
    assert "not sampled: one pass" in text
    assert "µm²" not in text
    assert "None" not in text
    assert len(reader.pages[0].images) == 1


def test_long_names_many_warnings_and_vessels_stay_inside_the_pages() -> None:
    mask = rings()
    long = "x" * 300
    schema = LabelSchema(tuple(TissueClass(i, f"{i} {'ω' * 120}", "#112233") for i in range(64)))
    vessels = tuple(vessel(n, warnings=(f"warning {n} {long}",)) for n in range(1, 201))
    areas = class_areas(as_raster(mask), schema=schema, mpp=None)
    found = result(
        mask,
        vessels=vessels,
        areas=areas,
        warnings=tuple(f"{i} {long}" for i in range(30)),
        provenance=PROVENANCE | {"slide_name": long, "subject": long, "model": long, "member_sha256": ["d" * 64] * 64},
    )
    reader = report(images(mask, schema=schema), found)
    assert 3 <= len(reader.pages) < 25
    for page in reader.pages:
        places: list[tuple[float, float]] = []

        def see(text: str, _cm: Any, tm: list[float], _font: Any, _size: Any, into: list[Any] = places) -> None:
            if text.strip():
                into.append((tm[4], tm[5]))

        page.extract_text(visitor_text=see)
        assert all(0 <= x < 595 and 0 <= y < 842 for x, y in places)
    text = words(reader)
    assert "more in measures.csv" in text
    assert "more warnings stand in measures.json" in text


@pytest.mark.parametrize("factor", [1.0, 1e3, 1e6])
def test_no_number_is_broken_in_two(factor: float) -> None:
    mask = rings()
    each = [Measure(name="medial_area", value=v * factor, unit="µm²", interval=Interval(low=v, high=v * factor))
            for v in (123725.0, 98765.4, 54321.9)]  # fmt: skip
    vessels = tuple(vessel(n).model_copy(update={"measures": (m,)}) for n, m in enumerate(each, start=1))
    reader = report(images(mask), result(mask, vessels=vessels))
    text = words(reader)
    assert number(123725.0 * factor) in text.split()
    assert f"{number(123725.0)} to {number(123725.0 * factor)}" in text


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3), (400, 10)])
def test_any_shape_is_drawn(shape: tuple[int, int]) -> None:
    mask = np.ones(shape, np.uint8)
    assert len(report(images(mask), result(mask)).pages) >= 1


@pytest.mark.parametrize("text", ["<b>&</b>", "a\x00b", "العربية", "\ud800", "{{ 7 * 7 }}"])
def test_hostile_names_are_words(text: str) -> None:
    mask = rings()
    reader = report(images(mask), result(mask, provenance=PROVENANCE | {"slide_name": text, "subject": text}))
    assert "mouse 1" not in words(reader)


def test_vessel_numbers_lie_where_the_vessels_are_and_the_bar_is_as_long_as_it_says() -> None:
    mask = np.zeros((400, 400), np.uint8)
    arrays = images(mask)
    bare = np.asarray(Image.open(io.BytesIO(overlay_picture(arrays, ()))).convert("L"), np.int16)
    one = vessel(1).model_copy(update={"bounds": RegionSpec(x=200, y=80, width=40, height=40)})
    drawn = np.asarray(Image.open(io.BytesIO(overlay_picture(arrays, (one,)))).convert("L"), np.int16)
    rows, columns = np.nonzero(np.abs(drawn - bare) > 60)
    assert abs(columns.mean() / 900 - 220 / 400) < 0.02
    assert abs(rows.mean() / 900 - 100 / 400) < 0.02
    bar = np.flatnonzero((bare[872:874, :] < 60).all(axis=0))
    assert scale_bar(900, um_per_px=0.5 * 400 / 900).label == "50 µm"
    assert bar[-1] - bar[0] == pytest.approx(50 / (0.5 * 400 / 900), abs=3)
    without = overlay_picture(replace(arrays, mpp=None), ())
    assert (np.asarray(Image.open(io.BytesIO(without)).convert("L"))[860:880, :300] > 100).all()


@pytest.mark.parametrize("um_per_px", [0.001, 0.0137, 0.25, 0.5, 1.0, 3.3, 777.0])
def test_scale_bars_have_round_lengths_that_fit(um_per_px: float) -> None:
    bar = scale_bar(900, um_per_px=um_per_px)
    value, unit = bar.label.split()
    length = float(value) * (1000 if unit == "mm" else 1)
    assert bar.px * um_per_px == pytest.approx(length)
    assert 900 / 10.1 <= bar.px <= 900 / 4 * 1.0001
    assert f"{length:e}"[0] in "125"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (0.31234, "0.3123"), (12345.6, "12,346"), (999.96, "1,000.0"), (-2.5, "-2.500"), (1e-9, "0.000000")],
)
def test_numbers_have_four_digits_and_no_exponent(value: float, expected: str) -> None:
    assert number(value) == expected


def test_it_is_written_last_so_that_it_has_every_warning() -> None:
    assert list(FORMATS)[-1] == "report.pdf"
