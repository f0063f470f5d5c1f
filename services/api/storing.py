"""Files that become slides by another way than as they come: without what names a patient, or out of an upload."""

from contextlib import suppress
from functools import partial
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from intima.contracts.upload import IntendedSlide, SlideChoices, UploadRecord
from intima.errors import Conflict, NotFound
from intima.slides.isolation import deidentify_isolated
from intima.store import catalog
from intima.store.catalog import StoredSlide
from intima.store.keys import new_id
from intima.store.resumable import OpenUpload, StoredUpload
from services.api.dependencies import State
from services.api.segmenting import store_slide
from services.api.uploads import Spooled, check_sha256_of

_SUFFIXES = {".svs", ".tif", ".tiff", ".dcm", ".zip"}


def store_deidentified(
    state: State, path: Path, *, name: str, mpp: float | None, subject: str | None, slide_id: str | None = None
) -> StoredSlide:
    """Store a copy without label, further images and identifying fields, under a name of our own."""
    with TemporaryDirectory(prefix="intima-deidentified-") as folder:
        out = Path(folder) / "slide"
        deidentify_isolated(path, out, name=name)
        suffix = PurePath(name).suffix.lower()
        suffix = suffix if suffix in _SUFFIXES else ""
        copy = Spooled(out, f"deidentified{suffix}", keep=lambda: state.storage.blobs.put_file(out))
        return store_slide(state, copy, mpp=mpp, subject=subject, slide_id=slide_id)


def store_uploaded(state: State, found: StoredUpload, choices: SlideChoices) -> StoredSlide:
    """Make a slide of a whole upload; what is chosen here goes before what its metadata said. Again changes nothing.

    Raises:
        NotFound: the slide it became was deleted.
        Conflict: bytes are missing, somebody else writes, or it is a slide that was made with other choices.
        Invalid: another SHA-256 than was stated, or no file that can be read.
    """
    record = found.record
    if record.slide is not None:
        with state.storage.reading() as connection:
            return _as_chosen(catalog.get_slide(connection, record.slide), record.choices, choices)
    uploads = state.storage.uploads
    with uploads.opened(record.id, owner=record.owner) as upload:
        slide = _made_before_a_kill(state, upload.record)
        if slide is None:
            slide = _store(state, upload, record.choices.model_copy(update=choices.model_dump(exclude_unset=True)))
        uploads.become(upload, slide.id)
    return _as_chosen(slide, upload.record.choices, choices)


def _made_before_a_kill(state: State, record: UploadRecord) -> StoredSlide | None:
    """Return the slide of an upload whose maker did not live to note it; its pixel size may be another by now."""
    if record.intended is not None:
        with suppress(NotFound), state.storage.reading() as connection:
            return catalog.get_slide(connection, record.intended.id)
    return None


def _store(state: State, upload: OpenUpload, chosen: SlideChoices) -> StoredSlide:
    record = upload.record
    if upload.offset < record.length:
        raise Conflict(
            f"{upload.offset} of {record.length} bytes have arrived.", code="upload_incomplete", hint="Send the rest."
        )
    sha256 = upload.sha256()
    check_sha256_of(sha256, stated=chosen.sha256)
    intended = IntendedSlide(id=new_id("sld"), choices=chosen.model_copy(update={"sha256": sha256}))
    state.storage.uploads.intend(upload, intended)
    slide_id, mpp, subject = intended.id, chosen.mpp, chosen.subject
    if chosen.deidentify:
        return store_deidentified(state, upload.path, name=record.name, mpp=mpp, subject=subject, slide_id=slide_id)
    whole = Spooled(upload.path, record.name, keep=partial(_keep, state, upload.path, sha256))
    return store_slide(state, whole, mpp=mpp, subject=subject, slide_id=slide_id)


def _keep(state: State, path: Path, sha256: str) -> str:
    state.storage.blobs.take_file(path, sha256=sha256)
    return sha256


def _as_chosen(slide: StoredSlide, made: SlideChoices, choices: SlideChoices) -> StoredSlide:
    """Return a slide that was made with some choices where others do not differ. Raises Conflict."""
    is_so = made.model_copy(update={"mpp": slide.mpp, "subject": slide.subject}).model_dump()
    wanted = choices.model_dump(exclude_unset=True)
    if choices.sha256 is None:
        wanted.pop("sha256", None)
    other = [name for name, value in wanted.items() if is_so[name] != value]
    if other:
        raise Conflict(
            f"This upload is the slide {slide.id} already, with another {', '.join(other)}.",
            code="already_stored",
            hint=f"PATCH /v1/slides/{slide.id} changes mpp and subject; POST /v1/slides/{slide.id}/deidentified stores "
            "a copy without what names a patient.",
            pointer=f"/{other[0]}",
        )
    return slide
