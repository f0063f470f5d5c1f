"""Large files that may stop and go on: tus 1.0 (decision 0033). What a whole one becomes is in ``received``."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response, status

from services.access.web import caller_of
from services.api import tus
from services.api.dependencies import StateDep
from services.api.resuming import append

router = APIRouter(prefix="/v1/uploads", tags=["uploads"], route_class=tus.TusRoute)

_HOUR_S = 3600.0
Version = Annotated[str | None, Header(description="1.0.0; anything else is refused with 412")]


@router.options("", operation_id="describe_uploads", status_code=status.HTTP_204_NO_CONTENT)
def describe_uploads(state: StateDep) -> Response:
    """Say what this server can do, in headers."""
    headers = tus.capabilities(state.settings.max_resumable_bytes)
    return Response(status_code=status.HTTP_204_NO_CONTENT, headers=headers)


@router.post("", operation_id="create_upload", status_code=status.HTTP_201_CREATED)
def create_upload(
    request: Request,
    state: StateDep,
    upload_length: Annotated[str | None, Header(description="bytes of the whole file")] = None,
    upload_metadata: Annotated[
        str, Header(description="filename, mpp, subject, deidentify, sha256: key and base64, between commas")
    ] = "",
    tus_resumable: Version = None,  # noqa: ARG001 - read by the route; here for the description
) -> Response:
    """Begin an upload: its address is in Location. Nobody but its maker sees it."""
    settings = state.settings
    length = tus.read_length(upload_length, most_bytes=settings.max_resumable_bytes)
    described = tus.read_metadata(upload_metadata)
    upload = state.storage.uploads.create(
        owner=caller_of(request).id,
        length=length,
        name=described.name,
        metadata=upload_metadata,
        choices=described.choices,
        keep_s=settings.upload_hours * _HOUR_S,
    )
    headers = tus.state_of(upload) | {"Location": f"/v1/uploads/{upload.record.id}"}
    return Response(status_code=status.HTTP_201_CREATED, headers=headers)


@router.head("/{upload_id}", operation_id="find_upload_offset")
def find_upload_offset(upload_id: str, request: Request, state: StateDep, tus_resumable: Version = None) -> Response:  # noqa: ARG001
    """Say how many bytes are there, in Upload-Offset. 404: no such upload of yours, 410: left alone for too long."""
    upload = state.storage.uploads.find(upload_id, owner=caller_of(request).id)
    return Response(headers=tus.whole_of(upload))


@router.patch("/{upload_id}", operation_id="append_to_upload", status_code=status.HTTP_204_NO_CONTENT)
async def append_to_upload(
    upload_id: str,
    request: Request,
    state: StateDep,
    *,
    upload_offset: Annotated[str | None, Header()] = None,
    upload_checksum: Annotated[str | None, Header(description="sha1 or sha256, a space, base64")] = None,
    content_type: Annotated[str | None, Header(description=tus.PIECE)] = None,
    tus_resumable: Version = None,  # noqa: ARG001
) -> Response:
    """Write a piece behind what is there: 204 once it is durable.

    409: at another offset, or while another request writes. 413: longer than announced. 415: another content type.
    460: another checksum; nothing of the piece is kept. 507: the volume is full; what fitted is kept.
    """
    tus.check_content_type(content_type)
    upload = await append(
        request,
        state.storage.uploads,
        upload_id,
        owner=caller_of(request).id,
        offset=tus.read_offset(upload_offset),
        checksum=tus.read_checksum(upload_checksum),
    )
    return Response(status_code=status.HTTP_204_NO_CONTENT, headers=tus.state_of(upload))


@router.delete("/{upload_id}", operation_id="delete_upload", status_code=status.HTTP_204_NO_CONTENT)
def delete_upload(upload_id: str, request: Request, state: StateDep, tus_resumable: Version = None) -> Response:  # noqa: ARG001
    """Forget an upload and its bytes; the slide it may have become stays."""
    state.storage.uploads.remove(upload_id, owner=caller_of(request).id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)
