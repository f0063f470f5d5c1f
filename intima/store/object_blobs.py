"""Blobs as objects of a bucket, ``prefix/ab/<sha256>``, each whole or not there.

A process that has asked the bucket must not fork: the client's threads do not come along. A child that is started
anew (``services/child.py``) opens its own.
"""

import functools
import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import obstore
from obstore import exceptions
from obstore.store import S3Store

from intima.errors import NotFound, Unavailable
from intima.store.addresses import S3Address
from intima.store.blobs import CHUNK_BYTES, BlobCorrupt, StoredBlob
from intima.store.copies import Copies
from intima.store.incoming import Incoming
from intima.store.keys import check_sha256

if TYPE_CHECKING:
    from obstore.store import S3Config

CONNECT_S, SILENCE_S, RETRY_S, RETRIES = 3, 20, 10, 3
_LONGEST_S = 3600
"""One request, which is at most the download of one blob."""
ONE_PUT_BYTES = 16 << 20
"""Larger blobs go in parts, which no server makes create-only; the same name is the same content all the same."""
_PARTS_AT_A_TIME = 4
RENEW_S = 3600.0
"""A blob that is put again this long after it was written is written again, so that it is not collected."""
_TRIES = 3
_KEY = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62})")
_REFUSED = ("401 Unauthorized", "403 Forbidden")


class BlobsUnavailable(Unavailable):
    """The object store does not answer, or not as it should."""

    code = "blobs_unavailable"


class BlobsRefused(Unavailable):
    """The object store does not let us in."""

    code = "blobs_refused"


def open_bucket(address: S3Address, *, retries: int = RETRIES) -> S3Store:
    """Return the client of a bucket, which sends a request that often again; nothing is asked yet."""
    config: S3Config = {"region": address.region, "virtual_hosted_style_request": address.endpoint is None}
    if address.endpoint is not None:
        config["endpoint"] = address.endpoint
    if address.access_key_id is not None and address.secret_access_key is not None:
        config["access_key_id"] = address.access_key_id
        config["secret_access_key"] = address.secret_access_key
    return S3Store(
        address.bucket,
        prefix=address.prefix or None,
        config=config,
        client_options={
            "allow_http": address.endpoint is not None,
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "read_timeout": timedelta(seconds=SILENCE_S),
            "timeout": timedelta(seconds=_LONGEST_S),
        },
        retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=RETRY_S)},
    )


@functools.cache
def _bucket_once(address: S3Address) -> S3Store:
    return open_bucket(address, retries=0)


