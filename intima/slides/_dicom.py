"""Know DICOM files; wsidicom, which takes a second to load, is loaded for the first of them."""

from collections.abc import Sequence
from pathlib import Path

from intima.slides._source import Source

HEAD_BYTES = 132


def is_dicom(head: bytes) -> bool:
    """Tell by the first 132 bytes."""
    return head[128:HEAD_BYTES] == b"DICM"


def recognises(_path: Path, head: bytes) -> bool:
    """Tell whether the file is a DICOM file of any kind."""
    return is_dicom(head)


def open_file(path: Path) -> Source:
    """Open a slide of one DICOM file. Raises Invalid as ``open_dicom``."""
    return open_dicom([path])


def open_dicom(paths: Sequence[Path]) -> Source:
    """Open the one slide whose instances the files hold; other DICOM files beside them are passed over.

    Raises:
        Invalid: no slide ("unsupported_image"), several ("several_slides"), an instance that cannot be read.
    """
    from intima.slides._dicom_slide import open_instances

    return open_instances(paths)
