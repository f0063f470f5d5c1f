"""ROIs for ImageJ: read back by roifile, filled by an independent rasteriser, they are the mask."""

import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib.path import Path as Outline
from roifile import ROI_TYPE, ImagejRoi

from intima.contracts.segmentation import SegmentationResult
from intima.formats import NotWritten, ResultArrays
from intima.formats.geojson import write_annotations, write_annotations_gzip
from intima.formats.imagej_roi import write_rois
from intima.labels import ARTERY, LabelSchema, TissueClass
from intima.rasters import as_raster
from tests.builders import SCRATCH

RESULT = SegmentationResult(
    width=1,
    height=1,
    mpp=None,
    origin="full",
    region=None,
    areas=(),
    vessels=(),
    interval_basis="",
    uncertainty=None,
    artefacts=(),
    timings_s={},
    provenance={},
    warnings=(),
)


def images(mask: np.ndarray, *, origin: tuple[int, int] = (0, 0), schema: LabelSchema = ARTERY) -> ResultArrays:
    nothing = np.zeros(mask.shape, np.float32)
    return ResultArrays(
        mask=as_raster(mask),
        entropy=as_raster(nothing),
        disagreement=as_raster(nothing),
        thumbnail=np.zeros((*mask.shape, 3), np.uint8),
        schema=schema,
        mpp=None,
        working_mpp=None,
        origin=origin,
        scratch=SCRATCH,
    )


def rois_of(given_images: ResultArrays) -> tuple[list[ImagejRoi], Sequence[str]]:
    """The ROIs as roifile reads the file, and the warnings."""
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        notes = write_rois(given_images, RESULT, file)  # type: ignore[arg-type]
        file.flush()
        return list(ImagejRoi.fromfile(file.name)), notes  # type: ignore[arg-type]


def filled(roi: ImagejRoi, shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie within an odd number of rings."""
    rows, columns = np.indices(shape)
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    inside = np.zeros(len(centres), int)
    for ring in roi.coordinates(multi=True):
        inside += Outline(ring).contains_points(centres)
    return (inside % 2 == 1).reshape(shape)


@settings(max_examples=60)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 3)))
def test_any_mask_reads_back_from_its_rois(mask: np.ndarray) -> None:
    rois, notes = rois_of(images(mask))
    again = np.zeros_like(mask)
    for roi in rois:
        pixels = filled(roi, mask.shape)
        assert pixels.sum() == roi.properties["pixels"]
        assert not again[pixels].any()
        again[pixels] = ARTERY.index_of(roi.properties["class"])
    assert np.array_equal(again, mask)
    assert notes == ()


def test_a_ring_is_composite_and_a_disc_is_traced_with_name_colour_and_frame() -> None:
    mask = np.zeros((10, 12), np.uint8)
    mask[2:7, 3:9] = 3
    mask[4, 5:7] = 1
    (lumen, media), _ = rois_of(images(mask, origin=(100, 200)))
    assert (lumen.roitype, lumen.name) == (ROI_TYPE.TRACED, "lumen-00001")
    assert (media.roitype, media.name) == (ROI_TYPE.RECT, "media-00002")
    assert media.composite
    assert lumen.coordinates().tolist() == [[5, 4], [7, 4], [7, 5], [5, 5]]
    assert (media.left, media.top, media.right, media.bottom) == (3, 2, 9, 7)
    assert media.stroke_color == bytes((255, *ARTERY.classes[3].rgb))
    assert media.properties == {"class": "media", "pixels": 28, "region_x": 100, "region_y": 200}


def test_coordinates_beyond_what_a_short_holds_are_kept() -> None:
    mask = np.zeros((2, 70_000), np.uint8)
    mask[:, 40_000:40_010] = 1
    mask[0, 69_000:69_003] = 2
    (near, far), _ = rois_of(images(mask))
    assert near.coordinates().min(axis=0).tolist() == [40_000, 0]
    assert near.coordinates().max(axis=0).tolist() == [40_010, 2]
    assert far.composite
    assert far.coordinates().min(axis=0).tolist() == [69_000, 0]
    assert far.coordinates().max(axis=0).tolist() == [69_003, 1]


def test_the_bytes_repeat_and_carry_no_time() -> None:
    mask = np.random.default_rng(1).integers(0, 4, (40, 30), dtype=np.uint8)
    first, second = io.BytesIO(), io.BytesIO()
    write_rois(images(mask), RESULT, first)
    write_rois(images(mask), RESULT, second)
    assert first.getvalue() == second.getvalue()
    with zipfile.ZipFile(first) as bundle:
        names = bundle.namelist()
        assert len(set(names)) == len(names)
        assert {entry.date_time for entry in bundle.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_smallest_pieces_are_left_out_beyond_the_limit_and_a_warning_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("intima.formats.imagej_roi.MOST_ROIS", 3)
    mask = np.zeros((9, 20), np.uint8)
    mask[0, 0] = 1
    mask[2, 0:2] = 3
    mask[4, 0:4] = 2
    mask[6, 0:5] = 1
    mask[8, 0] = 3
    rois, (note,) = rois_of(images(mask))
    assert [(roi.properties["class"], roi.properties["pixels"]) for roi in rois] == [
        ("lumen", 5),
        ("neointima", 4),
        ("media", 2),
    ]
    assert "the 2 smallest, of at most 1 px and 2 px together, are left out" in note


@pytest.mark.parametrize("name", ["../../etc/x", "a/b", "C:\\con", "näme", " . ", "two\u2028lines", "x" * 200])
def test_hostile_class_names_are_no_paths(name: str) -> None:
    schema = LabelSchema((TissueClass(0, "background", "#000000"), TissueClass(1, name, "#ff0000")))
    out = io.BytesIO()
    write_rois(images(np.eye(2, dtype=np.uint8), schema=schema), RESULT, out)
    with zipfile.ZipFile(out) as bundle:
        for entry in bundle.namelist():
            assert not set("/\\:\u2028") & set(entry)
            assert entry[0] not in ". "
            assert len(entry) < 80
        properties = ImagejRoi.frombytes(bundle.read(bundle.namelist()[0])).properties
    assert properties["pixels"] == 1


def test_an_empty_mask_is_an_empty_zip() -> None:
    out = io.BytesIO()
    assert write_rois(images(np.zeros((4, 5), np.uint8)), RESULT, out) == ()
    with zipfile.ZipFile(out) as bundle:
        assert bundle.namelist() == []


def test_outlines_beyond_the_limit_are_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intima.formats._rings.MOST_EDGES", 100)
    board = np.indices((20, 20)).sum(0).astype(np.uint8) % 2
    for write in (write_rois, write_annotations, write_annotations_gzip):
        with pytest.raises(NotWritten, match="too intricate: more than 100"):
            write(images(board), RESULT, io.BytesIO())


def test_packed_annotations_are_the_plain_ones() -> None:
    mask = np.random.default_rng(2).integers(0, 4, (30, 40), dtype=np.uint8).repeat(3, 0)
    plain, packed = io.BytesIO(), io.BytesIO()
    write_annotations(images(mask), RESULT, plain)
    write_annotations_gzip(images(mask), RESULT, packed)
    assert gzip.decompress(packed.getvalue()) == plain.getvalue()
    assert packed.getvalue()[3:8] == bytes(5), "no name and no time"
    assert len(packed.getvalue()) < len(plain.getvalue()) / 4
    assert json.loads(plain.getvalue())["features"]
