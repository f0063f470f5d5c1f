"""De-identified copies: the same tiles byte for byte, and no byte of what names somebody."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from openslide import OpenSlide
from PIL import Image
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_sequence

from intima.errors import Invalid
from intima.slides import open_slide, read_image
from intima.slides._deidentify import deidentify
from intima.slides.isolation import deidentify_isolated, inspect_isolated
from tests.slide_files import dicom_files, dicom_instance, mirax_files, png, texture, zipped

PICTURE = texture(300, 420)
LABEL = texture(60, 80, seed=3)
SECRET = b"Jane Doe 1950"
TAGS = [(315, 2, 0, SECRET, True), (65000, 2, 0, b"private " + SECRET, True), (316, 2, 0, SECRET, True)]


def same_tiles(a: Path, b: Path) -> int:
    """Compare the stored bytes of every tile of the main image and its levels; return how many there were."""
    count = 0
    with tifffile.TiffFile(a) as one, tifffile.TiffFile(b) as two:
        levels = [max(f.series, key=lambda s: s.keyframe.imagewidth).levels for f in (one, two)]
        assert len(levels[0]) == len(levels[1])
        for mine, theirs in zip(*levels, strict=True):
            pages = (mine.keyframe, theirs.keyframe)
            assert pages[0].jpegtables == pages[1].jpegtables
            assert pages[0].databytecounts == pages[1].databytecounts
            for places in zip(pages[0].dataoffsets, pages[1].dataoffsets, pages[0].databytecounts, strict=True):
                bytes_of = [_bytes(p, offset, places[2]) for p, offset in zip((a, b), places[:2], strict=True)]
                assert bytes_of[0] == bytes_of[1]
                count += 1
    return count


def _bytes(path: Path, offset: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(count)


def stripped(source: Path, target: Path) -> Path:
    deidentify_isolated(source, target, name=source.name)
    with open_slide(source) as before, open_slide(target) as after:
        kept = ("format", "width", "height", "levels", "vendor")
        assert [getattr(before.info, k) for k in kept] == [getattr(after.info, k) for k in kept]
        assert after.info.mpp == (None if before.info.mpp is None else pytest.approx(before.info.mpp, rel=1e-5))
        assert set(after.info.associated) <= {"thumbnail"}
        assert before.levels == after.levels
        assert np.array_equal(read_image(before), read_image(after))
    return target


def test_svs_keeps_its_tiles_and_loses_label_macro_and_description(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "wsi" / "svs" / "CMU-1-Small-Region.svs"
    target = stripped(source, tmp_path / "clean.svs")
    assert same_tiles(source, target) == 130
    clean = target.read_bytes()
    for secret in (b"CMU-1", b"Filename", b"User", b"Date", b"Time", b"ScanScope", b"Barcode", b"label", b"macro"):
        assert secret not in clean, secret
    with tifffile.TiffFile(source) as file:
        assert len(file.pages) == 4
        for page in file.pages[2:]:
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                assert _bytes(source, offset, count) not in clean
    with tifffile.TiffFile(target) as file:
        assert len(file.pages) == 2
        assert file.is_svs
        assert file.pages[0].description.split("|")[1:] == ["AppMag = 20", "MPP = 0.499"]
    info = inspect_isolated(target, name="x")
    assert info.scanner == {"make": "aperio", "objective_power": "20"}
    assert info.associated == ("thumbnail",)
    with OpenSlide(source) as before, OpenSlide(target) as after:
        pictures = [np.asarray(slide.associated_images["thumbnail"]) for slide in (before, after)]
        assert np.array_equal(*pictures)


def pyramid(path: Path, *, sub: bool, ome: bool = False, **options: object) -> Path:
    """Write three JPEG-free levels, then a label image, with secrets in descriptions and tags."""
    levels = [np.ascontiguousarray(PICTURE[:: 2**n, :: 2**n]) for n in range(3)]
    resolution = {"resolution": (25_400 / 0.5, 25_400 / 0.5), "resolutionunit": 2}
    if ome:
        options |= {"metadata": {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Name": SECRET.decode()}}
    else:
        options |= {"metadata": None, "description": SECRET.decode(), "extratags": TAGS}
    with tifffile.TiffWriter(path, **{k: options.pop(k) for k in ("bigtiff", "byteorder") if k in options}) as out:
        first = {"subifds": 2} if sub else {}
        out.write(levels[0], photometric="rgb", tile=(64, 64), compression="zlib", **first, **resolution, **options)
        for level in levels[1:]:
            out.write(level, photometric="rgb", tile=(64, 64), compression="zlib", subfiletype=1, metadata=None)
        more = {"metadata": {"axes": "YXS", "Name": "label " + SECRET.decode()}} if ome else {"metadata": None}
        out.write(LABEL, photometric="rgb", software="S " + SECRET.decode(), **more)
    with path.open("ab") as file:
        file.write(b"behind the end " + SECRET)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"sub": True},
        {"sub": False},
        {"sub": True, "bigtiff": True},
        {"sub": False, "byteorder": ">"},
        {"sub": True, "byteorder": ">", "bigtiff": True},
        {"sub": True, "ome": True},
        {"sub": True, "ome": True, "bigtiff": True},
    ],
    ids=str,
)
def test_tiffs_keep_their_tiles_and_lose_every_secret(tmp_path: Path, options: dict[str, bool]) -> None:
    source = pyramid(tmp_path / "a.tif", **options)
    assert source.read_bytes().count(SECRET) >= 3
    target = stripped(source, tmp_path / "b.tif")
    assert same_tiles(source, target) >= 35
    assert SECRET not in target.read_bytes()
    assert LABEL.tobytes() in source.read_bytes()
    assert LABEL[:5].tobytes() not in target.read_bytes()
    with tifffile.TiffFile(target) as file:
        assert len(file.series) == 1
        assert {tag.code for tag in file.pages[0].tags} <= {*range(254, 348), 32997}


def test_a_second_copy_is_the_same_and_so_is_a_copy_of_the_copy(tmp_path: Path) -> None:
    source = pyramid(tmp_path / "a.tif", sub=True)
    once, again, twice = (tmp_path / name for name in ("b", "c", "d"))
    for target in (once, again):
        deidentify(source, target, name="x")
    assert once.read_bytes() == again.read_bytes()
    deidentify(once, twice, name="x")
    assert same_tiles(once, twice) >= 35


def test_imagej_keeps_its_unit(tmp_path: Path) -> None:
    source = tmp_path / "a.tif"
    grey = np.ascontiguousarray(PICTURE[:, :, 0])
    tifffile.imwrite(
        source, grey, imagej=True, resolution=(2.0, 2.0), metadata={"unit": "micron", "Info": SECRET.decode()}
    )
    target = stripped(source, tmp_path / "b.tif")
    assert inspect_isolated(target, name="x").mpp == pytest.approx(0.5)
    assert SECRET not in target.read_bytes()


def test_parts_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, PICTURE, photometric="rgb", rowsperstrip=50, metadata=None)
    with tifffile.TiffFile(source, mode="r+b") as file:
        offsets = list(file.pages[0].dataoffsets)
        file.pages[0].tags["StripOffsets"].overwrite([file.pages[0].offset, *offsets[1:]])
    with pytest.raises(Invalid) as caught:
        deidentify_isolated(source, tmp_path / "b.tif", name="x")
    assert caught.value.code == "cannot_deidentify"


@pytest.mark.parametrize("kind", ["several planes", "mrxs", "png", "no image"])
def test_what_is_not_known_part_by_part_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "several planes":
        tifffile.imwrite(path, np.stack([PICTURE] * 3), photometric="rgb")
    elif kind == "mrxs":
        zipped(mirax_files(texture(256, 384)), path)
    elif kind == "png":
        path.write_bytes(png(PICTURE))
    else:
        path.write_bytes(b"text")
    with pytest.raises(Invalid) as caught:
        deidentify_isolated(path, tmp_path / "b", name="a")
    assert caught.value.code == ("unknown_format" if kind == "no image" else "cannot_deidentify")
    assert caught.value.hint


def everything(data: pydicom.Dataset) -> str:
    return "\n".join(str(element) for element in data.iterall()) + str(data.file_meta)


def test_dicom_loses_people_and_keeps_frames(tmp_path: Path) -> None:
    files = dicom_files(texture(256, 384))
    source = zipped(files, tmp_path / "a.zip")
    target = stripped(source, tmp_path / "b.zip")
    with zipfile.ZipFile(target) as bundle:
        copies = [pydicom.dcmread(io.BytesIO(bundle.read(name))) for name in bundle.namelist()]
    originals = [pydicom.dcmread(io.BytesIO(files[f"s1/{n}.dcm"])) for n in range(3)]
    assert [c.PixelData for c in copies] == [o.PixelData for o in originals]
    raw = target.read_bytes()
    for secret in (b"Doe", b"4711", b"19500102", b"20200304", b"A-99", b"SN-1", b"glass-1", b"LABEL", b"OVERVIEW"):
        assert secret in source.read_bytes() or any(secret in data for data in files.values()), secret
        assert secret not in raw, secret
    for copy, original in zip(copies, originals, strict=True):
        for uid in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"):
            assert copy[uid].value != original[uid].value
            assert str(original[uid].value) not in everything(copy)
        assert copy.PatientIdentityRemoved == "YES"
    assert len({c.StudyInstanceUID for c in copies}) == 1
    assert len({c.SOPInstanceUID for c in copies}) == 3


def test_one_dicom_file_stays_one_file_and_hidden_places_are_cleaned(tmp_path: Path) -> None:
    data = pydicom.dcmread(io.BytesIO(dicom_instance(texture(256, 384), mpp=0.5)))
    private = data.private_block(0x0011, "Acme", create=True)
    private.add_new(0x01, "LO", SECRET.decode())
    data.OpticalPathSequence[0].OpticalPathDescription = SECRET.decode()
    data.SharedFunctionalGroupsSequence[0].add_new(0x00104000, "LT", SECRET.decode())
    data.ImageComments = SECRET.decode()
    data.preamble = SECRET.ljust(128, b"\0")
    source = tmp_path / "a.dcm"
    data.save_as(source)
    assert source.read_bytes().count(SECRET) == 5
    target = stripped(source, tmp_path / "b.dcm")
    assert SECRET not in target.read_bytes()
    assert target.read_bytes()[128:132] == b"DICM"


def test_a_label_in_the_pixels_is_not_called_removed(tmp_path: Path) -> None:
    data = pydicom.dcmread(io.BytesIO(dicom_instance(texture(256, 384), mpp=0.5)))
    data.SpecimenLabelInImage = "YES"
    data.save_as(tmp_path / "a.dcm")
    with pytest.raises(Invalid) as caught:
        deidentify_isolated(tmp_path / "a.dcm", tmp_path / "b.dcm", name="a")
    assert caught.value.code == "cannot_deidentify"


@pytest.mark.parametrize("keyword", ["DimensionIndexSequence", "PerFrameFunctionalGroupsSequence"])
def test_a_kept_dicom_sequence_stored_as_unknown_is_refused_whole(tmp_path: Path, keyword: str) -> None:
    items = [pydicom.Dataset() for _ in range(2500)]
    for item in items:
        item.DimensionIndexPointer, item.DimensionDescriptionLabel = 0x0048021E, SECRET.decode()
    body = DicomBytesIO()
    body.is_little_endian = body.is_implicit_VR = True
    write_sequence(body, pydicom.DataElement(keyword, "SQ", pydicom.Sequence(items)), ["ascii"])
    assert len(body.getvalue()) >= 2**16
    data = pydicom.dcmread(io.BytesIO(dicom_instance(texture(256, 384), mpp=0.5)))
    data.add(pydicom.DataElement(keyword, "UN", body.getvalue()))
    data.save_as(tmp_path / "a.dcm")
    assert (tmp_path / "a.dcm").read_bytes().count(SECRET) == 2500
    _is_refused(tmp_path / "a.dcm", tmp_path / "b.dcm", keyword)


@pytest.mark.parametrize(
    ("keyword", "vr"),
    [("Manufacturer", "UN"), ("ImagedVolumeDepth", "UN"), ("Manufacturer", "UT"), ("ImagedVolumeWidth", "LO")],
)
def test_a_kept_dicom_element_of_another_kind_is_refused(tmp_path: Path, keyword: str, vr: str) -> None:
    text = SECRET.ljust(64) * (1024 if vr == "UN" else 1)
    data = pydicom.dcmread(io.BytesIO(dicom_instance(texture(256, 384), mpp=0.5)))
    data.add(pydicom.DataElement(keyword, vr, text if vr == "UN" else text.decode().strip()))
    data.save_as(tmp_path / "a.dcm")
    assert SECRET in (tmp_path / "a.dcm").read_bytes()
    _is_refused(tmp_path / "a.dcm", tmp_path / "b.dcm", keyword)


def test_an_element_of_another_kind_inside_a_sequence_is_refused(tmp_path: Path) -> None:
    data = pydicom.dcmread(io.BytesIO(dicom_instance(texture(256, 384), mpp=0.5)))
    measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.add(pydicom.DataElement("SliceThickness", "UN", SECRET.ljust(64) * 1024))
    data.save_as(tmp_path / "a.dcm")
    assert SECRET in (tmp_path / "a.dcm").read_bytes()
    _is_refused(tmp_path / "a.dcm", tmp_path / "b.dcm", "SliceThickness")


def _is_refused(source: Path, target: Path, word: str) -> None:
    with pytest.raises(Invalid, match=word) as caught:
        deidentify_isolated(source, target, name="a")
    assert caught.value.code == "cannot_deidentify"
    assert caught.value.hint
    assert not target.exists() or SECRET not in target.read_bytes()


def test_implicit_dicom_has_the_kinds_of_the_dictionary(tmp_path: Path) -> None:
    data = pydicom.dcmread(io.BytesIO(dicom_instance(texture(64, 64), mpp=0.5)))
    data.PixelData, data.PhotometricInterpretation = texture(64, 64).tobytes(), "RGB"
    data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    data.save_as(tmp_path / "a.dcm", implicit_vr=True, little_endian=True)
    target = stripped(tmp_path / "a.dcm", tmp_path / "b.dcm")
    assert pydicom.dcmread(target).PixelData == texture(64, 64).tobytes()
    assert b"Doe" not in target.read_bytes()


def test_real_dicom_keeps_its_pixels(shared_data: Path, tmp_path: Path) -> None:
    for source in sorted((shared_data / "wsi" / "dicom-wsi").rglob("*.dcm")):
        stripped(source, tmp_path / source.name)


def test_damaged_and_unusual_tiffs_end_as_the_same_image_or_as_invalid(shared_data: Path, tmp_path: Path) -> None:
    copied = 0
    for folder, step in (("image-unusual", 1), ("image-damaged", 4)):
        for source in sorted((shared_data / folder / "files").glob("*.tif*"))[::step]:
            target = tmp_path / "copy"
            target.unlink(missing_ok=True)
            try:
                deidentify_isolated(source, target, name="x")
            except Invalid:
                continue
            copied += 1
            try:
                with open_slide(source) as before:
                    expected = read_image(before)
            except Invalid:
                continue
            with open_slide(target) as after:
                assert np.array_equal(read_image(after), expected), source.name
    assert copied > 40


def test_the_source_is_untouched(tmp_path: Path) -> None:
    source = pyramid(tmp_path / "a.tif", sub=False)
    kept = tmp_path / "kept"
    shutil.copyfile(source, kept)
    deidentify(source, tmp_path / "b.tif", name="x")
    assert source.read_bytes() == kept.read_bytes()
    with Image.open(tmp_path / "b.tif") as second_opinion:
        assert np.array_equal(np.asarray(second_opinion), PICTURE)
