"""Use case: corrected masks -> a dataset that models are trained and benchmarked on.

A case is the working image of a slide, at the pixel size of the model whose mask was corrected, with the corrected mask
read under the centre of each of its pixels. Its subject is the slide's: it is never guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from intima.contracts.correction import CorrectedDatasetRequest
from intima.contracts.dataset import CaseSpec, ClassSpec, DatasetManifest
from intima.contracts.segmentation import SegmentationResult, SegmentPayload
from intima.corrections import WORKING_IMAGE, WORKING_MASK
from intima.datasets import ImportedDataset, import_cases
from intima.errors import Invalid
from intima.slides.isolation import CaseFiles
from intima.store.storage import Storage


@dataclass(frozen=True, slots=True)
class CorrectedMask:
    """A correction whose files are there."""

    id: str
    payload: SegmentPayload
    result: SegmentationResult
    classes: tuple[ClassSpec, ...]


def import_corrections(
    storage: Storage, request: CorrectedDatasetRequest, masks: Sequence[CorrectedMask]
) -> ImportedDataset:
    """Store corrected masks as a dataset, checked and compared as an upload is.

    Args:
        storage: where.
        request: name, licence, and what was asked for.
        masks: in the order of the request.

    Raises:
        Invalid: a slide without a subject, masks of different classes, a slide twice, a working image too large.
    """
    seen: set[str] = set()
    for position, mask in enumerate(masks):
        _check(mask, masks[0], position)
        if mask.id in seen:
            at = f"/segmentations/{position}"
            raise Invalid(f"{mask.id} is named twice.", code="duplicate_image", hint="Name it once.", pointer=at)
        seen.add(mask.id)
    manifest = DatasetManifest(
        name=request.name,
        licence=request.licence,
        classes=masks[0].classes,
        cases=tuple(_case(mask, position) for position, mask in enumerate(masks)),
    )
    return import_cases(manifest, [_files(storage, mask) for mask in masks], storage)


def _check(mask: CorrectedMask, first: CorrectedMask, position: int) -> None:
    at = f"/segmentations/{position}"
    if mask.classes != first.classes:
        raise Invalid(
            f"{mask.id} has other classes than {first.id}.",
            code="other_classes",
            hint="Make one dataset for each set of classes.",
            pointer=at,
        )
    if not {WORKING_IMAGE, WORKING_MASK} <= {a.name for a in mask.result.artefacts}:
        raise Invalid(
            f"The working image of {mask.id} is too large for a case of a dataset.",
            code="image_too_large",
            hint="Segment and correct a region of the slide.",
            pointer=at,
        )


def _case(mask: CorrectedMask, position: int) -> CaseSpec:
    subject = mask.payload.subject
    if subject is None:
        raise Invalid(
            f"The slide of {mask.id}, {mask.payload.slide_name!r}, has no subject, and folds are drawn by subject.",
            code="missing_subject",
            hint="Upload the slide with its subject (form field subject: animal or patient), and segment it again.",
            pointer=f"/segmentations/{position}",
        )
    mpp = mask.result.provenance.get("working_mpp")
    return CaseSpec(
        image=f"{mask.id}.png",
        mask=f"{mask.id}-mask.png",
        subject=subject,
        section=mask.payload.slide_name,
        mpp=mpp if isinstance(mpp, float) else None,
    )


def _files(storage: Storage, mask: CorrectedMask) -> CaseFiles:
    blobs = {a.name: storage.blobs.path(a.sha256) for a in mask.result.artefacts if a.name.startswith("working_")}
    return CaseFiles(
        image=blobs[WORKING_IMAGE],
        mask=blobs[WORKING_MASK],
        image_name=f"{mask.id}.png",
        mask_name=f"{mask.id}-mask.png",
    )
