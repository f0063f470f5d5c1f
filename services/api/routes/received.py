"""What uploads in pieces have come to, and the slide that a whole one becomes."""

from functools import partial

from fastapi import APIRouter, Request, Response, status
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from intima.contracts.upload import SlideChoices, UploadState, UploadView
from intima.store.catalog import rfc3339
from intima.store.resumable import StoredUpload
from services.access.web import caller_of
from services.api.dependencies import StateDep
from services.api.routes.paging import PageSize, PageToken
from services.api.routes.slides import SlideView, slide_view
from services.api.storing import store_uploaded

_WAIT_S = 240.0
"""For a turn; a proxy in front waits 300 s."""

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])


class UploadList(BaseModel):
    """One page of the uploads of one caller."""

    items: list[UploadView]
    next_page_token: str


def _view(upload: StoredUpload) -> UploadView:
    record = upload.record
    state: UploadState = "received" if upload.offset == record.length else "receiving"
    return UploadView(
        id=record.id,
        name=record.name,
        length=record.length,
        offset=upload.offset,
        state="stored" if record.slide is not None else state,
        choices=record.choices,
        expires_at=rfc3339(upload.expires_at_s),
        slide=record.slide,
    )


@router.get("", operation_id="list_uploads")
def list_uploads(
    request: Request, state: StateDep, page_size: PageSize = 1000, page_token: PageToken = ""
) -> UploadList:
    """List your own uploads that have not expired, those that expire last first."""
    owner = caller_of(request).id
    page = state.storage.uploads.of_owner(owner, page_size=page_size, page_token=page_token).map(_view)
    return UploadList(items=list(page.items), next_page_token=page.next_page_token)


@router.get("/{upload_id}", operation_id="get_upload")
def get_upload(upload_id: str, request: Request, state: StateDep) -> UploadView:
    """Return an upload of yours; for clients of tus, HEAD says the same in headers."""
    return _view(state.storage.uploads.find(upload_id, owner=caller_of(request).id))


@router.post(
    "/{upload_id}/slide",
    operation_id="store_upload",
    status_code=status.HTTP_201_CREATED,
    responses={200: {"description": "It was stored before", "model": SlideView}},
)
async def store_upload(
    upload_id: str, request: Request, state: StateDep, response: Response, choices: SlideChoices | None = None
) -> SlideView:
    """Make a slide of an upload that is whole. What is said here goes before what Upload-Metadata said.

    A slide without a pixel size is stored all the same: PATCH /v1/slides/{id} gives it one. A file that is refused
    (422) stays until it expires or is deleted, so that it can be tried again with other choices. 409 already_stored
    where it is a slide already that was made with other choices.
    """
    chosen, owner = choices or SlideChoices(), caller_of(request).id
    found = await run_in_threadpool(state.storage.uploads.find, upload_id, owner=owner)
    store = partial(store_uploaded, state, found, chosen)
    if found.record.slide is None:
        slide = await state.finish_turns.run(store, wait_s=_WAIT_S)
    else:
        slide = await run_in_threadpool(store)
        response.status_code = status.HTTP_200_OK
    response.headers["Location"] = f"/v1/slides/{slide.id}"
    return slide_view(slide)
