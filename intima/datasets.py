"""Use case: a zip of images, masks and a manifest -> a stored dataset, or the case that is wrong."""

import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from intima.arrays import Json
from intima.contracts.dataset import CaseSpec, Dataset, DatasetManifest, Similarity, SimilarPair, StoredCase
from intima.errors import Invalid
from intima.leakage import External, not_compared
from intima.likeness import (
    Fingerprint,
    Likeness,
    find_copies,
    find_copies_between,
    find_overlaps,
    pack_fingerprints,
    unpack_fingerprints,
)
from intima.slides.isolation import CaseFiles, CaseReport, inspect_cases_isolated
from intima.store import catalog
from intima.store.keys import json_sha256, new_id
from intima.store.storage import Storage

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 2**20
MAX_UNPACKED_BYTES = 8 * 2**30
MAX_ENTRIES = 40_000
MOST_OVERLAP_PAIRS = 20_000
"""Pairs of images of different subjects among which overlaps are looked for: 200 subjects of one image, 40 s."""
MOST_NAMED = 20
"""Pairs that warnings name."""
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class ImportedDataset:
    """A stored dataset and what its owner should know."""

    dataset: Dataset
    warnings: tuple[str, ...]


def import_dataset(archive: Path, storage: Storage) -> ImportedDataset:
    """Check every case of an uploaded zip completely, and store the dataset.

    Images and masks are decoded in a limited child process. Nothing is stored when one case is wrong.

    Raises:
        Invalid: no zip, a bad manifest, a missing or unreadable file, a mask that does not fit its image or the
            classes, the same image twice, too many images alike; names the case.
    """
    with _opened(archive) as bundle, TemporaryDirectory(prefix="intima-dataset-") as folder:
        manifest = _manifest(bundle)
        _check_names(bundle, manifest)
        return import_cases(manifest, _unpack(bundle, manifest, Path(folder)), storage)


def import_cases(manifest: DatasetManifest, files: Sequence[CaseFiles], storage: Storage) -> ImportedDataset:
    """Check the files of every case of a manifest, and store the dataset. Raises Invalid as ``import_dataset`` does."""
    reports = inspect_cases_isolated(files)
    sizes = [_checked(manifest, i, case, reports[i]) for i, case in enumerate(manifest.cases)]
    cases = [_store(storage, case, pair, size) for case, pair, size in zip(manifest.cases, files, sizes, strict=True)]
    _refuse_duplicates(cases, [report.pixels_sha256 for report in sizes])
    dataset = _dataset(manifest, tuple(cases)).model_copy(update={"similarity": _compare(storage, cases, sizes)})
    with storage.writing() as connection:
        stored = catalog.add_dataset(connection, dataset)
    return ImportedDataset(stored, (*_warnings(manifest, sizes), *_similarity_warnings(stored)))


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as bundle:
            _check_entries(bundle.infolist())
            yield bundle
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise Invalid(
            f"The file is not a zip that can be read: {error}",
            code="bad_zip",
            hint="Send a plain, unencrypted zip with manifest.json, images and masks.",
            pointer="/file",
        ) from error


def _check_entries(entries: Sequence[zipfile.ZipInfo]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise Invalid(f"Got {len(entries)} files in the zip; the limit is {MAX_ENTRIES}.", code="too_large")
    if any(e.header_offset < 0 for e in entries):
        raise Invalid("The zip has an entry outside the file.", code="bad_zip", pointer="/file")
    strange = next((e for e in entries if e.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}), None)
    if strange is not None:
        raise Invalid(
            f"{strange.filename!r} is compressed in a way other than deflate.",
            code="bad_zip",
            hint="Make a plain zip (stored or deflated).",
            pointer="/file",
        )


def _manifest(bundle: zipfile.ZipFile) -> DatasetManifest:
    if MANIFEST not in bundle.namelist():
        raise Invalid(
            "The zip has no manifest.json at its top.",
            code="no_manifest",
            hint="Put manifest.json beside the folders of images and masks, not inside a folder.",
            pointer="/file",
        )
    text = _read_limited(bundle, MANIFEST, MAX_MANIFEST_BYTES)
    try:
        return DatasetManifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        pointer = "".join(f"/{part}" for part in first["loc"])
        raise Invalid(f"manifest.json{pointer}: {first['msg']}", code="bad_manifest", pointer=pointer) from error


