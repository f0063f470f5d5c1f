"""Slides of several files, made for tests: MIRAX by its published layout, DICOM by pydicom."""

import io
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

SLIDE_ID = "0123456789abcdef"
ROOT = "1.2.826.0.1.3680043.8.498"


def texture(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Return a smooth colour image whose every place looks different."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin((x * a + y * b) / 37 + seed) for a, b in ((1, 0.3), (0.2, 1), (0.7, -0.6))]
    return (127.5 + 110 * np.stack(waves, 2)).astype(np.uint8)


def zipped(files: dict[str, bytes], path: Path, *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write files into a zip."""
    with zipfile.ZipFile(path, "w", compression) as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
    return path


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def mirax_files(
    pixels: np.ndarray,
    *,
    tile_px: int = 64,
    levels: int = 2,
    label: bool = True,
    name: str = "case",
    mpp: float = 0.25,
    first_tile: tuple[int, int] = (0, 0),
) -> dict[str, bytes]:
    """Return the files of a MIRAX slide of PNG tiles, each level half the one before, by name.

    ``first_tile`` is the row and column of the first tile that was scanned.
    """
    rows, columns = pixels.shape[0] // tile_px, pixels.shape[1] // tile_px
    data, hier = bytearray(), []
    for level in range(levels):
        step = 2**level
        small = pixels[::step, ::step]
        records = []
        for y in range(0, rows, step):
            for x in range(0, columns, step):
                if y < first_tile[0] or x < first_tile[1]:
                    continue
                tile = small[y // step * tile_px :, x // step * tile_px :][:tile_px, :tile_px]
                blob = png(tile)
                records.append((y * columns + x, len(data), len(blob), 0))
                data += blob
        hier.append(records)
    record = (len(data), 0)
    if label:
        blob = imagecodecs.jpeg8_encode(texture(40, 60, seed=5), level=90)
        record = (len(data), len(blob))
        data += blob
    index = _mirax_index(hier, record if label else None)
    return {
        f"{name}.mrxs": b"",
        f"{name}/Slidedat.ini": _slidedat(rows, columns, levels=levels, tile_px=tile_px, label=label, mpp=mpp),
        f"{name}/Index.dat": index,
        f"{name}/Data0000.dat": bytes(data),
    }


def _mirax_index(hier: list[list[tuple[int, int, int, int]]], label: tuple[int, int] | None) -> bytes:
    head = b"01.02" + SLIDE_ID.encode()
    body = bytearray()
    start = len(head) + 8

    def put(*values: int) -> int:
        at = start + len(body)
        body.extend(struct.pack(f"<{len(values)}i", *values))
        return at

    entries = []
    for records in hier:
        page = put(len(records), 0, *(v for record in records for v in record))
        entries.append(put(0, page))
    hier_root = put(*entries)
    nonhier_root = 0
    if label is not None:
        page = put(1, 0, 0, 0, label[0], label[1], 0)
        nonhier_root = put(put(0, page))
    return head + struct.pack("<ii", hier_root, nonhier_root) + bytes(body)


def _slidedat(rows: int, columns: int, *, levels: int, tile_px: int, label: bool, mpp: float) -> bytes:
    lines = ["[GENERAL]", "SLIDE_VERSION = 02.02", f"SLIDE_ID = {SLIDE_ID}", "SLIDE_NAME = C:\\who\\Jane Doe"]
    lines += [f"IMAGENUMBER_X = {columns}", f"IMAGENUMBER_Y = {rows}", "OBJECTIVE_MAGNIFICATION = 20"]
    lines += ["CameraImageDivisionsPerSide = 1", "[HIERARCHICAL]", "INDEXFILE = Index.dat", "HIER_COUNT = 1"]
    lines += ["HIER_0_NAME = Slide zoom level", f"HIER_0_COUNT = {levels}", f"NONHIER_COUNT = {int(label)}"]
    lines += [f"HIER_0_VAL_{i}_SECTION = LAYER_0_LEVEL_{i}_SECTION" for i in range(levels)]
    if label:
        lines += ["NONHIER_0_NAME = Scan data layer", "NONHIER_0_COUNT = 1"]
        lines += ["NONHIER_0_VAL_0 = ScanDataLayer_SlideBarcode", "NONHIER_0_VAL_0_SECTION = BARCODE"]
    lines += ["[DATAFILE]", "FILE_COUNT = 1", "FILE_0 = Data0000.dat"]
    for i in range(levels):
        lines += [f"[LAYER_0_LEVEL_{i}_SECTION]", "OVERLAP_X = 0", "OVERLAP_Y = 0"]
        lines += [f"MICROMETER_PER_PIXEL_{axis} = {mpp * 2**i}" for axis in "XY"]
        lines += ["IMAGE_FORMAT = PNG", "IMAGE_FILL_COLOR_BGR = 16777215", f"DIGITIZER_WIDTH = {tile_px}"]
        lines += [f"DIGITIZER_HEIGHT = {tile_px}", f"IMAGE_CONCAT_FACTOR = {min(1, i)}"]
    if label:
        lines += ["[BARCODE]", "BARCODE_IMAGE_TYPE = JPEG"]
    return ("\r\n".join(lines) + "\r\n").encode()


def dicom_instance(
    pixels: np.ndarray,
    *,
    mpp: float,
    kind: Sequence[str] = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE"),
    slide: int = 1,
    instance: int = 1,
    tile_px: int = 64,
    patient: str = "Doe^Jane",
    quality: int = 90,
) -> bytes:
    """Return one VL Whole Slide Microscopy instance of JPEG frames (TILED_FULL); a label is one frame."""
    height, width = pixels.shape[:2]
    tile = (tile_px, tile_px) if kind[2] == "VOLUME" else (height, width)
    frames = [imagecodecs.jpeg8_encode(t, level=quality, subsampling="444") for t in tiles_of(pixels, *tile)]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"{ROOT}.{slide}.9.{instance}")
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = patient, "4711", "19500102", "F"
    data.StudyDate, data.AccessionNumber, data.StudyID = "20200304", "A-99", "1"
    data.StudyInstanceUID, data.FrameOfReferenceUID = f"{ROOT}.{slide}.1", f"{ROOT}.{slide}.3"
    data.SeriesInstanceUID = f"{ROOT}.{slide}.2.{kind[2] != 'VOLUME'}".replace("True", "1").replace("False", "2")
    data.Modality, data.Manufacturer, data.ManufacturerModelName = "SM", "Acme", "Scan 9"
    data.DeviceSerialNumber, data.ContainerIdentifier, data.InstanceNumber = "SN-1", f"glass-{slide}", instance
    data.ImageType, data.BurnedInAnnotation = list(kind), "YES" if kind[2] == "LABEL" else "NO"
    data.Rows, data.Columns = tile
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows, data.NumberOfFrames = width, height, len(frames)
    data.DimensionOrganizationType, data.TotalPixelMatrixFocalPlanes = "TILED_FULL", 1
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "YBR_FULL_422", 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.ImagedVolumeWidth, data.ImagedVolumeHeight, data.ImagedVolumeDepth = width * mpp / 1e3, height * mpp / 1e3, 1
    data.FocusMethod, data.ExtendedDepthOfField, data.SpecimenLabelInImage = "AUTO", "NO", "NO"
    data.LossyImageCompression = "01"
    measures, functional, origin, path = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [mpp / 1e3, mpp / 1e3], 0.001
    functional.PixelMeasuresSequence = DicomSequence([measures])
    data.SharedFunctionalGroupsSequence = DicomSequence([functional])
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 0, 0
    data.TotalPixelMatrixOriginSequence = DicomSequence([origin])
    data.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    path.OpticalPathIdentifier, path.ObjectiveLensPower = "0", 20
    data.NumberOfOpticalPaths, data.OpticalPathSequence = 1, DicomSequence([path])
    data.PixelData = encapsulate(frames)
    data["PixelData"].is_undefined_length = True
    return _written(data)


def as_other_kind(instance: bytes) -> bytes:
    """Return the instance as a file of another kind than a slide (an encapsulated PDF by its class)."""
    data = pydicom.dcmread(io.BytesIO(instance))
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.104.1")
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    del data.PixelData
    return _written(data)


def tiles_of(pixels: np.ndarray, height: int, width: int) -> list[np.ndarray]:
    """Cut into tiles row by row, the last ones padded by white."""
    down, across = -(-pixels.shape[0] // height), -(-pixels.shape[1] // width)
    canvas = np.full((down * height, across * width, 3), 255, np.uint8)
    canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
    return [canvas[y * height :, x * width :][:height, :width].copy() for y in range(down) for x in range(across)]


def dicom_files(pixels: np.ndarray, *, slide: int = 1, mpp: float = 0.5, levels: int = 3) -> dict[str, bytes]:
    """Return the files of a DICOM slide with its levels, label and overview, by name."""
    files = {}
    for level in range(levels):
        kind = ("ORIGINAL" if level == 0 else "DERIVED", "PRIMARY", "VOLUME", "NONE" if level == 0 else "RESAMPLED")
        small = pixels[:: 2**level, :: 2**level]
        data = dicom_instance(small, mpp=mpp * 2**level, kind=kind, slide=slide, instance=level + 1)
        files[f"s{slide}/{level}.dcm"] = data
    for number, name in enumerate(("LABEL", "OVERVIEW"), start=levels + 1):
        kind = ("ORIGINAL", "PRIMARY", name, "NONE")
        picture = texture(48, 64, seed=number)
        files[f"s{slide}/{name}.dcm"] = dicom_instance(picture, mpp=20.0, kind=kind, slide=slide, instance=number)
    return files


def _written(data: Dataset) -> bytes:
    out = io.BytesIO()
    data.save_as(out, enforce_file_format=True)
    return out.getvalue()
