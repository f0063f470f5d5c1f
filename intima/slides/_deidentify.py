"""A copy of a slide without label, further images and identifying fields, checked against the slide."""

import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from intima.errors import Invalid
from intima.geometry import Region
from intima.slides import _archive, _bundle
from intima.slides._deidentify_dicom import deidentify_instance
from intima.slides._deidentify_tiff import deidentify_tiff
from intima.slides._guard import cannot_deidentify
from intima.slides._scratch import scratch_folder
from intima.slides.opening import Slide, open_slide

_TIFFS = ("svs", "tiff", "bigtiff", "ome-tiff")
_PROBE_PX = 256
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def deidentify(source: Path, target: Path, *, name: str) -> None:
    """Write a copy of a slide that has the same pixels and names nobody.

    Raises:
        Invalid: "cannot_deidentify" for a format or file whose every part is not known well enough.
    """
    with open_slide(source, name=name) as slide:
        info = slide.info
    if info.format in _TIFFS:
        deidentify_tiff(source, target)
    elif info.format == "dicom":
        _deidentify_dicom(source, target)
    else:
        raise cannot_deidentify(f"{info.format} files", "SVS, TIFF, OME-TIFF and DICOM can be.")
    try:
        with open_slide(source) as slide, open_slide(target) as copy:
            _check_same(slide, copy)
    except Invalid as error:
        raise cannot_deidentify(
            "this file", "Its copy is no whole slide. Save it as a pyramidal TIFF first."
        ) from error


def _deidentify_dicom(source: Path, target: Path) -> None:
    if not _archive.is_zip(source):
        deidentify_instance(source, target)
        return
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        out = stack.enter_context(zipfile.ZipFile(target, "w", zipfile.ZIP_STORED))
        for number, path in enumerate(_bundle.unpack_dicom(source, folder)):
            cleaned = folder / "clean.dcm"
            if deidentify_instance(path, cleaned):
                _add(out, f"{number}.dcm", cleaned)
            path.unlink()


def _add(out: zipfile.ZipFile, name: str, path: Path) -> None:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.file_size = path.stat().st_size
    with path.open("rb") as file, out.open(entry, "w") as inside:
        while chunk := file.read(2**20):
            inside.write(chunk)


def _check_same(slide: Slide, copy: Slide) -> None:
    """Make sure that the copy has the same frame and pixels, and no further image but a thumbnail. Raises Invalid."""
    one, two = slide.info, copy.info
    mpp = (one.mpp or 0.0, two.mpp or 0.0)
    same = (one.format, slide.levels) == (two.format, copy.levels) and abs(mpp[0] - mpp[1]) <= 1e-5 * mpp[0]
    if not same or not {*two.associated} <= {"thumbnail"}:
        raise Invalid("The copy does not show the same slide.")
    for level, size in enumerate(slide.levels):
        region = Region(size.width // 2, size.height // 2, min(_PROBE_PX, size.width), min(_PROBE_PX, size.height))
        if not np.array_equal(slide.read_level(level, region), copy.read_level(level, region)):
            raise Invalid("The copy does not show the same pixels.")