def _read_limited(bundle: zipfile.ZipFile, name: str, limit: int) -> bytes:
    with bundle.open(name) as source:
        data = source.read(limit + 1)
    if len(data) > limit:
        raise Invalid(f"{name} is larger than {limit} bytes.", code="too_large", pointer="/file")
    return data


def _check_names(bundle: zipfile.ZipFile, manifest: DatasetManifest) -> None:
    present = set(bundle.namelist())
    seen: set[str] = set()
    for position, case in enumerate(manifest.cases):
        for field, name in (("image", case.image), ("mask", case.mask)):
            if name not in present:
                raise Invalid(
                    f"Case {position} names {name!r}, which is not in the zip.",
                    code="missing_file",
                    hint="Names in the manifest are paths inside the zip, with / and the same capitals.",
                    pointer=f"/cases/{position}/{field}",
                )
        if case.image in seen:
            raise Invalid(f"Image {case.image!r} is named twice.", pointer=f"/cases/{position}/image")
        seen.add(case.image)


def _unpack(bundle: zipfile.ZipFile, manifest: DatasetManifest, folder: Path) -> list[CaseFiles]:
    """Write the named members under names of our own; paths of the zip never become paths on disk."""
    left = MAX_UNPACKED_BYTES
    files = []
    for position, case in enumerate(manifest.cases):
        image, mask = folder / f"{position}-image", folder / f"{position}-mask"
        left = _extract(bundle, case.image, image, left)
        left = _extract(bundle, case.mask, mask, left)
        files.append(CaseFiles(image=image, mask=mask, image_name=case.image, mask_name=case.mask))
    return files


def _extract(bundle: zipfile.ZipFile, name: str, target: Path, left: int) -> int:
    with bundle.open(name) as source, target.open("wb") as out:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise Invalid(f"The zip unpacks to more than {MAX_UNPACKED_BYTES} bytes.", code="too_large")
            out.write(chunk)
    return left


def _checked(manifest: DatasetManifest, position: int, case: CaseSpec, report: CaseReport | Invalid) -> CaseReport:
    at = f"/cases/{position}"
    if isinstance(report, Invalid):
        raise Invalid(
            f"Case {position} ({case.image}): {report.message}", code=report.code, hint=report.hint, pointer=at
        )
    known = {c.index for c in manifest.classes}
    strange = sorted(set(report.pixels) - known)
    if strange:
        raise Invalid(
            f"Mask {case.mask!r} holds value {strange[0]}; the manifest's classes are {sorted(known)}.",
            code="unknown_class",
            hint="Mask pixels are class indices. Add the class to the manifest or correct the mask.",
            pointer=f"{at}/mask",
        )
    return report


def _store(storage: Storage, case: CaseSpec, files: CaseFiles, report: CaseReport) -> StoredCase:
    return StoredCase(
        case=case.image,
        subject=case.subject,
        block=case.block,
        section=case.section,
        mpp=case.mpp if case.mpp is not None else report.image.mpp,
        width=report.size.width,
        height=report.size.height,
        image_sha256=storage.blobs.put_file(files.image),
        mask_sha256=storage.blobs.put_file(files.mask),
    )


def _refuse_duplicates(cases: Sequence[StoredCase], pixels_sha256: Sequence[str]) -> None:
    """The same pixels twice would stand on both sides of a split."""
    first: dict[str, str] = {}
    for position, (case, pixels) in enumerate(zip(cases, pixels_sha256, strict=True)):
        other = first.setdefault(pixels, case.case)
        if other != case.case:
            raise Invalid(
                f"Images {other!r} and {case.case!r} show the same pixels.",
                code="duplicate_image",
                hint="Keep one of them: a copy on both sides of a split makes scores too good.",
                pointer=f"/cases/{position}/image",
            )