@dataclass(frozen=True, slots=True)
class ObjectBlobs:
    """Blobs of a bucket, with copies of those in use on this machine."""

    address: S3Address
    bucket: S3Store
    copies: Copies

    def put(self, data: bytes) -> str:
        """Store bytes durably and return their SHA-256. Raises StorageFull, BlobsUnavailable."""
        with self.receiving(expected_bytes=len(data)) as incoming:
            incoming.write([data])
            return incoming.keep()

    def put_file(self, path: Path) -> str:
        """Store a copy of a file durably and return its SHA-256. Raises StorageFull, BlobsUnavailable."""
        with path.open("rb") as file, self.receiving(expected_bytes=path.stat().st_size) as incoming:
            while chunk := file.read(CHUNK_BYTES):
                incoming.write([chunk])
            return incoming.keep()

    def take_file(self, path: Path, *, sha256: str) -> None:
        """Store a copy of a file. Raises StorageFull, BlobsUnavailable."""
        stored = self.put_file(path)
        assert stored == sha256, "the file changed"

    def put_written(self, write: Callable[[BinaryIO], None]) -> str:
        """Store what is written into an empty file. Raises StorageFull, BlobsUnavailable."""
        return self._send(self.copies.files.put_written(write))

    @contextmanager
    def receiving(self, *, expected_bytes: int = 0) -> Iterator[Incoming]:
        """Open a local file for what comes in pieces; keeping it sends it. Raises StorageFull, BlobsUnavailable."""
        with self.copies.files.receiving(expected_bytes=expected_bytes) as incoming:
            incoming.then(self._send)
            yield incoming

    def read(self, sha256: str) -> bytes:
        """Return the bytes, checked against their name. Raises NotFound, BlobCorrupt, BlobsUnavailable."""
        data = self.path(sha256).read_bytes()
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
        self.copies.drop(sha256)
        return self.path(sha256).read_bytes()

    def path(self, sha256: str) -> Path:
        """Return a local copy that was whole when it was made. Raises NotFound, BlobCorrupt, BlobsUnavailable."""
        found = self.copies.find(sha256)
        for _ in range(_TRIES):
            if found is not None:
                return found
            with self.copies.filling(sha256):
                found = self.copies.find(sha256) or self._fetch(sha256)
        raise Unavailable(
            f"The copy of blob {sha256} was removed as soon as it was made.",
            code="copies_too_small",
            hint="Give the copies of blobs more room.",
        )

    def exists(self, sha256: str) -> bool:
        """Tell whether the blob is stored. Raises BlobsUnavailable."""
        return self._head(sha256) is not None

    def size(self, sha256: str) -> int:
        """Return the number of bytes. Raises NotFound, BlobsUnavailable."""
        return self._get_head(sha256).bytes

    def remove_leftovers(self) -> int:
        """Remove what was half written on this machine; return how many."""
        return self.copies.files.remove_leftovers()

    def renew(self, sha256: str) -> bool:
        """Let a blob count as written now. Raises BlobsUnavailable."""
        found = self._head(sha256)
        if found is None:
            return False
        if _is_old(found):
            self.path(sha256)
            self._send(sha256)
        return True

    def pieces(self, sha256: str) -> Iterator[bytes]:
        """Yield the stored bytes as they are, damaged or not. Raises NotFound, BlobsUnavailable."""
        key = _key(sha256)
        with self._asking(sha256):
            for piece in obstore.get(self.bucket, key).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(piece)

    def stored(self) -> Iterator[StoredBlob]:
        """Yield everything that is stored. Raises BlobsUnavailable."""
        with self._asking():
            for some in obstore.list(self.bucket):
                for found in some:
                    key = _KEY.fullmatch(found["path"])
                    if key is not None:
                        yield StoredBlob(key[2], found["size"], found["last_modified"].timestamp())

    def remove(self, sha256: str, *, before: float) -> bool:
        """Remove a blob that was last written before a time. Raises BlobsUnavailable."""
        found = self._head(sha256)
        if found is None or found.written_at >= before:
            return False
        # Once: a request that is sent again later would take what somebody has put there meanwhile.
        with self._asking(sha256):
            obstore.delete(_bucket_once(self.address), _key(sha256))
        self.copies.drop(sha256)
        return True

    def quarantine(self, sha256: str) -> None:
        """Move a blob to ``quarantine/``. Raises NotFound, BlobsUnavailable."""
        key = _key(sha256)
        with self._asking(sha256):
            obstore.copy(self.bucket, key, f"quarantine/{sha256}")
            obstore.delete(self.bucket, key)
        self.copies.drop(sha256)

    def _send(self, sha256: str) -> str:
        """Put a local file into the bucket; what could not be sent is no copy."""
        path = self.copies.find(sha256)
        if path is None:
            raise BlobsUnavailable(f"Blob {sha256} was removed from this machine before it was sent.")
        try:
            self._upload(sha256, path)
        except Unavailable:
            self.copies.drop(sha256)
            raise
        self.copies.added(path.stat().st_size)
        return sha256

    def _upload(self, sha256: str, path: Path) -> None:
        """Write an object that is not there, is of another length, or is old."""
        key, size, found = _key(sha256), path.stat().st_size, self._head(sha256)
        if found is not None and found.bytes == size and not _is_old(found):
            return
        with self._asking():
            if found is None and size <= ONE_PUT_BYTES:
                try:
                    obstore.put(self.bucket, key, path, mode="create", use_multipart=False)
                except exceptions.AlreadyExistsError:
                    return
            else:
                obstore.put(
                    self.bucket,
                    key,
                    path,
                    use_multipart=size > ONE_PUT_BYTES,
                    chunk_size=ONE_PUT_BYTES,
                    max_concurrency=_PARTS_AT_A_TIME,
                )

    def _fetch(self, sha256: str) -> Path | None:
        """Make a copy, checked against its name; null in the odd case that it was removed at once."""
        size = self._get_head(sha256).bytes
        with self.copies.files.receiving(expected_bytes=size) as incoming:
            for piece in self.pieces(sha256):
                incoming.write([piece])
            if incoming.sha256 != sha256:
                raise BlobCorrupt(
                    f"Blob {sha256} has content with SHA-256 {incoming.sha256}; restore it from a backup."
                )
            incoming.keep()
            found = self.copies.find(sha256)  # while it is open, nobody removes it
        self.copies.added(size)
        return found

    def _get_head(self, sha256: str) -> StoredBlob:
        found = self._head(sha256)
        if found is None:
            raise _missing(sha256)
        return found

    def _head(self, sha256: str) -> StoredBlob | None:
        key = _key(sha256)
        try:
            with self._asking(sha256):
                meta = obstore.head(self.bucket, key)
        except NotFound:
            return None
        return StoredBlob(sha256, meta["size"], meta["last_modified"].timestamp())

    @contextmanager
    def _asking(self, sha256: str | None = None) -> Iterator[None]:
        """Say what went wrong at the bucket without its words, which may hold more than a log should."""
        try:
            yield
        except FileNotFoundError as error:
            if sha256 is None or "NoSuchBucket" in str(error):
                raise self._no_bucket() from None
            raise _missing(sha256) from None
        except exceptions.BaseError as error:
            raise self._say(error) from None

    def _say(self, error: exceptions.BaseError) -> Unavailable:
        said = str(error)
        refused = isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError)
        if refused or any(status in said for status in _REFUSED):
            return BlobsRefused(
                f"The object store refuses to let Intima into {self.address}.",
                hint="Check INTIMA_S3_ACCESS_KEY_ID, INTIMA_S3_SECRET_ACCESS_KEY and what they may do in the bucket.",
            )
        if "NoSuchBucket" in said:
            return self._no_bucket()
        return BlobsUnavailable(
            f"The object store of {self.address} does not answer as it should.",
            hint="Try again later; check INTIMA_S3_ENDPOINT and INTIMA_S3_REGION where it never did.",
        )

    def _no_bucket(self) -> BlobsUnavailable:
        return BlobsUnavailable(f"There is no bucket {self.address.bucket}.", hint="Make it, or set INTIMA_BLOBS_URL.")


def _key(sha256: str) -> str:
    return f"{check_sha256(sha256)[:2]}/{sha256}"


def _is_old(blob: StoredBlob) -> bool:
    return time.time() - blob.written_at > RENEW_S


def _missing(sha256: str) -> NotFound:
    return NotFound(f"There is no blob {sha256}.", code="blob_missing")
