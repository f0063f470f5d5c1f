"""Files that come over several requests: the length of what is on disk is what has arrived.

An upload is three files in one folder: ``<id>`` its bytes, ``<id>.json`` what was said about it, and, only while a
piece comes whose checksum is announced, ``<id>.unchecked``, where that piece begins. A lock on the bytes makes one
writer; it goes with the process, so nothing has to be repaired after a kill, and no counter can be wrong.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from intima.contracts.upload import IntendedSlide, SlideChoices, UploadRecord
from intima.errors import Conflict, NotFound
from intima.store.blobs import sync_folder
from intima.store.incoming import MAKE_ROOM, MOST_PIECES, Piece, StorageFull, full_where
from intima.store.keys import check_id, new_id
from intima.store.paging import MAX_PAGE_SIZE, Page, check_page_size, decode_token, encode_token
from intima.store.upload_locks import is_idle, locked_alone, upload_missing

PREFIX = "upl"
_HASH_BYTES = 1 << 20
_STRAY_S = 3600.0
"""Bytes without a record, or half a record, that are older than this belong to a process that was killed."""
_SWEEP_S = 60.0
"""Uploads that begin within this time of a sweep do not sweep again."""


class UploadExpired(NotFound):
    """An upload was left alone for too long."""

    code = "upload_expired"


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An upload and how far it has come."""

    record: UploadRecord
    offset: int
    expires_at_s: float
    """Seconds since 1970."""


@dataclass(slots=True)
class OpenUpload:
    """An upload that this one writer holds."""

    record: UploadRecord
    path: Path
    """Its bytes, to be read only."""
    offset: int
    _descriptor: int
    _unchecked: Path
    _have_room: Callable[[int], None]
    _durable: int
    """Bytes that are on the volume for certain."""
    became: str | None = None
    """The slide that it is now."""
    _digest: "hashlib._Hash | None" = None
    _start: int = field(init=False, default=0)

    def expect(self, algorithm: str) -> None:
        """Hold what comes from now on for nothing until ``accept``; also after this process was killed."""
        self._digest, self._start = hashlib.new(algorithm, usedforsecurity=False), self.offset
        with full_where("No room to note where a piece begins."):
            _write_durably(self._unchecked, str(self.offset).encode())

    def write(self, pieces: Sequence[Piece]) -> None:
        """Append pieces, in order. Raises StorageFull; what fitted is there."""
        self._have_room(sum(map(len, pieces)))
        with full_where(f"No room for more than {self.offset} bytes of this upload."):
            for first in range(0, len(pieces), MOST_PIECES):
                self._write_all(list(pieces[first : first + MOST_PIECES]))

    def digest(self) -> bytes:
        """Return the hash of what came since ``expect``."""
        assert self._digest is not None, "no hash was asked for"
        return self._digest.digest()

    def accept(self) -> None:
        """Let what came since ``expect`` count. Raises StorageFull; what came since the last time is gone then."""
        self._sync()
        self._unchecked.unlink(missing_ok=True)
        self._digest = None

    def cut(self, offset: int) -> None:
        """Forget what lies behind an offset."""
        if os.fstat(self._descriptor).st_size != offset:  # what is a blob already is whole, and cannot be cut
            os.ftruncate(self._descriptor, offset)
        self.offset = offset

    def settle(self) -> None:
        """Make durable what counts, and forget the rest.

        Raises:
            NotFound: the upload was removed meanwhile.
            StorageFull: the volume says only now that it has no room.
        """
        if self._digest is not None:
            self.cut(self._start)
            self.accept()
        self._sync()
        if self.became is None and os.fstat(self._descriptor).st_nlink == 0:
            raise upload_missing(self.record.id)

    def sha256(self) -> str:
        """Return the SHA-256 of all bytes that are there."""
        found = hashlib.sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(_HASH_BYTES):
                found.update(chunk)
        return found.hexdigest()

    def _sync(self) -> None:
        try:
            with full_where(f"No room to keep what came; {self._durable} bytes of this upload are there."):
                os.fsync(self._descriptor)
        except (OSError, StorageFull):
            self.cut(min(self._durable, self.offset))
            raise
        self._durable = self.offset

    def _write_all(self, left: list[Piece]) -> None:
        while left:
            written = os.pwritev(self._descriptor, left, self.offset)
            self.offset += written
            while left and written >= len(left[0]):
                written -= len(left[0])
                self._hash(left.pop(0))
            if written:
                self._hash(memoryview(left[0])[:written])
                left[0] = memoryview(left[0])[written:]

    def _hash(self, piece: Piece) -> None:
        if self._digest is not None:
            self._digest.update(piece)


