"""A piece of a file that comes over several requests: where it may begin, what happens where it breaks off."""

from fastapi import Request
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from intima.errors import Conflict, Invalid
from intima.store.resumable import OpenUpload, StoredUpload, Uploads
from services.api.tus import Checksum
from services.api.writing import Writer, writing


async def append(
    request: Request, uploads: Uploads, upload_id: str, *, owner: str, offset: int, checksum: Checksum | None
) -> StoredUpload:
    """Write the body of a request behind what is there; durable when this returns.

    What has come of a body that breaks off stays, but for one with a checksum, which counts as a whole or not at all.

    Raises:
        NotFound, UploadExpired, UploadBusy: as ``Uploads.opened``.
        Conflict: the file is not as long as the sender thinks.
        Invalid: more comes than was announced, or it has another checksum.
        StorageFull: there is no room; what fitted stays.
        HTTPException: 400 where the client left, 408 where it said no more.
    """
    async with contextmanager_in_threadpool(uploads.opened(upload_id, owner=owner)) as upload:
        _refuse_misplaced(upload, offset)
        _refuse_longer(_announced(request), upload)
        await _receive(request, upload, checksum)
    return await run_in_threadpool(uploads.find, upload_id, owner=owner)


async def _receive(request: Request, upload: OpenUpload, checksum: Checksum | None) -> None:
    start = upload.offset
    if checksum is not None:
        await run_in_threadpool(upload.expect, checksum.algorithm)
    try:
        async with writing(upload.write) as writer:
            await _take(request, writer, upload)
    except Invalid:
        upload.cut(start)
        raise
    if checksum is None:
        return
    if upload.digest() != checksum.value:
        raise Invalid(
            f"The piece from byte {start} has another checksum than was announced; nothing of it is kept.",
            code="checksum_mismatch",
            hint="Send it again.",
        )
    await run_in_threadpool(upload.accept)


async def _take(request: Request, writer: Writer, upload: OpenUpload) -> None:
    begin, received = upload.offset, 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if begin + received > upload.record.length:
                raise _too_long(upload)
            await writer.take([chunk])
    except HTTPException:
        await writer.finish()
        raise
    except ClientDisconnect as error:
        await writer.finish()
        raise HTTPException(400, "The client left before its piece was whole; what came is kept.") from error
    await writer.finish()


def _announced(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() else 0


def _refuse_misplaced(upload: OpenUpload, offset: int) -> None:
    if offset != upload.offset:
        raise Conflict(
            f"Got a piece from byte {offset}; {upload.offset} bytes are there.",
            code="wrong_offset",
            hint="Ask for the offset by HEAD and go on from there.",
        )


def _refuse_longer(announced: int, upload: OpenUpload) -> None:
    if upload.offset + announced > upload.record.length:
        raise _too_long(upload)


def _too_long(upload: OpenUpload) -> Invalid:
    return Invalid(f"More comes than the {upload.record.length} bytes that were announced.", code="too_large")
