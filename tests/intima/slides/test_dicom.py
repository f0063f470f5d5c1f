"""DICOM instances that are odd or lie: right pixels, or an error that says so."""

import io
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from intima.errors import Invalid
from intima.geometry import Region
from intima.slides import open_slide, read_image
from tests.slide_files import dicom_instance, texture, tiles_of, zipped

PICTURE = texture(256, 384)
FRAMES = 24


def altered(folder: Path, change: Callable[[Dataset], None]) -> Path:
    data = pydicom.dcmread(io.BytesIO(dicom_instance(PICTURE, mpp=0.5)))
    change(data)
    path = folder / "a.dcm"
    data.save_as(path)
    return path


def set_frames(data: Dataset, frames: list[bytes]) -> None:
    data.PixelData = encapsulate(frames)
    data["PixelData"].is_undefined_length = True


def frames_of(data: Dataset) -> list[bytes]:
    return list(generate_frames(data.PixelData, number_of_frames=FRAMES))


@pytest.mark.parametrize("side", [32, 128])
def test_frames_of_another_size_are_not_cut_to_fit(tmp_path: Path, side: int) -> None:
    frame = imagecodecs.jpeg8_encode(texture(side, side), level=90)
    path = altered(tmp_path, lambda data: set_frames(data, [frame] * FRAMES))
    with open_slide(path) as slide, pytest.raises(Invalid) as caught:
        slide.read(Region(0, 0, 10, 10))
    assert caught.value.code == "unreadable_image"


def test_a_bad_frame_is_an_error_and_its_neighbours_are_not(tmp_path: Path) -> None:
    path = altered(tmp_path, lambda data: set_frames(data, [b"garbage!" * 20, *frames_of(data)[1:]]))
    with open_slide(path) as slide:
        with pytest.raises(Invalid) as caught:
            slide.read(Region(60, 0, 10, 10))
        assert caught.value.code == "unreadable_image"
        assert np.abs(slide.read(Region(64, 0, 64, 64)).astype(int) - PICTURE[:64, 64:128]).mean() < 2


def test_fewer_frames_than_stated_are_no_white_tissue(tmp_path: Path) -> None:
    path = altered(tmp_path, lambda data: set_frames(data, frames_of(data)[:10]))
    with open_slide(path) as slide, pytest.raises(Invalid):
        read_image(slide)


def test_sparse_tiles_lie_where_the_header_says_and_the_rest_is_white(tmp_path: Path) -> None:
    def sparse(data: Dataset) -> None:
        set_frames(data, frames_of(data)[12:])
        data.DimensionOrganizationType, data.NumberOfFrames = "TILED_SPARSE", 12
        items = []
        for number in range(12):
            item, place = Dataset(), Dataset()
            place.ColumnPositionInTotalImagePixelMatrix = number % 6 * 64 + 1
            place.RowPositionInTotalImagePixelMatrix = (number // 6 + 2) * 64 + 1
            for axis in "XYZ":
                setattr(place, f"{axis}OffsetInSlideCoordinateSystem", 0)
            item.PlanePositionSlideSequence = [place]
            items.append(item)
        data.PerFrameFunctionalGroupsSequence = items

    with open_slide(altered(tmp_path, sparse)) as slide:
        image = read_image(slide)
    assert image[:128].min() == 255
    assert np.abs(image[128:].astype(int) - PICTURE[128:]).mean() < 1


def test_uncompressed_and_grey_frames(tmp_path: Path) -> None:
    def raw(data: Dataset) -> None:
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.PhotometricInterpretation = "RGB"
        data.PixelData = b"".join(tile.tobytes() for tile in tiles_of(PICTURE, 64, 64))
        data["PixelData"].is_undefined_length = False

    with open_slide(altered(tmp_path, raw)) as slide:
        assert np.array_equal(read_image(slide), PICTURE)
        assert np.array_equal(slide.read(Region(61, 63, 70, 70)), PICTURE[63:133, 61:131])

    def grey(data: Dataset) -> None:
        tiles = [np.ascontiguousarray(tile[:, :, 1]) for tile in tiles_of(PICTURE, 64, 64)]
        set_frames(data, [imagecodecs.jpeg8_encode(tile, level=95) for tile in tiles])
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        del data.PlanarConfiguration

    with open_slide(altered(tmp_path, grey)) as slide:
        image = read_image(slide)
        assert (image == image[:, :, :1]).all()
        assert np.abs(image[:, :, 0].astype(int) - PICTURE[:, :, 1]).mean() < 1


def test_a_slide_without_pixel_spacing_says_so(tmp_path: Path) -> None:
    def without(data: Dataset) -> None:
        del data.SharedFunctionalGroupsSequence

    with pytest.raises(Invalid, match="pixel spacing") as caught, open_slide(altered(tmp_path, without)):
        pass
    assert caught.value.code == "unsupported_image"


@pytest.mark.parametrize("change", [{"TotalPixelMatrixColumns": 4_000_000}, {"NumberOfFrames": 10}, {"Rows": 0}])
def test_headers_that_lie_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    path = altered(tmp_path, lambda data: [setattr(data, key, value) for key, value in change.items()] and None)
    with pytest.raises(Invalid), open_slide(path):
        pass


def test_levels_at_thirds_leave_the_full_resolution(tmp_path: Path) -> None:
    kind = ("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED")
    third = dicom_instance(np.ascontiguousarray(PICTURE[::3, ::3]), mpp=1.5, instance=2, kind=kind)
    path = zipped({"a.dcm": dicom_instance(PICTURE, mpp=0.5), "b.dcm": third}, tmp_path / "a.zip")
    with open_slide(path) as slide:
        assert [(size.width, size.height) for size in slide.levels] == [(384, 256)]
        assert any("powers of two" in warning for warning in slide.info.warnings)
        assert np.abs(read_image(slide).astype(int) - PICTURE).mean() < 1