@dataclass(slots=True)
class _Swept:
    at_s: float = 0.0
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """The unfinished uploads of one folder; several processes and machines may share it."""

    folder: Path
    floor_bytes: int
    make_room: Callable[[int], int] = lambda _wanted_bytes: 0
    now: Callable[[], float] = time.time
    _swept: _Swept = field(default_factory=_Swept)
    """By this process."""

    def create(
        self, *, owner: str, length: int, name: str, metadata: str, choices: SlideChoices, keep_s: float
    ) -> StoredUpload:
        """Begin an upload of ``length`` bytes that is forgotten ``keep_s`` after its last byte. Raises StorageFull."""
        if not 0 <= self.now() - self._swept.at_s < _SWEEP_S:
            self.sweep()
        self._have_room(length)
        record = UploadRecord(
            id=new_id(PREFIX), owner=owner, length=length, name=name, metadata=metadata, choices=choices, keep_s=keep_s
        )
        with full_where("No room to begin an upload."):
            self._data(record.id).open("xb").close()
            self._keep(record)
        return self.find(record.id, owner=owner)

    def find(self, upload_id: str, *, owner: str) -> StoredUpload:
        """Return an upload. Raises NotFound, also where it is somebody else's, and UploadExpired."""
        record = self._record(upload_id)
        if record is None or record.owner != owner:
            raise upload_missing(upload_id)
        found = self._look(record)
        if found is None:
            raise upload_missing(upload_id)
        if found.expires_at_s < self.now():
            raise UploadExpired(
                f"The upload was left alone for {record.keep_s / 3600:g} h.", hint="Send the file again from its start."
            )
        return found

    def of_owner(self, owner: str, *, page_size: int = MAX_PAGE_SIZE, page_token: str = "") -> Page[StoredUpload]:
        """Return a page of the uploads of somebody that are not forgotten, those that expire last first.

        Raises:
            Invalid: a page size outside 1..1000 or a token that is not one of ours.
        """
        check_page_size(page_size)
        found = sorted(self._all_of(owner), key=_page_key, reverse=True)
        if page_token:
            (expires_at_s,), last = decode_token(page_token, numbers=1)
            found = [upload for upload in found if _page_key(upload) < (expires_at_s, last)]
        more = len(found) > page_size
        items = tuple(found[:page_size])
        return Page(items, encode_token(*_page_key(items[-1])) if more else "")

    def _all_of(self, owner: str) -> list[StoredUpload]:
        records = (self._record(path.stem) for path in self.folder.glob("*.json"))
        looked = (self._look(record) for record in records if record is not None and record.owner == owner)
        return [upload for upload in looked if upload is not None and upload.expires_at_s >= self.now()]

    @contextmanager
    def opened(self, upload_id: str, *, owner: str) -> Iterator[OpenUpload]:
        """Open an upload as its one writer; what it wrote is durable at the end.

        Raises:
            NotFound: there is none of this owner.
            UploadExpired: it was left alone for too long.
            UploadBusy: somebody else writes.
            Conflict: it is a slide already.
        """
        _refuse_stored(self.find(upload_id, owner=owner).record)
        with locked_alone(self._data(upload_id), upload_id) as descriptor:
            record = self.find(upload_id, owner=owner).record
            _refuse_stored(record)
            upload = self._opened(record, descriptor)
            try:
                yield upload
            finally:
                upload.settle()

    def intend(self, upload: OpenUpload, slide: IntendedSlide) -> None:
        """Note what an upload is about to become, so that nobody makes it twice after a kill.

        Raises:
            NotFound: the upload was removed meanwhile.
            StorageFull: there is no room for the note.
        """
        upload.record = upload.record.model_copy(update={"intended": slide})
        with full_where("No room to note what an upload becomes."):
            self._keep(upload.record)
        if not upload.path.exists():  # the note has just come back
            self._note(upload.record.id).unlink(missing_ok=True)
            raise upload_missing(upload.record.id)

    def become(self, upload: OpenUpload, slide: str) -> None:
        """Note that an upload is a slide now, and let its bytes go. Raises StorageFull; then nothing has changed."""
        intended = upload.record.intended
        choices = upload.record.choices if intended is None else intended.choices
        upload.record = upload.record.model_copy(update={"slide": slide, "choices": choices, "intended": None})
        with full_where("No room to note what an upload has become."):
            self._keep(upload.record)
        upload.became = slide
        try:
            upload.path.unlink()
        except FileNotFoundError:  # it was removed meanwhile, and the note has just come back
            self._note(upload.record.id).unlink(missing_ok=True)

    def remove(self, upload_id: str, *, owner: str) -> None:
        """Forget an upload, also under the hands of its writer. Raises NotFound, UploadExpired."""
        self._forget(self.find(upload_id, owner=owner).record.id)

    def sweep(self) -> int:
        """Forget the uploads that were left alone for too long, and what killed processes left; return how many."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._swept.at_s = self.now()
        files: dict[str, list[Path]] = {}
        for path in self.folder.iterdir():
            files.setdefault(path.name.partition(".")[0], []).append(path)
        return sum(self._forget_dead(name, paths) for name, paths in files.items() if _is_one_of_ours(name))

    def _opened(self, record: UploadRecord, descriptor: int) -> OpenUpload:
        upload = OpenUpload(
            record=record,
            path=self._data(record.id),
            offset=os.fstat(descriptor).st_size,
            _descriptor=descriptor,
            _unchecked=self._unchecked(record.id),
            _have_room=self._have_room,
            _durable=os.fstat(descriptor).st_size,
        )
        start = self._checked_bytes(record.id)
        if start is not None:  # its writer was killed
            upload.cut(min(start, upload.offset))
            upload.accept()
        return upload

    def _look(self, record: UploadRecord) -> StoredUpload | None:
        stored = record.slide is not None
        try:
            status = (self._note(record.id) if stored else self._data(record.id)).stat()
        except FileNotFoundError:
            again = self._record(record.id)
            return None if again is None or again.slide == record.slide else self._look(again)
        checked = self._checked_bytes(record.id)
        arrived = status.st_size if checked is None else min(checked, status.st_size)
        return StoredUpload(record, record.length if stored else arrived, status.st_mtime + record.keep_s)

    def _checked_bytes(self, upload_id: str) -> int | None:
        try:
            return int(self._unchecked(upload_id).read_bytes())
        except FileNotFoundError:
            return None

    def _record(self, upload_id: str) -> UploadRecord | None:
        try:
            return UploadRecord.model_validate_json(self._note(upload_id).read_bytes())
        except (FileNotFoundError, NotFound, ValidationError):
            return None

    def _keep(self, record: UploadRecord) -> None:
        _write_durably(self._note(record.id), record.model_dump_json().encode())

    def _forget(self, upload_id: str) -> None:
        """Remove bytes first and note last: ``become`` sees by the bytes that its note must go again."""
        for path in (self._data(upload_id), self._note(upload_id), self._unchecked(upload_id)):
            path.unlink(missing_ok=True)

    def _forget_dead(self, upload_id: str, files: Sequence[Path]) -> bool:
        record = self._record(upload_id)
        dead = self._is_stray(files) if record is None else self._is_expired(record)
        if not dead or not is_idle(self._data(upload_id)):
            return False
        self._forget(upload_id)
        for path in files:
            path.unlink(missing_ok=True)
        return True

    def _is_expired(self, record: UploadRecord) -> bool:
        found = self._look(record)
        return found is None or found.expires_at_s < self.now()

    def _is_stray(self, files: Sequence[Path]) -> bool:
        with suppress(FileNotFoundError):
            return max(path.stat().st_mtime for path in files) + _STRAY_S < self.now()
        return False

    def _have_room(self, wanted_bytes: int) -> None:
        if self._lacks(wanted_bytes):
            self.make_room(wanted_bytes + self.floor_bytes)
        if self._lacks(wanted_bytes):
            raise StorageFull(
                f"{wanted_bytes} bytes are to come, and {self.floor_bytes} must stay free: there is no room for them.",
                hint=f"{MAKE_ROOM} What has arrived stays; the upload can go on.",
            )

    def _lacks(self, wanted_bytes: int) -> bool:
        return shutil.disk_usage(self.folder).free - wanted_bytes < self.floor_bytes

    def _data(self, upload_id: str) -> Path:
        return self.folder / check_id(upload_id, prefix=PREFIX)

    def _note(self, upload_id: str) -> Path:
        return self._data(upload_id).with_suffix(".json")

    def _unchecked(self, upload_id: str) -> Path:
        return self._data(upload_id).with_suffix(".unchecked")


def _page_key(upload: StoredUpload) -> tuple[float, str]:
    return upload.expires_at_s, upload.record.id


def _refuse_stored(record: UploadRecord) -> None:
    if record.slide is not None:
        raise Conflict(f"This upload is the slide {record.slide} already.", code="upload_complete")


def _is_one_of_ours(name: str) -> bool:
    try:
        return bool(check_id(name, prefix=PREFIX))
    except NotFound:
        return False


def _write_durably(path: Path, data: bytes) -> None:
    """Write a small file as a whole or not at all."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)
