"""De-identify DICOM instances: technical attributes are kept, all others go, UIDs are replaced."""

from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from intima.slides._guard import cannot_deidentify

_PIXELS = (
    "SOPClassUID ImageType Modality Manufacturer ManufacturerModelName TotalPixelMatrixColumns "
    "TotalPixelMatrixRows TotalPixelMatrixFocalPlanes TotalPixelMatrixOriginSequence ImagedVolumeWidth "
    "ImagedVolumeHeight ImagedVolumeDepth ImageOrientationSlide Rows Columns NumberOfFrames SamplesPerPixel "
    "PhotometricInterpretation PlanarConfiguration BitsAllocated BitsStored HighBit PixelRepresentation "
    "LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod DimensionOrganizationType "
    "DimensionOrganizationSequence DimensionIndexSequence SharedFunctionalGroupsSequence "
    "PerFrameFunctionalGroupsSequence NumberOfOpticalPaths OpticalPathSequence FocusMethod ExtendedDepthOfField "
    "NumberOfFocalPlanes DistanceBetweenFocalPlanes VolumetricProperties SpecimenLabelInImage BurnedInAnnotation "
    "InstanceNumber PixelData ExtendedOffsetTable ExtendedOffsetTableLengths ConcatenationFrameOffsetNumber "
    "InConcatenationNumber InConcatenationTotalNumber"
)
_NESTED = (
    "XOffsetInSlideCoordinateSystem YOffsetInSlideCoordinateSystem ZOffsetInSlideCoordinateSystem "
    "PixelMeasuresSequence PixelSpacing SliceThickness SpacingBetweenSlices "
    "WholeSlideMicroscopyImageFrameTypeSequence FrameType OpticalPathIdentificationSequence OpticalPathIdentifier "
    "ObjectiveLensPower ObjectiveLensNumericalAperture IlluminationTypeCodeSequence IlluminationColorCodeSequence "
    "IlluminationWaveLength CodeValue CodingSchemeDesignator CodeMeaning ICCProfile ColorSpace "
    "PlanePositionSlideSequence ColumnPositionInTotalImagePixelMatrix RowPositionInTotalImagePixelMatrix "
    "FrameContentSequence DimensionIndexValues DimensionIndexPointer FunctionalGroupPointer "
    "DimensionOrganizationSequence DimensionOrganizationUID"
)
_TOP, _INSIDE = frozenset(_PIXELS.split()), frozenset(_NESTED.split())
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID", "ConcatenationUID")
_METHOD = "Intima: only technical attributes and pixels of the slide kept"


def deidentify_instance(source: Path, target: Path) -> bool:
    """Write a copy without patient, study and specimen; a label, overview or thumbnail is left out (False).

    Raises:
        Invalid: the pixels themselves are said to show a label or text, or a kept element is not of the kind that
            DICOM's dictionary says (unknown, UN, may hold anything).
    """
    data = pydicom.dcmread(source)
    kind = tuple(data.get("ImageType") or ())
    if len(kind) < 3 or kind[2] != "VOLUME":
        return False
    if data.get("BurnedInAnnotation") == "YES" or data.get("SpecimenLabelInImage") == "YES":
        raise cannot_deidentify("DICOM with a label or text in its pixels", "Cut the label out of the image first.")
    _clean(data).save_as(target, enforce_file_format=True)
    return True


def _clean(data: Dataset) -> Dataset:
    clean = _kept(data, _TOP)
    for keyword in _UIDS:
        if keyword in data:
            setattr(clean, keyword, _replaced(data[keyword].value))
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"):
        setattr(clean, keyword, "")
    clean.ContainerIdentifier = "removed"
    clean.PatientIdentityRemoved, clean.DeidentificationMethod = "YES", _METHOD
    clean.file_meta = pydicom.dataset.FileMetaDataset()
    clean.file_meta.MediaStorageSOPClassUID = clean.SOPClassUID
    clean.file_meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    clean.file_meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    return clean


def _kept(data: Dataset, names: frozenset[str]) -> Dataset:
    """Return the elements of these names; sequences are cleaned inside. Raises Invalid for one of another kind."""
    clean = Dataset()
    for element in _elements(data, names):
        _check_kind(element)
        if element.VR == "SQ":
            setattr(clean, element.keyword, [_kept(item, _INSIDE) for item in element.value])
        elif element.keyword == "DimensionOrganizationUID":
            clean.DimensionOrganizationUID = _replaced(element.value)
        else:
            clean.add(element)
    return clean


def _check_kind(element: pydicom.DataElement) -> None:
    """Refuse an element whose value representation is not the dictionary's or one of its choices. Raises Invalid."""
    stated, expected = str(element.VR), dictionary_VR(element.tag)
    if stated not in (expected, *expected.split(" or ")):
        what = f"DICOM whose {element.keyword} is stored as {stated}, not {expected}"
        raise cannot_deidentify(what, "Write the file anew with the value representations of DICOM's dictionary.")


def _elements(data: Dataset, names: frozenset[str]) -> Iterator[pydicom.DataElement]:
    return (element for element in data if element.keyword in names)


def _replaced(uid: str) -> UID:
    """Return another UID, the same one for the same UID, so that the files of one slide still belong together."""
    return generate_uid(entropy_srcs=["intima", str(uid)])
