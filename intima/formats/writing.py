"""Write the files of a result into the store."""

from typing import BinaryIO

from intima.contracts.segmentation import Artefact, SegmentationResult
from intima.formats import FORMATS
from intima.formats._result import Format, NotWritten, ResultArrays
from intima.store.storage import Storage
from intima.store.work import Report


def write_artefacts(
    result: SegmentationResult, *, images: ResultArrays, storage: Storage, report: Report
) -> SegmentationResult:
    """Return the result with its artefacts and what they warn of; one that cannot be written is left out and said so.

    Each writer is given the warnings of those before it.

    Raises:
        StorageFull: no room for them.
    """
    for name, form in FORMATS.items():
        if form.of_uncertainty and result.uncertainty is None:
            continue
        report(0.95, f"writing {name}")
        result = _with_artefact(result, name, form, images=images, storage=storage)
    return result


def _with_artefact(
    result: SegmentationResult, name: str, form: Format, *, images: ResultArrays, storage: Storage
) -> SegmentationResult:
    notes: list[str] = []

    def write(out: BinaryIO) -> None:
        notes[:] = form.write(images, result, out) or ()

    try:
        sha256 = storage.blobs.put_written(write)
    except NotWritten as error:
        return result.model_copy(update={"warnings": (*result.warnings, f"There is no {name}: {error}.")})
    made = Artefact(name=name, sha256=sha256, bytes=storage.blobs.size(sha256), media_type=form.media_type)
    return result.model_copy(update={"artefacts": (*result.artefacts, made), "warnings": (*result.warnings, *notes)})
