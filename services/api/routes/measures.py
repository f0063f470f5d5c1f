"""Measures of all finished segmentations, for spreadsheets and statistics."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from intima.formats.findings import SubjectMeans, section_lines
from intima.store.findings import Finding, page_findings
from intima.store.models import get_model
from intima.store.storage import Storage
from services.api.dependencies import StateDep

router = APIRouter(prefix="/v1", tags=["measures"])

_PAGE_SIZE = 100
Subject = Annotated[str | None, Query(max_length=200)]
Model = Annotated[str | None, Query(max_length=200)]


@router.get(
    "/measures.csv",
    operation_id="get_measures",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}}}},
)
def get_measures(state: StateDep, subject: Subject = None, model: Model = None) -> StreamingResponse:
    """Return one line per finished segmentation, vessel and measure, newest first, all or of one subject or model."""
    ref = _known(state.storage, model)
    lines = (
        section_lines(page, header=first)
        for first, page in _numbered(_pages(state.storage, subject=subject, model=ref))
    )
    return StreamingResponse(lines, media_type="text/csv", headers=_attached("measures.csv"))


@router.get(
    "/subject_means.csv",
    operation_id="get_subject_means",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}}},
)
def get_subject_means(state: StateDep, subject: Subject = None, model: Model = None) -> Response:
    """Return the mean of every measure over the sections of each subject, for each model.

    Each section counts once, by its largest vessel in the newest segmentation by that model. ``smallest`` and
    ``largest`` are the range over sections, empty for one; means have four significant digits. Slides without a subject
    are left out.
    """
    means = SubjectMeans()
    for page in _pages(state.storage, subject=subject, model=_known(state.storage, model)):
        for finding in page:
            means.add(finding)
    return Response(means.table(), media_type="text/csv", headers=_attached("subject_means.csv"))


def _known(storage: Storage, model: str | None) -> str | None:
    """Return name@version of a model that is named somehow. Raises NotFound."""
    if model is None:
        return None
    with storage.reading() as connection:
        return get_model(connection, model).ref


def _pages(storage: Storage, *, subject: str | None, model: str | None) -> Iterator[tuple[Finding, ...]]:
    """Yield pages of findings; each is read in a transaction of its own, so a slow client holds none open."""
    token = ""
    while True:
        with storage.reading() as connection:
            page = page_findings(connection, subject=subject, model=model, page_size=_PAGE_SIZE, page_token=token)
        yield page.items
        token = page.next_page_token
        if not token:
            return


def _numbered(pages: Iterator[tuple[Finding, ...]]) -> Iterator[tuple[bool, tuple[Finding, ...]]]:
    """Yield whether a page is the first, and the page."""
    return ((number == 0, page) for number, page in enumerate(pages))


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