def _compare(storage: Storage, cases: Sequence[StoredCase], reports: Sequence[CaseReport]) -> Similarity:
    """Look for images of different subjects that show the same tissue; those of one subject stay on one side anyway.

    Raises:
        Invalid: too many images are alike.
    """
    prints, subjects = [report.fingerprint for report in reports], [case.subject for case in cases]
    count = math.comb(len(subjects), 2) - sum(math.comb(n, 2) for n in Counter(subjects).values())
    few = count <= MOST_OVERLAP_PAIRS
    pairs = [(i, j) for i, j in combinations(range(len(cases) if few else 0), 2) if subjects[i] != subjects[j]]
    found = {(f.a, f.b): f for f in [*find_overlaps(prints, pairs), *find_copies_between(prints, subjects)]}
    return Similarity(
        pairs=tuple(_similar_pair(cases, found[key]) for key in sorted(found)),
        compared=count,
        overlaps_searched=few,
        fingerprints_sha256=storage.blobs.put(pack_fingerprints(prints)),
    )


def compare_with_external(storage: Storage, dataset: Dataset, external: Dataset) -> External:
    """Compare every image of two stored datasets.

    Raises:
        Invalid: one was stored before images were compared, or there are too many pairs.
    """
    count = len(dataset.cases) * len(external.cases)
    if count > MOST_OVERLAP_PAIRS:
        raise Invalid(
            f"The two datasets make {count} pairs of images; at most {MOST_OVERLAP_PAIRS} are compared.",
            code="too_many_pairs",
            hint="Take a part of the external dataset.",
            pointer="/external_dataset",
        )
    ours = _fingerprints(storage, dataset, pointer="/dataset")
    theirs = _fingerprints(storage, external, pointer="/external_dataset")
    pairs = [(i, len(ours) + j) for i in range(len(ours)) for j in range(len(theirs))]
    cases = (*dataset.cases, *external.cases)
    found = {(f.a, f.b): f for f in [*find_overlaps([*ours, *theirs], pairs), *find_copies([*ours, *theirs], pairs)]}
    return External(external, tuple(_similar_pair(cases, found[key]) for key in sorted(found)))


def _fingerprints(storage: Storage, dataset: Dataset, *, pointer: str) -> list[Fingerprint]:
    if dataset.similarity is None:
        raise not_compared(dataset, pointer=pointer)
    return unpack_fingerprints(storage.blobs.read(dataset.similarity.fingerprints_sha256))


def _similar_pair(cases: Sequence[StoredCase], found: Likeness) -> SimilarPair:
    return SimilarPair(
        a=cases[found.a].case,
        b=cases[found.b].case,
        kind=found.kind,
        score=round(found.score, 4),
        share=round(found.share, 4),
        view=found.view,
        offset_px=(round(found.offset_px[0], 1), round(found.offset_px[1], 1)),
    )


def _similarity_warnings(dataset: Dataset) -> Iterator[str]:
    similarity = dataset.similarity
    if similarity is None:
        return
    for pair in similarity.pairs[:MOST_NAMED]:
        yield f"{pair.a!r} and {pair.b!r} are of two subjects and show the same tissue ({pair.kind}, {pair.score:.2f})."
    if len(similarity.pairs) > MOST_NAMED:
        yield f"{len(similarity.pairs) - MOST_NAMED} more pairs show the same tissue: see similarity.pairs."
    if not similarity.overlaps_searched:
        yield (
            f"{similarity.compared} pairs of images are more than {MOST_OVERLAP_PAIRS}: overlapping fields of view were"
            " not looked for, copies were."
        )


def _dataset(manifest: DatasetManifest, cases: tuple[StoredCase, ...]) -> Dataset:
    body: Json = {
        "name": manifest.name,
        "licence": manifest.licence,
        "classes": [c.model_dump(mode="json") for c in manifest.classes],
        "cases": [c.model_dump(mode="json") for c in cases],
    }
    return Dataset.model_validate({"id": new_id("dst"), "version": json_sha256(body), **body})


def _warnings(manifest: DatasetManifest, reports: Sequence[CaseReport]) -> Iterator[str]:
    subjects = {c.subject for c in manifest.cases}
    if len(subjects) < 3:
        yield f"Only {len(subjects)} subject(s): most protocols need 3 or more."
    if any(c.mpp is None and r.image.mpp is None for c, r in zip(manifest.cases, reports, strict=True)):
        yield "Some cases state no pixel size: lengths are scored in pixels and models work in pixels."
    present = {index for r in reports for index in r.pixels}
    for spec in manifest.classes:
        if spec.index not in present:
            yield f"No mask shows class {spec.name!r}."
