"""Measures of all finished segmentations, for spreadsheets and statistics."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from intima.formats.findings import SubjectMeans, section_lines
from intima.store.batches import get_request
from intima.store.findings import Finding, page_findings
from intima.store.models import get_model
from intima.store.storage import Storage
from services.api.dependencies import StateDep

router = APIRouter(prefix="/v1", tags=["measures"])

_PAGE_SIZE = 100
Subject = Annotated[str | None, Query(max_length=200)]
Model = Annotated[str | None, Query(max_length=200)]
Batch = Annotated[str | None, Query(max_length=48)]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which segmentations a table is of; None: of all."""

    subject: str | None
    model: str | None
    """name@version."""
    batch: str | None


@router.get(
    "/measures.csv",
    operation_id="get_measures",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}}}},
)
def get_measures(
    state: StateDep, subject: Subject = None, model: Model = None, batch: Batch = None
) -> StreamingResponse:
    """Return one line per finished segmentation, vessel and measure, newest first: all, or what is named."""
    wanted = _wanted(state.storage, subject=subject, model=model, batch=batch)
    lines = (section_lines(page, header=first) for first, page in _numbered(_pages(state.storage, wanted)))
    return StreamingResponse(lines, media_type="text/csv", headers=_attached("measures.csv"))


@router.get(
    "/subject_means.csv",
    operation_id="get_subject_means",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}}},
)
def get_subject_means(state: StateDep, subject: Subject = None, model: Model = None, batch: Batch = None) -> Response:
    """Return the mean of every measure over the sections of each subject, for each model.

    Each section counts once, by its largest vessel in the newest segmentation by that model. ``smallest`` and
    ``largest`` are the range over sections, empty for one; means have four significant digits. Slides without a subject
    are left out.
    """
    means = SubjectMeans()
    for page in _pages(state.storage, _wanted(state.storage, subject=subject, model=model, batch=batch)):
        for finding in page:
            means.add(finding)
    return Response(means.table(), media_type="text/csv", headers=_attached("subject_means.csv"))


def _wanted(storage: Storage, *, subject: str | None, model: str | None, batch: str | None) -> _Wanted:
    """Return what to look for, with the model's name@version. Raises NotFound."""
    with storage.reading() as connection:
        if batch is not None:
            get_request(connection, batch)
        ref = None if model is None else get_model(connection, model).ref
    return _Wanted(subject=subject, model=ref, batch=batch)


def _pages(storage: Storage, wanted: _Wanted) -> Iterator[tuple[Finding, ...]]:
    """Yield pages of findings; each is read in a transaction of its own, so a slow client holds none open."""
    token = ""
    while True:
        with storage.reading() as connection:
            page = page_findings(connection, **asdict(wanted), page_size=_PAGE_SIZE, page_token=token)
        yield page.items
        token = page.next_page_token
        if not token:
            return


def _numbered(pages: Iterator[tuple[Finding, ...]]) -> Iterator[tuple[bool, tuple[Finding, ...]]]:
    """Yield whether a page is the first, and the page."""
    return ((number == 0, page) for number, page in enumerate(pages))


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
